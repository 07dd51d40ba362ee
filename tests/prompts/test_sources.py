"""Sources of prompts: every format gives the same rows, and each kind of bad row is named, counted and left out."""

import gzip
import io
import json
import time
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_files import ENDINGS, as_bytes, gather, put, rows

from stillhouse.errors import InputError
from stillhouse.prompts.flaws import DEEPEST, LONGEST, REASONS

PLAIN = [{"id": f"p{n}", "prompt": f"Question {n}, über “alles”?", "category": "food"} for n in range(5)]
LONG = b"x" * (LONGEST + 10)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_prompts(tmp_path: Path, ending: str, packed: str) -> None:
    expected = rows(put(tmp_path, "expected.jsonl", PLAIN))
    found = rows(put(tmp_path, f"prompts.{ending}{packed}", PLAIN))
    if ending == "txt":
        assert [(row["prompt_id"], row["prompt"]) for row in found] == [
            (row["prompt_id"], row["prompt"]) for row in expected
        ]
        assert all(row["id"] == row["prompt_id"] for row in found)
    else:
        assert found == expected


@settings(max_examples=150, deadline=None)
@given(
    ending=st.sampled_from(ENDINGS),
    packed=st.booleans(),
    cut=st.none() | st.integers(0, 600),
    flips=st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), max_size=6),
    noise=st.binary(max_size=60),
)
def test_whatever_a_file_holds_it_is_collected_or_told(
    tmp_path_factory: pytest.TempPathFactory,
    ending: str,
    packed: bool,
    cut: int | None,
    flips: list[tuple[int, int]],
    noise: bytes,
) -> None:
    content = bytearray(as_bytes(PLAIN, ending))
    content = bytearray(gzip.compress(content, mtime=0)) if packed else content
    for place, value in flips:
        content[place % len(content)] = value
    folder = tmp_path_factory.mktemp("noise")
    bad, good = (
        put(folder, f"x.{ending}", bytes(content[:cut]) + noise),
        put(folder, "good.jsonl", [{"prompt": "Good?"}]),
    )
    told = ""
    try:
        found, _ = gather([bad, good], bad_rows="reject")
    except InputError as error:
        told = str(error)
    assert told.startswith(str(bad)) if told else "Good?" in found.kept["prompt"].to_pylist()


def test_the_format_may_be_given_and_an_unknown_ending_holds_json_lines(tmp_path: Path) -> None:
    expected = rows(put(tmp_path, "a.jsonl", PLAIN))
    assert rows(put(tmp_path, "a.prompts", as_bytes(PLAIN, "jsonl"))) == expected
    assert rows(put(tmp_path, "a.dat", as_bytes(PLAIN, "tsv")), format="tsv") == expected
    assert rows(put(tmp_path, "lines.json", as_bytes(PLAIN, "jsonl"))) == expected


def test_several_files_are_one_set_whatever_their_order_and_formats(tmp_path: Path) -> None:
    files = [put(tmp_path, f"part-{n}.{ending}", [PLAIN[n]]) for n, ending in enumerate(("jsonl", "csv", "parquet"))]
    assert rows(files) == rows(files[::-1]) == rows(put(tmp_path, "all.jsonl", PLAIN[:3]))


def jsonl(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in (b'{"id": "a", "prompt": "First?"}', *lines, b'{"prompt": "Last?"}'))


def table(*lines: bytes, sign: bytes = b",") -> bytes:
    return b"id,prompt\na,First?\n".replace(b",", sign) + b"".join(
        line + b"\n" for line in (*lines, b"z" + sign + b"Last?")
    )


def listed(*elements: bytes) -> bytes:
    return b"[" + b",\n".join((b'{"id": "a", "prompt": "First?"}', *elements, b'{"prompt": "Last?"}')) + b"]"


def nested(depth: int) -> bytes:
    return b'{"prompt": "x", "deep": ' + b"[" * depth + b"]" * depth + b"}"


