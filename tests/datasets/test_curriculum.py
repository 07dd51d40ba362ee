"""The order of rows: shuffled, by source, by a key."""

import json

import numpy as np
import pytest

from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.curriculum import level_values
from stillhouse.datasets.settings import BuildSettings
from stillhouse.provenance.files import read_parquet_rows


@pytest.mark.parametrize(
    ("words", "sorted_words"),
    [
        (["10", "9", "2.5"], ["2.5", "9", "10"]),
        (["hard", "Easy", "medium"], ["Easy", "medium", "hard"]),
        (["b", "10", "a"], ["10", "a", "b"]),
        (["nan", "1"], ["1", "nan"]),
        ([], []),
    ],
)
def test_levels(words, sorted_words):
    values = level_values(np.array([*range(len(words)), -1], np.int32), words)
    assert [words[place] for place in np.argsort(values[:-1])] == sorted_words and np.isnan(values[-1])


def built(house, folder, order, **source):
    rows = [
        house.answer_row(
            house.distinct_prompt(n), "word " * (n % 7 + 1), difficulty=["easy", "hard", "medium", None][n % 4],
            metadata=json.dumps({"step": n % 5} if n % 3 else {}), category=f"c{n % 3}", set_name=f"s{n}",
        )
        for n in range(30)
    ]  # fmt: skip
    answers = {
        name: house.write_answers(folder / f"{name}.parquet", own) for name, own in (("b", rows[:15]), ("a", rows[15:]))
    }
    dataset = {
        "sources": [{"generation": "b", **source}, {"generation": "a"}],
        "order": order,
        "split": {"train": 1.0, "valid": 0.0},
    }
    build_dataset(BuildSettings.model_validate({"name": "d", "dataset": dataset}), answers, [], folder / "out")
    by_set = {row["set"]: row for row in rows}
    return [(row, by_set[row["set"]]) for row in read_parquet_rows(folder / "out/train.parquet")]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("by", "value"),
    [
        ("words", lambda row: len(row["answer"].split())),
        ("difficulty", lambda row: {"easy": 1, "medium": 2, "hard": 3}.get(row["difficulty"])),
        ("category", lambda row: row["category"]),
        ("metadata:step", lambda row: json.loads(row["metadata"]).get("step")),
    ],
)
def test_a_curriculum(house, tmp_path, by, value, descending):
    values = [value(row) for _, row in built(house, tmp_path, {"by": by, "descending": descending})]
    known = [one for one in values if one is not None]
    assert known == sorted(known, reverse=descending) and len(set(known)) > 2
    assert values == known + [None] * (len(values) - len(known))


def test_source_order_and_shuffle(house, tmp_path):
    by_source = [row for row, _ in built(house, tmp_path, "source", repeat=2.0)]
    assert [row["generation"] for row in by_source] == ["b"] * 30 + ["a"] * 15
    assert [row["copy"] for row in by_source[:30]] == [0, 1] * 15
    shuffled = [row["generation"] for row, _ in built(house, tmp_path, "shuffle")]
    assert len(set(shuffled[:15])) == 2
