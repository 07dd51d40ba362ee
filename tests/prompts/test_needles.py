"""Texts are found in every kind of file, however they are written there; short ones only where they are a whole cell."""

import base64
import gzip
import html
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.prompts.needles import SEPARATOR, Evidence, Needle, Needles, key_of, stands_alone
from stillhouse.prompts.remains import leaves, search_file

TEXT = 'Review this plan: the "bakery" will open\non the 3rd of May, with <two> tills | one guard & no rehearsal.'
OTHER = "Review this plan: the harbour will open on the 3rd of May, with three tills."
LONG, SHORT = Needle(TEXT, "a" * 16, "prompt"), Needle("2 + 2?", "b" * 16, "prompt")


def found_in(file: Path) -> set[Needle]:
    evidence = Evidence()
    search_file(file, Needles([LONG, SHORT]), evidence)
    return set(evidence.cells)


def markdown(text: str) -> str:
    for sign in '|<>&"':
        text = text.replace(sign, f"\\{sign}")
    return text


WAYS = {
    "plain.txt": TEXT,
    "wrapped.txt": TEXT.replace(" ", "\n  "),
    "in capitals.txt": TEXT.upper(),
    "page.html": f"<p>{html.escape(TEXT)}</p>",
    "paragraphs.html": f"<p>{html.escape(TEXT).replace(chr(10), '</p><p>')}</p>",
    "marked up.html": html.escape(TEXT).replace("will", "<b>will</b>"),
    "script.html": f"<script>const data = {json.dumps({'prompt': TEXT}).replace('<', chr(92) + 'u003c')};</script>",
    "table.md": f"| prompt | {markdown(' '.join(TEXT.split()))} |",
    "one.json": json.dumps({"a": [{"b": TEXT}]}),
    "ascii.json": json.dumps({"a": [{"b": TEXT}]}, ensure_ascii=True, indent=2),
    "key.json": json.dumps({TEXT: 1}),
    "json in json.json": json.dumps({"transcript": json.dumps({"rounds": [{"critique": f"{TEXT} Bad."}]})}),
    "lines.jsonl": json.dumps({"a": 1}) + "\n" + json.dumps({"prompt": TEXT}) + "\n",
    "torn.jsonl": json.dumps({"a": 1}) + "\n" + json.dumps({"prompt": TEXT})[:-1],
    "no name": TEXT,
}


@pytest.mark.parametrize(("text", "found"), [(TEXT, {LONG}), (OTHER, set())])
def test_a_text_is_found_in_the_packed_rows_of_a_page(tmp_path: Path, text: str, found: set[Needle]) -> None:
    packed = base64.b64encode(gzip.compress(json.dumps([[text]]).encode())).decode()
    page = tmp_path / "page.html"
    page.write_text(f"<p>H4sIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==</p><script type=x>{packed}</script>")
    assert found_in(page) == found


@pytest.mark.parametrize("name", WAYS)
def test_a_long_text_is_found(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(WAYS[name], encoding="utf-8")
    assert found_in(file) == {LONG}
    file.write_text(WAYS[name].replace("bakery", "mill").replace("BAKERY", "MILL"), encoding="utf-8")
    assert found_in(file) == set()


def table(**columns: list) -> pa.Table:
    return pa.table(columns)


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": ["x", TEXT]},
        {"set": [TEXT, "x"]},
        {"chat": [[{"role": "user", "content": TEXT}], []]},
        {"nested": [{"a": {"b": [TEXT]}}, None]},
        {"transcript": [json.dumps({"rounds": [{"votes": [{"raw": TEXT}]}]}), None]},
        {"binary": [TEXT.encode(), b""]},
        {"dictionary": pa.array([TEXT, TEXT]).dictionary_encode()},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_a_text_is_found_in_any_column_of_parquet_whatever_the_name_of_the_file(tmp_path: Path, columns: dict) -> None:
    pq.write_table(table(**columns), tmp_path / "0000")
    assert found_in(tmp_path / "0000") == {LONG}


def test_a_text_is_found_in_the_metadata_of_parquet(tmp_path: Path) -> None:
    pq.write_table(table(a=[1]).replace_schema_metadata({"note": TEXT}), tmp_path / "a.parquet")
    assert found_in(tmp_path / "a.parquet") == {LONG}


def test_a_text_is_found_between_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF\0\xff" * 1000 + TEXT.encode() + b"\0\xfe" * 1000)
    assert found_in(file) == {LONG}
    file.write_bytes(b"GGUF\0\xff" * 2000)
    assert found_in(file) == set()


def test_a_short_text_counts_as_a_whole_cell_only(tmp_path: Path) -> None:
    def in_parquet(**columns: list) -> bool:
        pq.write_table(table(**columns), tmp_path / "a.parquet")
        return SHORT in found_in(tmp_path / "a.parquet")

    assert in_parquet(prompt=[" 2 +  2? "])
    assert in_parquet(chat=[[{"role": "user", "content": "2 + 2?"}]])
    assert not in_parquet(prompt=["What is 2 + 2? And why?"])
    assert not in_parquet(prompt=["22"])
    assert not in_parquet(id=["2 + 2?"]), "a label is no text"
    for text, expected in (
        ("a\n2 + 2?\nb", True),
        ("| x | 2 + 2? |", True),
        ("<p>2 + 2?</p>", True),
        ("so 2 + 2? b", False),
    ):
        (tmp_path / "a.md").write_text(text)
        assert (SHORT in found_in(tmp_path / "a.md")) is expected, text


def test_an_empty_file_and_an_empty_table_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert found_in(tmp_path / "empty") == found_in(tmp_path / "a.parquet") == set()


def test_text_that_stays_hides_only_its_own_occurrences() -> None:
    key, longer = key_of(TEXT), key_of(f"{TEXT} And then?")
    assert not stands_alone(key, longer, [longer])
    assert stands_alone(key, f"{longer}{SEPARATOR}{key}", [longer])
    assert stands_alone(key, key, [longer, key_of(OTHER)])
    assert not stands_alone(key, f"before{longer}after{key}", [longer, key])


def test_two_needles_of_one_text_count_once_and_signs_alone_are_a_short_one() -> None:
    needles = Needles(
        [LONG, Needle(TEXT.upper(), "c" * 16, "answer"), Needle("?!", "d" * 16, "prompt"), Needle(" ", "", "")]
    )
    assert list(needles) == [LONG, Needle("?!", "d" * 16, "prompt")]


@given(text=st.text(min_size=1, max_size=60), before=st.text(max_size=20), after=st.text(max_size=20))
def test_any_long_text_is_found_inside_any_other(text: str, before: str, after: str) -> None:
    needle, evidence = Needle(text, "a" * 16, "prompt"), Evidence()
    Needles([needle]).search([f"{before} {text} {after}"], evidence)
    if not needle.short:
        assert needle in evidence.cells
    alone = Evidence()
    Needles([needle]).search([text], alone)
    assert bool(alone.cells) == bool(needle.key)


def test_leaves_open_json_once_and_keep_the_text_itself() -> None:
    assert list(leaves({"a": '["b", {"c": 1}]'})) == ["a", '["b", {"c": 1}]', "b", "c"]
    assert list(leaves("[1, 2]")) == ["[1, 2]"]
    assert list(leaves(["{broken", None, 3, b"bytes"])) == ["{broken", "bytes"]
