"""What holds for every dataset, whatever the rows and settings: nothing lost, nothing left to chance, shares as asked for."""

import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse.datasets import writing
from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.settings import BuildSettings
from stillhouse.datasets.text import jaccard, shingles
from stillhouse.provenance.files import read_json, read_parquet_rows

SPLITS = ("train", "valid", "test")
WORDS = ["river", "mill", "bridge", "crew", "winter", "grain", "tower", "ferry"]
ANSWERS = ["A sound answer of some words.", "", "No.", "<think>Hm.", "The keystone gives way. " * 4]

rows_of = st.lists(
    st.tuples(st.integers(0, 14), st.integers(0, 2), st.sampled_from(ANSWERS), st.integers(0, 2), st.integers(0, 2)),
    max_size=16,
)
sources = st.fixed_dictionaries(
    {"generation": st.sampled_from(["a", "b"])},
    optional={
        "limit": st.integers(1, 9),
        "repeat": st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.25]),
        "filters": st.lists(st.sampled_from([{"min_words": 2}, {"max_words": 8}]), max_size=2),
    },
)
orders = st.sampled_from(["shuffle", "source", {"by": "words"}, {"by": "category", "descending": True},
                          {"by": "metadata:step"}, {"by": "difficulty"}])  # fmt: skip
duplicates = st.none() | st.fixed_dictionaries(
    {"threshold": st.sampled_from([0.5, 0.85]), "over": st.sampled_from(["prompt", "answer", "both"]),
     "keep": st.sampled_from(["first", "longest", "margin"])}
)  # fmt: skip


@st.composite
def datasets(draw: st.DrawFn) -> dict[str, Any]:
    own = draw(st.lists(sources, min_size=1, max_size=3))
    if len(own) > 1 and draw(st.booleans()):
        own[1] = {**own[1], "share": draw(st.sampled_from([0.1, 0.25, 0.5]))}
    return {
        "format": draw(st.sampled_from(["sft", "preference", "reasoning", "critic"])),
        "sources": own,
        "repeats": draw(st.sampled_from([[], [{"times": 1.5, "any": [{"category": ["audit"]}, {"pattern": "mill"}]}]])),
        "near_duplicates": draw(duplicates),
        "decontaminate": draw(st.none() | st.just({"against": ["held"]})),
        "split": {**draw(st.sampled_from([{"train": 0.6, "valid": 0.2}, {"train": 0.9, "valid": 0.1}, {"train": 1.0, "valid": 0.0}])),
                  "stratify": draw(st.booleans())},
        "order": draw(orders),
    }  # fmt: skip