BAD_OBJECTS = [
    (b'{"prompt": "x", "score": NaN}', "not_finite"),
    (b'{"prompt": "x", "score": 1e999}', "not_finite"),
    (b'{"prompt": "half \\ud83d"}', "lone_surrogate"),
    (nested(DEEPEST), "too_deep"),
    (nested(900), "too_deep"),
    (b"[1]", "not_an_object"),
    (b"null", "not_an_object"),
    (b'{"prompt": null}', "no_prompt"),
    (b'{"prompt": 3}', "no_prompt"),
    (b'{"prompt": " "}', "no_prompt"),
    (b"{}", "no_prompt"),
    (b'{"id": {}, "prompt": "x"}', "wrong_type"),
    (b'{"category": true, "prompt": "x"}', "wrong_type"),
    (b'{"id": true, "prompt": "x"}', "wrong_type"),
    (b'{"difficulty": false, "prompt": "x"}', "wrong_type"),
    (b'{"id": NaN, "prompt": "x"}', "not_finite"),
    (b'{"messages": "x"}', "bad_messages"),
    (b'{"prompt": "x", "tools": 3}', "bad_tools"),
    (b'{"prompt": "x", "tools": ["search"]}', "bad_tools"),
    (b'{"id": "a", "prompt": "Another?"}', "duplicate_id"),
    (b'{"id": "b", "prompt": "Last?"}', "duplicate_prompt"),
]
TABLE_ROWS = [
    (b"b,\xffx", "not_utf8"),
    (b"b", "ragged_row"),
    (b"b,x,y", "ragged_row"),
    (b"b,", "no_prompt"),
    (b'b,"x"y', "bad_quotes"),
    (b"b," + LONG, "too_long"),
    (b"a,Another?", "duplicate_id"),
    (b"b,Last?", "duplicate_prompt"),
]
BAD = [
    *((name, "x.jsonl", jsonl(line), reason) for line, reason in BAD_OBJECTS for name in ("jsonl",)),
    *(("json", "x.json", listed(line), reason) for line, reason in BAD_OBJECTS),
    *(("csv", "x.csv", table(line), reason) for line, reason in TABLE_ROWS),
    *(("tsv", "x.tsv", table(line.replace(b",", b"\t"), sign=b"\t"), reason) for line, reason in TABLE_ROWS),
    ("jsonl", "x.jsonl", jsonl(b'{"prompt": "x"'), "not_json"),
    ("jsonl", "x.jsonl", jsonl(b'{"prompt": "\xff"}'), "not_utf8"),
    ("jsonl", "x.jsonl", jsonl(b'{"prompt": "' + LONG + b'"}'), "too_long"),
    ("jsonl", "x.jsonl", jsonl(b"\xef\xbb\xbf" + b'{"prompt": "x"}'), "not_json"),
    ("lines", "x.txt", b"First?\n\xff\nLast?\n", "not_utf8"),
    ("lines", "x.txt", b"First?\n" + LONG + b"\nLast?\n", "too_long"),
    ("lines", "x.txt", b"First?\nLast?\nFirst?\n", "duplicate_prompt"),
    ("json", "x.json", b'[{"prompt": "First?"}, {"prompt": "Last?"}, {"prompt": ]', "not_json"),
    ("json", "x.json", b'[{"prompt": "First?"}, {"prompt": "Last?"} {"prompt": "x"}]', "not_json"),
    ("json", "x.json", b'[{"prompt": "First?"}, {"prompt": "Last?"},', "not_json"),
    ("json", "x.json", b'[{"prompt": "First?"}, {"prompt": "Last?"}] 3', "not_json"),
    ("json", "x.json", b'[{"prompt": "First?"}, {"prompt": "Last?"}, {"prompt": "\xff"}]', "not_utf8"),
    ("json", "x.json", b'[{"prompt": "First?"}, {"prompt": "Last?"}, {"prompt": "' + LONG + b'"}]', "too_long"),
    ("json", "x.json", b'[{"prompt": "First?"}, {"prompt": "Last?"}, ' + b"[" * 5000 + b"]" * 5000 + b"]", "too_deep"),
]


