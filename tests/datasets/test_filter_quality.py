"""Filters, order and duplicates by the score that a model gave an answer."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets.batches import Batch, open_answers
from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.filters.base import keep_mask
from stillhouse.datasets.filters.registry import make_filters
from stillhouse.datasets.scores import Scores
from stillhouse.datasets.settings import BuildSettings
from stillhouse.errors import InputError
from stillhouse.provenance.files import read_json, read_parquet_rows
from stillhouse.study.filters import Filter

WHOLE = {"train": 1.0, "valid": 0.0}


def filters(**bound: Any) -> list:
    return make_filters([Filter(quality=bound)], {})


def batch_of(scores: list[float | None]) -> Batch:
    return Batch(0, "plans", 0, pa.RecordBatch.from_pydict({"quality": pa.array(scores, pa.float64())}))


@given(st.lists(st.none() | st.integers(0, 10).map(float) | st.floats(0, 10), max_size=30), st.floats(0, 10))
def test_both_forms_agree(scores: list[float | None], least: float) -> None:
    for unscored in ("drop", "keep"):
        for one in filters(min=least, unscored=unscored):
            mask = keep_mask(one, batch_of(scores), np.ones(len(scores), bool))
            assert mask.dtype == bool
            assert mask.tolist() == [one.keep({"quality": score}) for score in scores]


def test_what_is_kept_and_under_which_reason() -> None:
    scored, bound = filters(min=7)
    assert (scored.reason, scored.label) == ("unscored", "unscored: drop")
    assert (bound.reason, bound.label) == ("quality", "quality: {min: 7}")
    assert [bound.keep({"quality": score}) for score in (6.9, 7.0, 7.1, None)] == [False, True, True, True]
    assert [scored.keep({"quality": score}) for score in (0.0, None)] == [True, False]
    (alone,) = filters(min=7, unscored="keep")
    assert alone.label == "quality: {min: 7, unscored: keep}"


def write_scores(path: Path, rows: list[tuple[str, int | None, float | None]]) -> Path:
    names = ("prompt_id", "sample", "score")
    kinds = (pa.string(), pa.int32(), pa.float64())
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    pq.write_table(pa.table([pa.array(c, k) for c, k in zip(columns, kinds, strict=True)], names), path)
    return path


keys = st.tuples(
    st.sampled_from(["0" * 16, "f" * 16, "0" * 15 + "1", "no hex", "0123456789abcdef0"]), st.integers(0, 4)
)


@given(st.dictionaries(keys, st.none() | st.floats(0, 10), min_size=1, max_size=20), st.randoms())
def test_scores_are_found_in_any_order(tmp_path_factory: Any, told: dict, rng: random.Random) -> None:
    path = write_scores(tmp_path_factory.mktemp("q") / "q.parquet", [(*key, score) for key, score in told.items()])
    asked = rng.sample(sorted(told), len(told))
    ids, samples = pa.array([key[0] for key in asked]), pa.array([key[1] for key in asked], pa.int32())
    assert Scores(path).of(ids, samples).to_pylist() == [told[key] for key in asked]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("0" * 16, 0, 1.0)], "no line for answer 1 to prompt a{16}; remove the file"),
        ([("a" * 16, 0, 1.0)], "no line for answer 1"),
        ([("a" * 16, 0, 1.0), ("a" * 16, 2, 1.0)], "no line for answer 1"),
        ([("b" * 16, 0, 1.0), ("b" * 16, 0, 2.0)], "prompt b{16}: one answer has two scores"),
        ([], "no line for answer 1"),
    ],
)
def test_answers_and_scores_that_do_not_fit(tmp_path: Path, rows: list, words: str) -> None:
    path = write_scores(tmp_path / "quality.parquet", rows)
    with pytest.raises(InputError, match=rf"quality\.parquet: {words}"):
        Scores(path).of(pa.array(["a" * 16]), pa.array([1], pa.int32()))


def test_no_file_of_scores(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.parquet"):
        Scores(tmp_path / "none.parquet")
    pq.write_table(pa.table({"prompt_id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(
        InputError, match=r"other\.parquet: not a parquet file with the columns prompt_id, sample, score"
    ):
        Scores(tmp_path / "other.parquet")


def test_scores_are_a_column_of_answers_old_and_new(house: Any, tmp_path: Path) -> None:
    rows = [house.answer_row(house.distinct_prompt(n)) for n in range(3)]
    file = house.write_answers(tmp_path / "a.parquet", rows)
    scores = Scores(write_scores(tmp_path / "q.parquet", [(row["prompt_id"], None, 3.0) for row in rows]))
    (batch,) = open_answers(file, ("quality",), scores=scores).batches(0, "plans")
    assert batch.column("quality").to_pylist() == [3.0] * 3 and batch.table.schema.names == ["quality"]
    old = pq.read_table(file).drop_columns(["sample"])
    pq.write_table(old, file)
    (batch,) = open_answers(file, ("quality", "answer"), scores=scores).batches(0, "plans")
    assert batch.column("quality").to_pylist() == [3.0] * 3
    (batch,) = open_answers(file, ("answer", "quality")).batches(0, "plans")
    assert batch.column("quality").null_count == 3


def built(house: Any, folder: Path, scores: list[float | None], quality: bool = True, **dataset: Any) -> list[tuple]:
    """(id, generation) of the training rows of 12 scored answers and three that nobody scored."""
    rows = [house.answer_row(house.distinct_prompt(n), row_id=str(n)) for n in range(len(scores))]
    others = [house.answer_row(house.distinct_prompt(n, "poem"), row_id=f"d{n}", set_name="day") for n in range(3)]
    answers = {
        name: house.write_answers(folder / f"{name}.parquet", [{**row, "generation": name} for row in own])
        for name, own in (("plans", rows), ("day", others))
    }
    told = [(row["prompt_id"], 0, score) for row, score in zip(rows, scores, strict=True)]
    files = {"plans": write_scores(folder / "quality.parquet", told[::-1])} if quality else {}
    settings = {"sources": [{"generation": "plans"}, {"generation": "day"}], "split": WHOLE, **dataset}
    made = BuildSettings.model_validate({"name": "d", "dataset": settings})
    build_dataset(made, answers, [], folder / "out", quality=files)
    return [(row["id"], row["generation"]) for row in read_parquet_rows(folder / "out/train.parquet")]


SCORES = [1.0, 9.0, None, 4.5, 7.0, 6.9, None, 10.0, 2.0, 7.0, 3.0, 8.0]


@pytest.mark.parametrize("unscored", ["drop", "keep"])
def test_a_dataset_of_good_answers(house: Any, tmp_path: Path, unscored: str) -> None:
    chosen = [{"quality": {"min": 7, "unscored": unscored}}]
    sources = [{"generation": "plans", "filters": chosen}, {"generation": "day"}]
    ids = {name for name, generation in built(house, tmp_path, SCORES, sources=sources) if generation == "plans"}
    assert ids == {"1", "4", "7", "9", "11"} | ({"2", "6"} if unscored == "keep" else set())
    books = read_json(tmp_path / "out/report.json")["sources"][0]
    assert books["dropped"] == ({"quality": 5, "unscored": 2} if unscored == "drop" else {"quality": 5})
    told = {(row["id"], row["stage"], row["reason"]) for row in read_parquet_rows(tmp_path / "out/dropped.parquet")}
    assert {("3", "filters", "quality"), ("2", "filters", "unscored")} <= told or unscored == "keep"


@pytest.mark.parametrize("descending", [False, True])
def test_a_curriculum_of_scores(house: Any, tmp_path: Path, descending: bool) -> None:
    rows = built(house, tmp_path, SCORES, order={"by": "quality", "descending": descending})
    by_id = {str(number): score for number, score in enumerate(SCORES)}
    values = [by_id.get(name) for name, _ in rows]
    known = [value for value in values if value is not None]
    assert known == sorted((one for one in SCORES if one is not None), reverse=descending)
    assert values == known + [None] * 5  # two without a score, three that nobody scored


def test_the_best_of_alike_rows_stays(house: Any, tmp_path: Path) -> None:
    text = "Please review this plan of ours for the harbour festival with its forty boats and one bridge"
    rows = [house.answer_row(f"{text}{'!' * n}", f"Answer {n}.", row_id=str(n)) for n in range(5)]
    answers = {"plans": house.write_answers(tmp_path / "plans.parquet", rows)}
    scores = dict(zip(("0", "1", "2", "3", "4"), (2.0, None, 8.0, 5.0, 1.0), strict=True))
    told = [(row["prompt_id"], 0, scores[row["id"]]) for row in rows]
    quality = {"plans": write_scores(tmp_path / "quality.parquet", told)}
    dataset = {"sources": [{"generation": "plans"}], "near_duplicates": {"keep": "quality"}, "split": WHOLE}
    settings = BuildSettings.model_validate({"name": "d", "dataset": dataset})
    build_dataset(settings, answers, [], tmp_path / "out", quality=quality)
    assert [row["id"] for row in read_parquet_rows(tmp_path / "out/train.parquet")] == ["2"]


def test_a_filter_without_scores_is_refused(house: Any, tmp_path: Path) -> None:
    sources = [{"generation": "plans", "filters": [{"quality": {"min": 7}}]}]
    with pytest.raises(InputError, match="source 1: no scores were given for generation 'plans'"):
        built(house, tmp_path, SCORES, quality=False, sources=sources)


def test_the_order_of_the_rows_changes_no_byte(house: Any, tmp_path: Path) -> None:
    rows = [house.answer_row(house.distinct_prompt(n), row_id=str(n)) for n in range(12)]
    told = [(row["prompt_id"], 0, score) for row, score in zip(rows, SCORES, strict=True)]
    source = {"generation": "plans", "filters": [{"quality": {"min": 3}}]}
    dataset = {"sources": [source], "order": {"by": "quality"}, "near_duplicates": {"keep": "quality"}, "split": WHOLE}
    written = []
    for seed in range(3):
        rng, folder = random.Random(seed), tmp_path / str(seed)
        folder.mkdir()
        answers = house.write_answers(folder / "a.parquet", rng.sample(rows, len(rows)))
        quality = write_scores(folder / "q.parquet", rng.sample(told, len(told)))
        settings = BuildSettings.model_validate({"name": "d", "dataset": dataset})
        inputs = {"quality": {"plans": quality}, "threads": seed + 1}
        build_dataset(settings, {"plans": answers}, [], folder / "out", **inputs)
        written.append([(folder / "out" / name).read_bytes() for name in ("train.parquet", "dropped.parquet")])
    assert written[0] == written[1] == written[2]
