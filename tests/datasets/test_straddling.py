"""Prompts that are alike never stand in different splits, unless they were dropped from the later one by name."""

import json
import time
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest

from stillhouse.datasets import kernels
from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.near_duplicates import Signatures
from stillhouse.datasets.settings import BuildSettings
from stillhouse.datasets.split import TEST, TRAIN, VALID
from stillhouse.datasets.straddling import Alike
from stillhouse.datasets.text import jaccard, shingles
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


@pytest.mark.parametrize("near", [None, {"threshold": 0.85, "over": "answer"}, {"threshold": 0.95}])
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


def templated(count: int) -> list[str]:
    """Prompts of one template: each has three words of its own among sixty, so that no two are alike."""
    words = [f"w{number}" for number in range(60)]
    own = ({5: f"a{number}", 20: f"b{number}", 35: f"c{number}"} for number in range(count))
    return [" ".join(slots.get(place, word) for place, word in enumerate(words)) for slots in own]


@pytest.mark.slow
def test_ten_thousand_prompts_of_one_template_take_seconds():
    """All of them meet in the same groups; comparing shingles pair by pair would take many minutes."""
    texts = [*templated(10_000), templated(1)[0]]
    index = alike(texts)
    split = np.array([VALID if row % 10 == 1 else TRAIN for row in range(10_000)] + [TEST], np.int8)
    began = time.process_time()
    found = index.straddlers(np.arange(len(texts)), split, np.arange(len(texts)))
    assert [(one.row, one.other, one.similarity) for one in found] == [(10_000, 0, 1.0)]
    assert time.process_time() - began < 30


def test_few_prompts_and_many_are_settled_alike():
    texts = [*templated(60), *(f"{text} again" for text in templated(40))]
    splits = np.random.default_rng(3).integers(0, 3, len(texts)).astype(np.int8)
    order = np.random.default_rng(4).permutation(len(texts))
    told = []
    for least in (0, 10**9):
        with patch.object(kernels, "WORTH", least), patch.object(kernels, "WORTH_PAIRS", least):
            told.append(alike(texts).straddlers(np.arange(len(texts)), splits, order))
    sets = [shingles(text) for text in texts]
    wanted = []
    for later in (VALID, TEST):
        before = [row for row in order.argsort() if splits[row] < later and row not in dict(wanted)]
        near = {row: [one for one in before if jaccard(sets[row], sets[one]) >= 0.85] for row in range(len(texts))}
        wanted += [(row, near[row][0]) for row in np.flatnonzero(splits == later).tolist() if near[row]]
    assert told[0] == told[1] and sorted((one.row, one.other) for one in told[0]) == sorted(wanted) and wanted
