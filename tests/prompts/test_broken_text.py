"""Other encodings, U+0000, invisible prompts, and values of a row that would be lost without a word."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from prompt_files import gather, jsonl_of, put, rows, table_of

from stillhouse.errors import InputError
from stillhouse.prompts.flaws import REASONS

GOOD = b'{"prompt": "First?"}\n'
ASK = [{"role": "user", "content": "First?"}]
INVISIBLE = ["\u200b", "\u200b \u00ad\u2060", "\ufeff\u200e", "\u3164", "\u2800", "\ufe0f", "\u0301", "\x01\x7f"]

BROKEN = {
    "nul in JSON": (b'{"prompt": "a\\u0000b"}', "nul_character"),
    "nul in a turn": (b'{"messages": [{"role": "user", "content": "a\\u0000"}]}', "nul_character"),
    "nul in an id": (b'{"prompt": "x", "id": "a\\u0000"}', "nul_character"),
    "nul in metadata": (b'{"prompt": "x", "note": {"k": "\\\\\\u0000"}}', "nul_character"),
    "nul as it stands": (b'{"prompt": "a\x00b"}', "nul_character"),
    "key twice": (b'{"prompt": "x", "prompt": "y"}', "doubled_key"),
    "key twice within": (b'{"prompt": "x", "meta": {"a": 1, "b": {"c": 2, "c": 2}}}', "doubled_key"),
    "key twice in a turn": (b'{"messages": "[{\\"role\\": \\"user\\", \\"content\\": \\"a\\", \\"content\\": \\"b\\"}]"}', "doubled_key"),
    "two prompts": (b'{"prompt": "The context", "messages": [{"role": "user", "content": "M"}]}', "bad_messages"),
    "a prompt of no text beside": (b'{"prompt": 3, "messages": [{"role": "user", "content": "3"}]}', "bad_messages"),
    "an answer as prompt": (
        b'{"prompt": "b", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        "bad_messages",
    ),
    "blank part": (b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "\\u200b"}]}]}', "bad_messages"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_a_broken_row_is_counted_or_told_with_its_place(tmp_path: Path, name: str, kind: str) -> None:
    row, reason = BROKEN[name]
    if kind == "json" and b"\x00" in row:
        reason = "not_json"  # where the element ends is known, what is wrong with it is told by the reader
    content = GOOD + row + b"\n" if kind == "jsonl" else b"[" + GOOD + b"," + row + b"]"
    file = put(tmp_path, f"x.{kind}", content)
    found, rejected = gather(file, bad_rows="reject")
    assert found.rejected == {reason: 1} and reason in REASONS and len(found.kept) == 1
    assert [(one["line"], one["reason"]) for one in rejected] == [(2, reason)]
    with pytest.raises(InputError, match=rf"x\.{kind} line 2: "):
        gather(file)


@pytest.mark.parametrize("text", INVISIBLE)
def test_a_prompt_that_nobody_can_see(tmp_path: Path, text: str) -> None:
    files = {
        "x.jsonl": [{"prompt": "First?"}, {"prompt": text}],
        "y.jsonl": [{"messages": ASK}, {"messages": [{"role": "user", "content": text}]}],
        "z.csv": [{"id": "a", "prompt": "First?"}, {"id": "b", "prompt": text}],
        "w.txt": [{"prompt": "First?"}, {"prompt": text}],
        "v.parquet": [{"prompt": "First?"}, {"prompt": text}],
    }
    for name, listed in files.items():
        file = put(tmp_path, name, listed)
        found, rejected = gather(file, bad_rows="reject")
        assert len(found.kept) == 1
        assert [one["reason"] for one in rejected] == ["bad_messages" if name == "y.jsonl" else "no_prompt"]
        with pytest.raises(InputError, match=r"(line|row) \d: "):
            gather(file)


@pytest.mark.parametrize("text", ["?", "\u6a4b", "\U0001f600", "\u200bx", "\ue000", "\u0915\u093f", "\U0001faf7"])
def test_a_prompt_that_can_be_seen(tmp_path: Path, text: str) -> None:
    assert [row["prompt"] for row in rows(put(tmp_path, "x.jsonl", [{"prompt": text}]))] == [text.strip()]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv", "x.txt"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str, name: str) -> None:
    text = {"x.jsonl": GOOD.decode(), "x.json": '[{"prompt": "First?"}]', "x.txt": "First?\nLast?\n"}
    mark = "" if encoding in ("utf-16", "utf-32") else "\ufeff"  # Python writes it by itself
    told = (mark + text.get(name, "id,prompt\na,First?\n")).encode(encoding)
    good = put(tmp_path, "good.jsonl", [{"prompt": "Good?"}])
    with pytest.raises(InputError, match=rf"{name} line 1: .*{encoding.upper()[:6]}; convert to UTF-8"):
        gather([good, put(tmp_path, name, told)])
    if name not in ("x.csv", "x.tsv"):  # a header that cannot be read is an error in any case
        found, rejected = gather([good, tmp_path / name], bad_rows="reject")
        assert found.rejected == {"not_utf8": 1} and len(found.kept) == 1
        assert [(one["file"], one["line"]) for one in rejected] == [(name, 1)]


def test_utf_16_without_its_mark_is_told(tmp_path: Path) -> None:
    for name, text in {"x.jsonl": GOOD.decode(), "x.txt": "First?\n", "x.csv": "id,prompt\na,First?\n"}.items():
        for encoding in ("utf-16-le", "utf-16-be"):
            with pytest.raises(InputError, match=rf"{name} line 1: .*UTF-16\? convert to UTF-8"):
                gather(put(tmp_path, name, text.encode(encoding)))


def test_nul_in_a_table(tmp_path: Path) -> None:
    file = put(tmp_path, "x.csv", b"id,prompt\n1,a\x00b\n2,First?\n")
    found, rejected = gather(file, bad_rows="reject")
    assert found.kept["prompt"].to_pylist() == ["First?"]
    assert [(one["line"], one["reason"]) for one in rejected] == [(2, "nul_character")]
    table = table_of({"prompt": pa.array(["First?", "a\0b"])})
    assert gather(put(tmp_path, "x.parquet", table), bad_rows="reject")[0].rejected == {"nul_character": 1}


def test_a_backslash_before_u0000_is_no_nul(tmp_path: Path) -> None:
    texts = [r"\u0000", r"the escape \\u0000 of C", r"\\\u0000"]
    file = put(tmp_path, "x.jsonl", jsonl_of([{"prompt": text, "note": text, "id": text} for text in texts]))
    assert {row["prompt"] for row in rows(file)} == set(texts)


def test_an_answer_that_nobody_can_see_or_with_nul_is_none(tmp_path: Path) -> None:
    given: list[dict[str, Any]] = [
        {"prompt": "a", "response": "\u200b"},
        {"prompt": "b", "response": "<think>why</think>\u200b"},
        {"prompt": "c", "response": "x\0"},
        {"prompt": "d", "response": "x", "reasoning": "y\0"},
        {"prompt": "e", "response": "x"},
    ]
    found = gather_answers(put(tmp_path, "x.jsonl", given))
    assert found == {"no_response": 2, "nul_character": 2}


def gather_answers(file: Path) -> dict[str, int]:
    from stillhouse.prompts.collect import CollectSettings, collect

    return collect([file], CollectSettings(set="s", answers=True, bad_rows="reject")).rejected


def test_a_prompt_beside_its_conversation(tmp_path: Path) -> None:
    talk = [*ASK, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": " And then? "}]
    for prompt in ("First?", " And then?", "", None):
        found = rows(put(tmp_path, "x.jsonl", [{"prompt": prompt, "messages": talk}]))
        assert json.loads(found[0]["messages"]) == talk and found[0]["metadata"] == "{}"


def test_the_study_says_which_of_two_prompts_is_meant(tmp_path: Path) -> None:
    file = put(tmp_path, "x.jsonl", [{"prompt": "The context", "messages": ASK}])
    by_messages = rows(file, columns={"messages": "messages"})[0]
    assert (by_messages["prompt"], json.loads(by_messages["metadata"])) == ("First?", {"prompt": "The context"})
    by_prompt = rows(file, columns={"prompt": "prompt"})[0]
    assert (by_prompt["prompt"], json.loads(by_prompt["metadata"])) == ("The context", {"messages": ASK})


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.table([pa.array(["First?"]), pa.array(["Last?"])], names=["prompt", "prompt"])
    with pytest.raises(InputError, match=r"x\.parquet: two columns are called 'prompt'"):
        gather(put(tmp_path, "x.parquet", table_of(table)))
