"""Prompts that are alike never stand in different splits, unless they were dropped from the later one by name."""

import json

import numpy as np
import pyarrow as pa
import pytest

from stillhouse.datasets import kernels
from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.near_duplicates import Signatures
from stillhouse.datasets.settings import BuildSettings
from stillhouse.datasets.split import TEST, TRAIN, VALID
from stillhouse.datasets.straddling import Alike
from stillhouse.provenance.files import read_json, read_parquet_rows

LONG = "the crew of the north mill moves all grain to the old tower before the river floods the low road in"
TEXTS = [
    f"{LONG} spring",
    f"{LONG} summer",
    f"{LONG} autumn",
    "an entirely other matter that is asked of the crew of the ferry",
]


def alike(texts: list[str], threshold: float = 0.85) -> Alike:
    signatures = Signatures(threshold, 128)
    signatures.add(signatures.bands_of(kernels.tokens(pa.array(texts, pa.string()))))
    return Alike(signatures.pairs(lambda rows: [pa.array([texts[row] for row in rows], pa.string())]))


def told(splits: list[int], texts: list[str] = TEXTS, place: list[int] | None = None) -> list[tuple[int, int, int]]:
    rows = np.arange(len(splits))
    order = rows if place is None else np.array(place)
    found = alike(texts).straddlers(rows, np.array(splits, np.int8), order)
    assert all(one.similarity >= 0.85 for one in found)
    return [(one.row, one.other, one.near) for one in found]


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ([TRAIN, TRAIN, TRAIN, TEST], []),
        ([TRAIN, VALID, TEST, TEST], [(1, 0, TRAIN), (2, 0, TRAIN)]),
        ([VALID, TRAIN, TRAIN, TRAIN], [(0, 1, TRAIN)]),
        ([TEST, VALID, VALID, TRAIN], [(0, 1, VALID)]),
        ([VALID, VALID, VALID, TRAIN], []),
    ],
)
def test_what_stands_in_a_later_split_goes(splits, expected):
    assert told(splits) == expected


def test_the_first_of_several_is_told():
    assert told([TRAIN, VALID, TRAIN, TRAIN], place=[7, 3, 5, 1]) == [(1, 2, TRAIN)]


def test_rows_that_take_no_part_are_no_reason():
    found = alike(TEXTS).straddlers(np.array([1, 3]), np.array([VALID, TRAIN], np.int8), np.arange(4))
    assert found == []


def test_thousands_of_one_text_are_settled_at_once():
    texts = [f"{LONG} spring"] * 3000
    splits = [TRAIN] * 2000 + [VALID] * 1000
    assert told(splits, texts) == [(row, 0, TRAIN) for row in range(2000, 3000)]


@pytest.mark.parametrize("near", [None, {"threshold": 0.85, "over": "answer"}])
def test_a_build_drops_and_names_them_and_fills_its_shares(house, tmp_path, near):
    words = [
        "red",
        "blue",
        "green",
        "white",
        "black",
        "brown",
        "grey",
        "pink",
        "gold",
        "silver",
        "amber",
        "coral",
        "ivory",
        "olive",
        "plum",
        "teal",
    ]
    rows = [
        house.answer_row(f"{LONG} {word}", f"Move it {word} first, {number} times.")
        for number, word in enumerate(words)
    ]
    others = [house.answer_row(house.distinct_prompt(number), f"Say {number}.", set_name="o") for number in range(60)]
    answers = {
        "a": house.write_answers(tmp_path / "a.parquet", rows),
        "o": house.write_answers(tmp_path / "o.parquet", others),
    }
    dataset = {
        "sources": [{"generation": "a"}, {"generation": "o", "share": 0.5}],
        "near_duplicates": near, "split": {"train": 0.5, "valid": 0.25},
    }  # fmt: skip
    build_dataset(BuildSettings.model_validate({"name": "d", "dataset": dataset}), answers, [], tmp_path / "out")
    report, dropped = read_json(tmp_path / "out/report.json"), read_parquet_rows(tmp_path / "out/dropped.parquet")
    gone = [row for row in dropped if row["stage"] == "splits"]
    in_train = {row["prompt_id"] for row in read_parquet_rows(tmp_path / "out/train.parquet")}
    later = [row for name in ("valid", "test") for row in read_parquet_rows(tmp_path / f"out/{name}.parquet")]
    assert gone and {row["reason"] for row in gone} == {"near_of_train"}
    assert len(gone) + len(in_train & {row["prompt_id"] for row in rows}) == len(words)
    assert not [row for row in later if row["generation"] == "a"] and later
    for row in gone:
        detail = json.loads(row["detail"])
        assert detail["kept"]["prompt_id"] in in_train and detail["similarity"] >= 0.85
    assert report["sources"][1]["realised_share"] == 0.5  # of what is left
    steps = {step["stage"]: step for step in report["flow"]}
    assert steps["splits"]["dropped"] == {"near_of_train": len(gone)}
