"""Conservation: at every stage of a build what comes in is kept or dropped for a reason, whatever the rows and settings."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.flow import Flow
from stillhouse.datasets.settings import BuildSettings
from stillhouse.provenance.files import read_json, read_parquet_rows, write_parquet

ANSWERS = [
    "A sound answer of some words.", "", "No.", "<think>Hm.", "I'm sorry, but I can't help with that.", "The keystone gives way.",
]  # fmt: skip
FILTERS = [
    {"min_words": 2}, {"max_words": 4}, {"not_truncated": True}, {"converged": True}, {"no_refusals": True},
    {"without_markers": "markers.yaml"}, {"with_markers": "markers.yaml"},
]  # fmt: skip
FAILURES = pa.schema([("prompt_id", pa.string()), ("stage", pa.string())])

rows_of = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(ANSWERS), st.booleans(), st.integers(0, 2)), max_size=14
)
filters = st.lists(st.sampled_from(FILTERS), max_size=3)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    fmt = draw(st.sampled_from(["sft", "preference"]))
    share = draw(st.none() | st.floats(0.05, 0.9))
    return {
        "rows": [draw(rows_of), draw(rows_of)],
        "failed": draw(st.lists(st.sampled_from(["teacher", "critic"]), max_size=3)),
        "dataset": {
            "format": fmt,
            "sources": [
                {"generation": "a", "filters": draw(filters)},
                {"generation": draw(st.sampled_from(["a", "b"])), "share": share, "filters": draw(filters)},
            ],
            "pairs": {"min_margin": draw(st.integers(0, 4)), "rejected": draw(st.sampled_from(["losers", "draft"]))},
            "near_duplicates": draw(st.none() | st.just({"threshold": 0.5})),
            "decontaminate": draw(st.none() | st.just({"against": ["held"]})),
            "split": draw(st.sampled_from([{"train": 0.9, "valid": 0.1}, {"train": 0.3, "valid": 0.3}])),
            "order": draw(st.sampled_from(["shuffle", "source"])),
        },
    }


def answered(house: Any, picks: list[tuple[int, str, bool, int]], set_name: str) -> list[dict]:
    borda = [{"A": 1, "B": 2, "AB": 6}, {"A": 3, "B": 3, "AB": 3}]
    return [
        house.answer_row(
            house.distinct_prompt(prompt), answer, row_id=f"{number}", set_name=set_name, truncated=cut,
            rounds=[house.round_of(one + 1, "AB", borda[one]) for one in range(rounds)], draft="A first draft.",
        )
        for number, (prompt, answer, cut, rounds) in enumerate(picks)
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_rows_in_are_rows_kept_and_rows_dropped_at_every_stage(
    house: Any, tmp_path_factory: pytest.TempPathFactory, case: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("flow")
    (folder / "markers.yaml").write_text("markers: [keystone]\n")
    given_rows = {name: answered(house, picks, name) for name, picks in zip("ab", case["rows"], strict=True)}
    answers = {name: house.write_answers(folder / f"{name}.parquet", rows) for name, rows in given_rows.items()}
    failures = {name: folder / f"{name}-failures.parquet" for name in "ab"}
    for file in failures.values():
        write_parquet(file, [{"prompt_id": "0", "stage": stage} for stage in case["failed"]], FAILURES)
    held = [house.write_prompts(folder / "held.parquet", [house.distinct_prompt(0)])]
    built = BuildSettings.model_validate({"name": "d", "dataset": case["dataset"]})
    markers = {"markers.yaml": folder / "markers.yaml"}
    build_dataset(built, answers, held, folder / "out", files=markers, failures=failures)
    report = read_json(folder / "out/report.json")
    flow, sources = report["flow"], case["dataset"]["sources"]
    for step in flow:
        assert step["in"] == step["kept"] + sum(step["dropped"].values()), step
        assert all(count > 0 for count in step["dropped"].values())
    # the ends of the flow are counted in the files, not in the books
    first = [step for step in flow if step["stage"] == "generation"]
    assert [step["in"] for step in first] == [len(given_rows[s["generation"]]) + len(case["failed"]) for s in sources]
    assert [step["kept"] for step in first] == [len(given_rows[s["generation"]]) for s in sources]
    files = [len(read_parquet_rows(folder / f"out/{name}.parquet")) for name in ("train", "valid", "test")]
    assert flow[-1]["stage"] == "splits" and flow[-1]["kept"] == sum(files) == report["rows"]
    # every dropped row is named once, under the stage and reason that the flow counts
    named = Counter((row["stage"], row["reason"]) for row in read_parquet_rows(folder / "out/dropped.parquet"))
    assert sum(s["rows_in"] - s["rows_kept"] for s in report["sources"]) == named.total()
    rows_by_stage = Counter(
        (step["stage"], why) for step in flow if step["unit"] == "answers" for why in step["dropped"]
    )
    assert {key for key in named if key[0] in ("filters", "duplicates", "decontamination", "pairing")} <= set(
        rows_by_stage
    )
    # and the flow says the same as the books of the sources
    dropped = Counter({r: n for s in report["sources"] for r, n in s["dropped"].items()})
    assert set(dropped) <= {reason for step in flow for reason in step["dropped"]}


def test_a_step_that_does_not_add_up_is_a_bug() -> None:
    flow = Flow()
    flow.enter("filters", 3, 1, {"min_words": 1}, source="plans")
    with pytest.raises(RuntimeError, match=r"filters: 3 in, 1 kept, dropped: {'min_words': 1}"):
        flow.check()


def test_a_row_lost_between_two_steps_is_a_bug() -> None:
    flow = Flow()
    flow.enter("filters", 2, 2, {}, source="plans")
    flow.enter("filters", 3, 2, {"min_words": 1}, source="everyday")
    flow.enter("duplicates", 3, 3, {})
    with pytest.raises(RuntimeError, match="filters kept 4, and 3 came to duplicates"):
        flow.check()


def test_failed_prompts_open_the_flow(house: Any, tmp_path: Path) -> None:
    answers = {"plans": house.write_answers(tmp_path / "p.parquet", [house.answer_row("Name a river in Peru")])}
    write_parquet(tmp_path / "f.parquet", [{"prompt_id": "0", "stage": "critic"}], FAILURES)
    built = BuildSettings.model_validate({"name": "d", "dataset": {"sources": [{"generation": "plans"}]}})
    facts = build_dataset(built, answers, [], tmp_path / "out", failures={"plans": tmp_path / "f.parquet"})
    assert facts["flow"][0] == {
        "stage": "generation", "source": "plans", "unit": "prompts", "in": 2, "kept": 1, "dropped": {"failed at critic": 1},
    }  # fmt: skip
