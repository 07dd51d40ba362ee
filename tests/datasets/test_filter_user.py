"""The user's own filter: what it is given, and what becomes of its mistakes."""

import re
from pathlib import Path

import numpy as np
import pytest
from filter_rows import batch_of, keeps, made, row_of

from stillhouse.datasets.filters.base import keep_mask
from stillhouse.datasets.filters.user import ROW_COLUMNS
from stillhouse.errors import InputError
from stillhouse.tournament.columns import ANSWERS


def own(folder: Path, body: str, name: str = "keep") -> dict:
    (folder / "own.py").write_text(body)
    return {"python": f"{folder}/own.py:{name}"}


def test_the_function_decides(tmp_path):
    setting = own(
        tmp_path, "import json\n\ndef keep(row):\n    return json.loads(row['messages'])[0]['content'] == 'yes'\n"
    )
    assert keeps(setting, row_of(prompt="yes")) and not keeps(setting, row_of(prompt="no"))
    assert made(setting).label == "python: own.py:keep"  # never by an absolute path


def test_files_say_where_it_lies(tmp_path):
    own(tmp_path, "def keep(row):\n    return row['category'] == 'audit'\n")
    one = made({"python": "filters/mine.py:keep"}, files={"filters/mine.py": tmp_path / "own.py"})
    assert one.label == "python: filters/mine.py:keep"
    assert one.keep(row_of(category="audit")) and not one.keep(row_of(category="plan"))


def test_it_sees_every_column_and_changes_none(tmp_path):
    body = f"def keep(row):\n    seen = sorted(row) == {sorted(ROW_COLUMNS)!r}\n    row.clear()\n    return seen\n"
    one, row = made(own(tmp_path, body)), row_of()
    assert one.keep(row) and one.keep(row) and row["id"] == "one"


def test_it_sees_what_answers_hold():
    assert list(ROW_COLUMNS) == ANSWERS.names


def test_it_is_asked_only_of_rows_that_are_left(tmp_path):
    one = made(own(tmp_path, "def keep(row):\n    return bool(1 / len(row['answer']))\n"))
    batch = batch_of([row_of("a"), row_of("")])

    assert keep_mask(one, batch, np.array([True, False])).tolist() == [True, False]
    with pytest.raises(InputError, match="ZeroDivisionError"):
        keep_mask(one, batch, np.array([True, True]))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "def keep(row):\n    return row['nothing']\n",
            r"own\.py:keep: row plans/one \(prompt p1\): .*KeyError: 'nothing' \(line 2 of own\.py\)",
        ),
        ("def keep(row):\n    raise ValueError('bad row')\n", r"ValueError: bad row"),
        ("def keep(row):\n    return 1\n", r"returned 1, expected True or False"),
        ("def keep(row):\n    pass\n", r"returned None, expected"),
        ("def keep():\n    return True\n", r"TypeError"),
        ("import sys\ndef keep(row):\n    sys.exit(3)\n", r"SystemExit"),
    ],
)
def test_mistakes_name_file_row_and_cause(tmp_path, body, said):
    one = made(own(tmp_path, body))
    with pytest.raises(InputError, match=said):
        one.keep(row_of())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def keep(row:\n", r"own\.py:1: not Python"),
        ("import no_such_module\n", r"own\.py: cannot be loaded: ModuleNotFoundError.*line 1"),
        ("x = 1\n", r"own\.py: there is no function 'keep'"),
        ("keep = 5\n", r"there is no function 'keep'"),
        ("raise SystemExit(2)\n", r"cannot be loaded: SystemExit"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, body, said):
    with pytest.raises(InputError, match=said):
        made(own(tmp_path, body))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}/no.py")):
        made({"python": f"{tmp_path}/no.py:keep"})


def test_nothing_is_left_beside_the_file(tmp_path):
    body = "from dataclasses import dataclass\n\n@dataclass\nclass A:\n    x: 'int'\n\ndef keep(row):\n    return A(1).x == 1\n"
    assert keeps(own(tmp_path, body), row_of())
    assert [one.name for one in tmp_path.iterdir()] == ["own.py"]