@pytest.mark.parametrize(
    ("name", "content", "reason"), [bad[1:] for bad in BAD], ids=[f"{bad[0]}-{n}-{bad[3]}" for n, bad in enumerate(BAD)]
)
def test_a_bad_row_is_rejected_by_name_or_stops_with_its_place(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    file = put(tmp_path, name, content)
    found, rejected = gather(file, bad_rows="reject")
    assert [row["reason"] for row in rejected] == [reason]
    assert found.rejected == {reason: 1} and reason in REASONS
    assert set(found.kept["prompt"].to_pylist()) >= {"Last?"} and len(found.kept) == 2
    assert rejected[0]["file"] == name and rejected[0]["line"] >= 1
    assert len(rejected[0]["excerpt"]) <= 200
    with pytest.raises(InputError, match=rf"{name} line \d+: "):
        gather(file)


def parquet(columns: dict[str, pa.Array]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def broken_text() -> pa.Array:
    return pa.Array.from_buffers(
        pa.string(), 3, [None, pa.array([0, 6, 7, 12], pa.int32()).buffers()[1], pa.py_buffer(b"First?\xffLast?")]
    )


PROMPTS = pa.array(["First?", "x", "Last?"])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"prompt": pa.array(["First?", None, "Last?"])}, "no_prompt"),
        ({"prompt": broken_text()}, "not_utf8"),
        ({"prompt": PROMPTS, "score": pa.array([1.0, float("nan"), 2.0])}, "not_finite"),
        ({"prompt": PROMPTS, "category": pa.array([None, True, None])}, "wrong_type"),
        ({"prompt": PROMPTS, "id": pa.array(["a", "a", "b"])}, "duplicate_id"),
        ({"prompt": pa.array(["First?", "Last?", "Last?"])}, "duplicate_prompt"),
        ({"prompt": pa.array(["First?", "x" * (LONGEST + 1), "Last?"])}, "too_long"),
        ({"prompt": PROMPTS, "tools": pa.array([None, "{}", None])}, "bad_tools"),
        ({"prompt": PROMPTS, "messages": pa.array([None, "no list", None])}, "bad_messages"),
    ],
    ids=["null", "utf8", "nan", "type", "id", "prompt", "long", "tools", "messages"],
)
def test_bad_rows_of_parquet(tmp_path: Path, columns: dict[str, pa.Array], reason: str) -> None:
    file = put(tmp_path, "x.parquet", parquet(columns))
    found, rejected = gather(file, bad_rows="reject")
    assert [row["reason"] for row in rejected] == [reason]
    assert set(found.kept["prompt"].to_pylist()) >= {"Last?"} and len(found.kept) == 2
    with pytest.raises(InputError, match=r"x\.parquet row [23]: "):
        gather(file)


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.bool_(), pa.list_(pa.string()), pa.binary()], ids=str)
def test_a_column_of_the_wrong_type(tmp_path: Path, kind: pa.DataType) -> None:
    """Numbers and lists are rejected row by row; a column of bytes is no column that could hold prompts."""
    file = put(tmp_path, "x.parquet", parquet({"prompt": pa.array([None, None], kind), "note": pa.array(["a", "b"])}))
    with pytest.raises(InputError, match=r"no column 'prompt'" if pa.types.is_binary(kind) else "no prompts in it"):
        gather(file, bad_rows="reject")


@pytest.mark.parametrize("name", [f"x.{ending}" for ending in ENDINGS])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    empty, good = put(tmp_path, name, b""), put(tmp_path, "good.jsonl", PLAIN)
    for given_settings in ({}, {"bad_rows": "reject"}):
        with pytest.raises(InputError, match=r"x\.\w+: (no prompts in it|the file is empty)"):
            gather(empty, **given_settings)
    found, rejected = gather([good, empty], bad_rows="reject")
    assert len(found.kept) == 5 and rejected == [{"file": name, "line": 0, "reason": "empty_file", "excerpt": ""}]


