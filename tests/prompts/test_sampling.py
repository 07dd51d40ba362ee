"""Samples and copies: the same prompts whatever the order of rows and files, and books that add up."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_files import gather, put, rows

from stillhouse.errors import InputError
from stillhouse.prompts.collect import Collected
from stillhouse.prompts.selection import draw, ranks

MANY = [{"id": f"p{n}", "prompt": f"Question {n}?"} for n in range(200)]


def prompts(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 2**64, count, dtype=np.uint64)


def test_the_mix_is_that_of_splitmix64() -> None:
    """Its first output for the seed 0, as the authors give it."""
    from stillhouse.provenance.digests import digest_text

    key = np.uint64(int(digest_text("sample 3")[:16], 16))
    assert ranks(np.array([np.uint64(0x9E3779B97F4A7C15) ^ key]), 3)[0] == 0xE220A8397B1DCDAF


def test_a_sample_has_its_size_and_a_smaller_one_is_part_of_it(tmp_path: Path) -> None:
    file = put(tmp_path, "x.jsonl", MANY)
    taken = {size: {row["id"] for row in rows(file, sample={"size": size, "seed": 1})} for size in (20, 60, 500)}
    assert [len(taken[size]) for size in (20, 60, 500)] == [20, 60, 200]
    assert taken[20] < taken[60]
    other = {row["id"] for row in rows(file, sample={"size": 20, "seed": 2})}
    assert len(other & taken[20]) < 12


def test_every_prompt_has_the_same_chance() -> None:
    """10 of 100, 4,000 seeds: each prompt is drawn 400 times, give or take five standard deviations of 19."""
    drawn = sum(draw(prompts(100), 10, seed).astype(int) for seed in range(4_000))
    assert drawn.sum() == 40_000
    assert abs(drawn - 400).max() < 95
    assert 0.7 < ((drawn - 400) ** 2 / 360).mean() < 1.4


@given(count=st.integers(1, 300), more=st.integers(0, 30), size=st.integers(1, 60), seed=st.integers(0, 9))
def test_added_prompts_push_out_one_each_at_most(count: int, more: int, size: int, seed: int) -> None:
    everything = prompts(count + more)
    before = set(everything[:count][draw(everything[:count], size, seed)])
    after = set(everything[draw(everything, size, seed)])
    assert len(after) == min(size, count + more)
    assert len(before - after) <= more
    assert after - before <= {*everything[count:]} or len(before) == count


def test_sample_then_limit_then_takedown(tmp_path: Path) -> None:
    """Taking a prompt down moves nobody up, neither into the sample nor under the limit."""
    file, given_settings = put(tmp_path, "x.jsonl", MANY), {"sample": {"size": 50}, "limit": 30}
    found, _ = gather(file, **given_settings)
    assert (len(found.kept), found.over_limit, found.not_sampled) == (30, 20, 150)
    sampled = rows(file, sample={"size": 50})
    assert found.kept.to_pylist() == sampled[:30]
    gone, outside = sampled[3]["id"], next(row["id"] for row in MANY if row["id"] not in {r["id"] for r in sampled})
    after, _ = gather(file, **given_settings, exclude={"prompts": [f"s:{gone}", f"s:{outside}"]})
    assert after.kept.to_pylist() == [row for row in sampled[:30] if row["id"] != gone]
    assert set(after.excluded["id"].to_pylist()) == {gone, outside}, "those outside the sample are known, too"
    assert (after.over_limit, after.not_sampled) == (20, 149)


def gather_any(files: Path | list[Path], **given_settings: Any) -> tuple[Collected, list[dict[str, Any]]] | None:
    """What is collected, None where the set takes no prompt."""
    try:
        return gather(files, **given_settings)
    except InputError:
        return None


ENTRY = st.fixed_dictionaries(
    {"prompt": st.sampled_from([f"Question {n}?" for n in range(12)] + [" "])},
    optional={
        "id": st.sampled_from([*"abcdefgh", 3, None, {}]),
        "category": st.sampled_from(["x", "y", None]),
        "note": st.integers(0, 2),
    },
)


@settings(max_examples=150, deadline=None)
@given(
    entries=st.lists(ENTRY, min_size=1, max_size=25),
    seed=st.integers(0, 1000),
    parts=st.integers(1, 4),
    size=st.none() | st.integers(1, 8),
    limit=st.none() | st.integers(1, 6),
    wanted=st.none() | st.just(["x"]),
    gone=st.sampled_from([[], ["Question 1"], ["Question [0-5]"]]),
)
def test_neither_order_nor_files_change_what_a_set_holds(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, Any]], seed: int, parts: int, **choice: Any
) -> None:
    folder = tmp_path_factory.mktemp("order")
    shuffled = random.Random(seed).sample(entries, len(entries))
    given_settings: dict[str, Any] = {
        "bad_rows": "reject",
        "sample": {"size": choice["size"]} if choice["size"] else None,
        "limit": choice["limit"],
        "categories": choice["wanted"],
        "exclude": {"patterns": choice["gone"]},
    }
    files = [put(folder, f"{n}.jsonl", shuffled[n::parts]) for n in range(parts)]
    outcome = gather_any(put(folder, "all.jsonl", entries), **given_settings)
    if outcome is None:
        assert gather_any(files, **given_settings) is None
        return
    found, rejected = outcome
    again, rejected_again = gather(files, **given_settings)
    assert again.kept.equals(found.kept) and again.excluded.equals(found.excluded)
    assert again.entries == found.entries
    empty = sum(not file.stat().st_size for file in files)
    assert again.facts()["lines"] == len(entries) + empty == found.facts()["lines"] + empty
    counts = Counter(row["reason"] for row in rejected_again) - Counter(empty_file=empty)
    assert counts == Counter(row["reason"] for row in rejected)
    names = found.kept["id"].to_pylist()
    assert len(set(names)) == len(names) == len(set(found.kept["prompt_id"].to_pylist()))


def test_a_prompt_is_taken_down_by_any_of_its_copies(tmp_path: Path) -> None:
    twice = [{"id": "a", "prompt": "First?"}, {"id": "b", "prompt": "First?"}, {"id": "c", "prompt": "Last?"}]
    file = put(tmp_path, "x.jsonl", twice)
    for entry in ("s:a", "s:b"):
        found, _ = gather(file, bad_rows="reject", exclude={"prompts": [entry]})
        assert found.kept["id"].to_pylist() == ["c"] and len(found.excluded) == 1
        assert found.entries == {("prompts", entry): 1}


def test_an_entry_may_take_down_one_file_of_several(tmp_path: Path) -> None:
    files = [put(tmp_path, f"{n}.jsonl", MANY[n::3]) for n in range(3)]
    exclude = {"sources": ["mine/1.jsonl"]}
    found, _ = gather(files, exclude=exclude, excluded_files={"mine/1.jsonl": [str(files[1])]})
    assert set(found.excluded["id"].to_pylist()) == {row["id"] for row in MANY[1::3]}
    assert found.entries == {("sources", "mine/1.jsonl"): 67}
    everything, _ = gather(files, exclude=exclude)
    assert len(everything.kept) == 0, "an entry that names no file is about the whole set"


def test_copies_in_several_files_are_told_by_both_places(tmp_path: Path) -> None:
    files = [
        put(tmp_path, f"{n}.jsonl", [{"id": f"x{n}", "prompt": f"{n}?"}, {"id": "a", "prompt": f"Q{n}?"}])
        for n in (1, 2)
    ]
    with pytest.raises(InputError, match=r"2\.jsonl line 2: id 'a' was in .*1\.jsonl line 2 already"):
        gather(files)