def prompt(number: int) -> str:
    """Some of the prompts are nearly the same."""
    return " ".join(
        [WORDS[(number // 3 + place * (number // 3 % 5 + 1)) % 8] for place in range(9)] + ["again"] * (number % 3)
    )


def answered(house: Any, picks: list[tuple[int, int, str, int, int]], set_name: str) -> list[dict]:
    borda = [{"A": 1, "B": 2, "AB": 6}, {"A": 3, "B": 3, "AB": 3}]
    return [
        house.answer_row(
            prompt(number), answer, row_id=f"{kind}", set_name=set_name, sample=sample, category=["audit", "plan", None][kind],
            rounds=[house.round_of(one + 1, "AB", borda[one]) for one in range(rounds)], draft="A first draft.",
            reasoning="First this, then that.", difficulty=["easy", "hard", None][kind], metadata=json.dumps({"step": kind}),
        )
        for number, kind, answer, rounds, sample in picks
    ]  # fmt: skip


class Made:
    """One build and what its files hold."""

    def __init__(self, folder: Path) -> None:
        self.splits = {name: read_parquet_rows(folder / f"{name}.parquet") for name in SPLITS}
        self.rows = [row for name in SPLITS for row in self.splits[name]]
        self.dropped = read_parquet_rows(folder / "dropped.parquet")
        self.report = read_json(folder / "report.json")
        self.bytes = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def build(
    house: Any,
    folder: Path,
    dataset: dict,
    rows: dict[str, list[dict]],
    name: str,
    threads: int = 1,
    group: int = 10_000,
) -> Made:
    answers = {}
    for generation, own in rows.items():
        answers[generation] = house.write_answers(folder / f"{name}-{generation}.parquet", own)
        pq.write_table(pq.read_table(answers[generation]), answers[generation], row_group_size=group)
    held = [house.write_prompts(folder / f"{name}-held.parquet", [prompt(0)])]
    made = BuildSettings.model_validate({"name": "d", "dataset": dataset})
    build_dataset(made, answers, held, folder / name, threads=threads)
    return Made(folder / name)


def name_of(row: dict) -> tuple[str, ...]:
    return (row["generation"], row["prompt_id"], row["set"], row["id"], row["sample"])


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dataset=datasets(), first=rows_of, second=rows_of, draw=st.randoms(use_true_random=False))
def test_conservation_and_determinism(
    house: Any, tmp_path_factory: pytest.TempPathFactory, dataset: dict, first: list, second: list, draw: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows = {"a": answered(house, first, "a"), "b": answered(house, second, "b")}
    one = build(house, folder, dataset, rows, "one")
    # rows in = rows behind the splits + dropped rows, by name
    given_rows = Counter(
        name_of({**row, "generation": source["generation"]})
        for source in dataset["sources"]
        for row in rows[source["generation"]]
    )
    behind = {(name_of(row), str(row.get("completion") or row.get("chosen"))) for row in one.rows}
    lost = given_rows - Counter(map(name_of, one.dropped))
    assert set(lost) == {name for name, _ in behind} and not Counter(map(name_of, one.dropped)) - given_rows
    kept = sum(source["rows_kept"] for source in one.report["sources"])
    assert kept == lost.total() and len(one.dropped) == sum(
        s["rows_in"] - s["rows_kept"] for s in one.report["sources"]
    )
    assert one.report["rows"] == len(one.rows) == sum(source["rows"] for source in one.report["sources"])
    assert one.report["flow"][-1]["kept"] == len(one.rows)
    assert Counter(row["reason"] for row in one.dropped) == sum(
        (Counter(source["dropped"]) for source in one.report["sources"]), Counter()
    )
    assert sum(sum(counts.values()) for counts in one.report["categories"].values()) == len(one.rows)
    # one prompt is in one split, and so are its near-duplicates
    groups: dict[str, set[str]] = {}
    for split, own in one.splits.items():
        for row in own:
            groups.setdefault(row["prompt_id"], set()).add(split)
    assert all(len(found) == 1 for found in groups.values())
    texts = {
        row["prompt_id"]: shingles(row["prompt"][0]["content"]) for row in one.rows if dataset["format"] != "critic"
    }
    for left, its in texts.items():
        for right, other in texts.items():
            if groups[left] != groups[right]:
                assert jaccard(its, other) < 0.85
    # neither the order of the rows nor the threads nor the row groups show
    for own in rows.values():
        draw.shuffle(own)
    two = build(house, folder, dataset, rows, "two", threads=3, group=3)
    assert one.bytes == two.bytes


@settings(max_examples=25, deadline=None)
@given(old=st.sets(st.integers(0, 80), max_size=30), new=st.sets(st.integers(81, 120), max_size=20))
def test_more_rows_move_no_row_to_another_split(
    house: Any, tmp_path_factory: pytest.TempPathFactory, old: set[int], new: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("more")
    dataset = {"sources": [{"generation": "a"}], "split": {"train": 0.6, "valid": 0.2}, "near_duplicates": {}}
    found = []
    for name, numbers in (("old", old), ("all", old | new)):
        rows = {"a": [house.answer_row(house.distinct_prompt(number)) for number in sorted(numbers)]}
        made = build(house, folder, dataset, rows, name)
        found.append({row["prompt_id"]: split for split, own in made.splits.items() for row in own})
    before, after = found
    assert before.items() <= after.items()


@settings(max_examples=25, deadline=None)
@given(
    whole=st.integers(60, 150),
    percents=st.lists(st.integers(3, 30), min_size=1, max_size=3),
    times=st.sampled_from([1.0, 2.0, 1.5]),
)
def test_shares_are_realised_within_one_per_cent(
    house: Any, tmp_path_factory: pytest.TempPathFactory, whole: int, percents: list[int], times: float
) -> None:
    folder = tmp_path_factory.mktemp("shares")
    rows = {"a": [house.answer_row(house.distinct_prompt(number)) for number in range(whole)]}
    chosen = [{"generation": "a", "repeat": times}]
    for place, percent in enumerate(percents):
        name = f"s{place}"
        rows[name] = [house.answer_row(house.distinct_prompt(number, f"topic{place}")) for number in range(60)]
        chosen.append({"generation": name, "share": percent / 100, "repeat": 8.0})
    made = build(house, folder, {"sources": chosen, "split": {"train": 1.0, "valid": 0.0}}, rows, "out")
    if not made.report["warnings"]:
        for source, percent in zip(made.report["sources"][1:], percents, strict=True):
            assert abs(source["realised_share"] - percent / 100) <= max(0.01, 1 / len(made.rows))


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 40), times=st.sampled_from([0.3, 0.5, 1.0, 1.5, 2.75, 3.0]))
def test_repeats_are_realised_and_told(
    house: Any, tmp_path_factory: pytest.TempPathFactory, rows: int, times: float
) -> None:
    folder = tmp_path_factory.mktemp("repeats")
    dataset = {
        "sources": [{"generation": "a"}],
        "repeats": [{"times": times, "all": [{"metadata": "kind", "equals": ["odd"]}, {"generation": "a"}]}],
        "split": {"train": 1.0, "valid": 0.0},
    }
    given_rows = [
        house.answer_row(house.distinct_prompt(n), metadata=json.dumps({"kind": "odd" if n % 2 else "even"}))
        for n in range(rows)
    ]
    made = build(house, folder, dataset, {"a": given_rows}, "out")
    kinds = {row["prompt_id"]: json.loads(row["metadata"])["kind"] for row in given_rows}
    counts = Counter(kinds[row["prompt_id"]] for row in made.rows)
    assert counts["even"] == (rows + 1) // 2 and abs(counts["odd"] - times * (rows // 2)) <= 0.5
    copies: dict[str, list[int]] = {}
    for row in made.rows:
        copies.setdefault(row["prompt_id"], []).append(row["copy"])
    assert all(sorted(own) == list(range(len(own))) for own in copies.values())
    assert {row["reason"] for row in made.dropped} <= {"repeat_below_one"}


def test_copies_of_a_row_are_not_neighbours(house: Any, tmp_path: Path) -> None:
    rows = {"a": [house.answer_row(house.distinct_prompt(number)) for number in range(60)]}
    dataset = {"sources": [{"generation": "a", "repeat": 3.0}], "split": {"train": 1.0, "valid": 0.0}}
    made = build(house, tmp_path, dataset, rows, "out")
    ids = [row["prompt_id"] for row in made.rows]
    assert sum(one == other for one, other in itertools.pairwise(ids)) <= 12


def test_buckets_on_disk_give_the_same_bytes(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"a": [house.answer_row(f"Question {number} on matter {number * 7}") for number in range(10_500)]}
    dataset = {"sources": [{"generation": "a"}], "split": {"train": 1.0, "valid": 0.0}}
    one = build(house, tmp_path, dataset, rows, "one")
    monkeypatch.setattr(writing, "BUCKET_ROWS", 10_000)
    two = build(house, tmp_path, dataset, rows, "two", threads=2)
    assert one.bytes == two.bytes and len(one.rows) == 10_500