def test_tables_without_rows_and_lists_without_elements_are_empty(tmp_path: Path) -> None:
    for name, content in (
        ("x.csv", b"id,prompt\n"),
        ("y.json", b" [ ] "),
        ("z.txt", b"\xef\xbb\xbf"),
        ("w.jsonl", b"\n"),
    ):
        with pytest.raises(InputError, match="no prompts in it"):
            gather(put(tmp_path, name, content))


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "txt", "parquet"])
def test_a_gzip_file_that_breaks_off(tmp_path: Path, ending: str) -> None:
    many = [{"id": f"p{n}", "prompt": f"Question {n}, {zlib.crc32(b'%d' % n)}?"} for n in range(20_000)]
    whole = gzip.compress(as_bytes(many, ending))
    file = put(tmp_path, f"x.{ending}.gz", whole[: len(whole) // 2])
    good = put(tmp_path, "good.jsonl", [{"prompt": "Good?"}])
    found, rejected = gather([file, good], bad_rows="reject")
    assert rejected[-1]["reason"] == "damaged_file" and len(rejected) == 1
    assert ending == "parquet" or len(found.kept) > 5_000
    with pytest.raises(InputError, match="breaks off or is damaged"):
        gather([file, good])


def test_a_parquet_file_that_is_none_or_breaks_off(tmp_path: Path) -> None:
    good = put(tmp_path, "good.jsonl", PLAIN)
    whole = as_bytes(PLAIN, "parquet")
    for content in (b"PAR1 no table PAR1", whole[:-20], whole[:40] + b"\0" * 40 + whole[80:]):
        bad = put(tmp_path, "x.parquet", content)
        found, rejected = gather([good, bad], bad_rows="reject")
        assert len(found.kept) == 5 and [row["reason"] for row in rejected] == ["damaged_file"]
        with pytest.raises(InputError, match="cannot be read as parquet"):
            gather([good, bad])


def test_missing_files_folders_and_headers_are_errors_in_any_case(tmp_path: Path) -> None:
    for given_settings in ({}, {"bad_rows": "reject"}):
        for name in ("none.jsonl", "none.parquet", "none.csv", "none.json"):
            with pytest.raises(InputError, match="No such file"):
                gather(tmp_path / name, **given_settings)
        with pytest.raises(InputError, match="Is a directory"):
            gather(tmp_path, format="jsonl", **given_settings)
        with pytest.raises(InputError, match=r"no column 'prompt' or 'messages'; it has 'id;prompt'"):
            gather(put(tmp_path, "semicolon.csv", b"id;prompt\na;x\n"), **given_settings)
        with pytest.raises(InputError, match=r"line 1: the header names 'id' twice"):
            gather(put(tmp_path, "twice.csv", b"id,id,prompt\na,b,x\n"), **given_settings)
        with pytest.raises(InputError, match=r"line 1: the header is not UTF-8"):
            gather(put(tmp_path, "latin.csv", b"id,prompt,\xe9\na,x,y\n"), **given_settings)
        with pytest.raises(InputError, match=r"no column 'question'; it has 'id', 'prompt', 'category'"):
            gather(put(tmp_path, "x.parquet", PLAIN), columns={"prompt": "question"}, **given_settings)


def test_quoted_cells_hold_lines_and_rows_are_numbered_by_the_files_lines(tmp_path: Path) -> None:
    file = put(tmp_path, "x.csv", b'\xef\xbb\xbfid,prompt\r\na,"One\r\n""two"", three?"\r\n\r\nb\r\nc,x\r\n')
    found, rejected = gather(file, bad_rows="reject")
    assert set(found.kept["prompt"].to_pylist()) == {'One\r\n"two", three?', "x"}
    assert [(row["line"], row["reason"]) for row in rejected] == [(5, "ragged_row")]


def test_a_quote_that_nobody_closes(tmp_path: Path) -> None:
    found, rejected = gather(put(tmp_path, "x.csv", b'id,prompt\na,First?\nb,"open\nc,y\n'), bad_rows="reject")
    assert sorted(found.kept["prompt"].to_pylist()) == ["First?", "y"]
    assert [(row["line"], row["reason"], row["excerpt"]) for row in rejected] == [(3, "bad_quotes", 'b,"open')]


@pytest.mark.parametrize("sign", [",", "\t"])
@pytest.mark.parametrize(
    ("behind", "bad"),
    [
        ([], {}),
        ([("f", '"Another, or\ttwo?"')], {}),
        ([("f", '"Over\ntwo lines?"')], {}),
        ([("f", '"open as well'), ("g", "Good?")], {"f": "bad_quotes"}),
        ([("f", '"shut" badly')], {"f": "bad_quotes"}),
        ([("f", "x" * (LONGEST + 10))], {"f": "too_long"}),
    ],
    ids=["plain", "quoted", "lines", "open", "badly", "long"],
)
def test_an_open_quote_takes_its_own_line_only(tmp_path: Path, sign: str, behind: list, bad: dict[str, str]) -> None:
    cells = [("id", "prompt"), ("a", "First?"), ("b", '"open'), ("c", "After?"), *behind]
    cells += [(f"r{number}", f"Row {number}?") for number in range(300)]
    file = put(tmp_path, f"x.{'csv' if sign == ',' else 'tsv'}", "".join(f"{a}{sign}{b}\n" for a, b in cells).encode())
    found, rejected = gather(file, bad_rows="reject")
    assert [(row["excerpt"][:1], row["reason"]) for row in rejected] == [("b", "bad_quotes"), *bad.items()]
    assert (rejected[0]["line"], rejected[0]["excerpt"]) == (3, f'b{sign}"open')
    assert len(found.kept) == len(cells) - 1 - len(rejected)
    assert {"First?", "After?", "Row 299?"} <= set(found.kept["prompt"].to_pylist())


def test_an_open_quote_before_a_damaged_end_is_counted_beside_it(tmp_path: Path) -> None:
    whole = gzip.compress(b'id,prompt\na,First?\nb,"open\n' + b"".join(b"r%d,Row %d?\n" % (n, n) for n in range(9_000)))
    found, rejected = gather(put(tmp_path, "x.csv.gz", whole[: len(whole) // 2]), bad_rows="reject")
    assert [row["reason"] for row in rejected] == ["bad_quotes", "damaged_file"]
    assert len(found.kept) > 1_000


def test_a_long_row_of_closed_quotes_is_one_row(tmp_path: Path) -> None:
    cell = '"' + "a line of text\n" * 250_000 + '"'
    file = put(tmp_path, "x.csv", f"prompt,a,b,c\nFirst?,,,\nx,{cell},{cell},{cell}\nLast?,,,\n".encode())
    found, rejected = gather(file, bad_rows="reject")
    assert (len(found.kept), [(row["line"], row["reason"]) for row in rejected]) == (2, [(3, "too_long")])


def test_many_open_quotes_are_read_in_one_go(tmp_path: Path) -> None:
    started = time.monotonic()
    lines = "".join(f'r{number},"open {number}\n' for number in range(20_000))
    with pytest.raises(InputError, match="20000 bad_quotes"):
        gather(put(tmp_path, "x.csv", f"id,prompt\n{lines}".encode()), bad_rows="reject")
    assert time.monotonic() - started < 10


def test_a_list_goes_on_behind_a_raw_newline_in_a_text(tmp_path: Path) -> None:
    many = b",".join(b'{"prompt": "Question %d, %s?"}' % (n, b"w" * 2_000) for n in range(5_000))
    file = put(tmp_path, "x.json", b'[{"prompt": "First?"},\n{"prompt": "a\nb"},' + many + b"]")
    assert file.stat().st_size > LONGEST
    found, rejected = gather(file, bad_rows="reject")
    assert (len(found.kept), [(row["line"], row["reason"]) for row in rejected]) == (5_001, [(2, "not_json")])
    file = put(tmp_path, "y.json", b'[{"prompt": "First?"}, {"prompt": tru}, ' + many + b"]")
    assert [row["reason"] for row in gather(file, bad_rows="reject")[1]] == ["not_json"], "and not an endless element"
    file = put(
        tmp_path, "z.json", b'[{"prompt": "First?"}, {"prompt": "x", "n": ' + b"9" * 5_000 + b"}, " + many + b"]"
    )
    assert [row["reason"] for row in gather(file, bad_rows="reject")[1]] == ["not_json"]


def test_times_decimals_and_bytes_in_a_table(tmp_path: Path) -> None:
    from datetime import datetime
    from decimal import Decimal

    columns = {
        "prompt": pa.array(["x"]),
        "asked": pa.array([datetime(2026, 1, 2, 3, 4)], pa.timestamp("ms")),
        "price": pa.array([Decimal("1.50")]),
        "image": pa.array([{"bytes": b"\x89PNG"}]),
    }
    row = rows(put(tmp_path, "x.parquet", parquet(columns)))[0]
    assert json.loads(row["metadata"]) == {"asked": "2026-01-02 03:04:00.000", "price": "1.50"}


def test_memory_of_a_json_list_is_that_of_an_element(tmp_path: Path) -> None:
    many = [{"prompt": f"Question {n}?", "note": "é\n" * 50} for n in range(20_000)]
    file = put(tmp_path, "x.json", json.dumps(many, ensure_ascii=False).encode())
    assert file.stat().st_size > 3 * 2**20, "more than the window on it"
    assert len(rows(file)) == 20_000


def test_excerpts_are_withheld_where_something_is_taken_down(tmp_path: Path) -> None:
    file = put(tmp_path, "x.jsonl", b'{"prompt": "about the bakery"\n{"prompt": "First?"}\n')
    shown: list[Any] = [
        gather(file, bad_rows="reject", exclude=exclude)[1] for exclude in ({}, {"patterns": ["bakery"]})
    ]
    assert shown[0][0]["excerpt"] == '{"prompt": "about the bakery"'
    assert shown[1] == [{**shown[0][0], "excerpt": ""}]
