"""A total order that does not know in which order rows were read; the first of those that say the same."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.settings import BuildSettings
from stillhouse.datasets.ties import first_of
from stillhouse.provenance.files import read_parquet_rows


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=30), st.randoms())
def test_the_first_of_every_group(groups, draw):
    priority = list(range(len(groups)))
    draw.shuffle(priority)
    found = first_of(np.array(groups, np.uint64).reshape(-1, 2), np.array(priority, np.int64))
    for place, group in enumerate(groups):
        assert found[place] == min((p for p, other in enumerate(groups) if other == group), key=priority.__getitem__)


def build(house, folder, rows, **dataset):
    answers = {"plans": house.write_answers(folder / "p.parquet", rows)}
    settings = {
        "sources": [{"generation": "plans"}],
        "order": "source",
        "split": {"train": 1.0, "valid": 0.0},
        **dataset,
    }
    build_dataset(BuildSettings.model_validate({"name": "d", "dataset": settings}), answers, [], folder / "out")
    return read_parquet_rows(folder / "out/train.parquet"), read_parquet_rows(folder / "out/dropped.parquet")


def test_samples_of_a_prompt_stay_and_stand_in_order(house, tmp_path):
    rows = [house.answer_row("Name a river", f"River {one}.", sample=one) for one in (2, 0, 1)]
    kept, dropped = build(house, tmp_path, rows)
    assert [row["sample"] for row in kept] == [0, 1, 2] and not dropped


def test_of_repeats_the_first_by_set_id_and_sample_stays(house, tmp_path):
    rows = [
        house.answer_row("Name a river", "The Rhine. ", set_name=name, row_id=row_id, sample=sample)
        for name, row_id, sample in (("b", "1", 0), ("a", "2", 0), ("a", "1", 1), ("a", "1", 0))
    ]
    kept, dropped = build(house, tmp_path, rows)
    assert [(row["set"], row["id"], row["sample"]) for row in kept] == [("a", "1", 0)]
    assert [(row["set"], row["id"], row["sample"]) for row in dropped] == [("a", "1", 1), ("a", "2", 0), ("b", "1", 0)]
    assert {row["reason"] for row in dropped} == {"exact_duplicate"}


def test_keeping_the_longest_answer_and_the_clearest_win(house, tmp_path):
    clear, narrow = (
        [house.round_of(1, "AB", {"A": a, "B": 0, "AB": 5}) | {"votes": [{"ranking": ["AB"]}]}] for a in (0, 4)
    )
    rows = [
        house.answer_row("Name a river", "The Rhine it is.", set_name="a", rounds=narrow),
        house.answer_row("name a RIVER!", "Rhine.", set_name="b", rounds=clear),
    ]
    found = {}
    for keep in ("first", "longest", "margin"):
        (row,), (gone,) = build(house, tmp_path, rows, near_duplicates={"keep": keep})
        found[keep] = row["set"]
        assert {row["set"], gone["set"]} == {"a", "b"}
    assert found["longest"] == "a" and found["margin"] == "b"
    assert found["first"] == min(rows, key=lambda row: row["prompt_id"])["set"]


def test_a_candidate_with_the_winners_own_text_takes_nothing_off_its_win(house, tmp_path):
    def won_by(second: int) -> list[dict]:
        return [house.round_of(1, "AB", {"A": second, "B": 0, "AB": 5}) | {"votes": [{"ranking": ["AB"]}]}]

    twin = won_by(5)
    twin[0]["candidates"]["A"] = twin[0]["candidates"]["AB"]
    rows = [
        house.answer_row("Name a river", "Rhine.", set_name="narrow", rounds=won_by(4)),
        house.answer_row("name a RIVER!", "Rhine.", set_name="twin", rounds=twin),
    ]
    (row,), _ = build(house, tmp_path, rows, near_duplicates={"keep": "margin"})
    assert row["set"] == "twin"
