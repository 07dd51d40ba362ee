"""Several answers to a prompt: who is asked what, and that shards, merge, failures and reports bear several rows."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from scripted import ANSWER, FOR_B, Script, answer, rounds_of

from stillhouse.errors import CallError, FailureShareError
from stillhouse.llm.client import Usage
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.requests import Request
from stillhouse.prompts.shards import rows_of_shard
from stillhouse.provenance.digests import digest_json
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.study.generations import Failures, Route, Tournament
from stillhouse.tournament.columns import ANSWERS, FAILURES, SHARD
from stillhouse.tournament.cost import cost_of
from stillhouse.tournament.estimate import estimate_generation
from stillhouse.tournament.merge import merge_shards
from stillhouse.tournament.settings import MergeSettings
from stillhouse.tournament.summary import SummarySettings, summarise_generation

RULES = Tournament(judges=3, max_rounds=2, convergence=2)
ASKED_BEFORE_SAMPLES = {
    "single": "672aad3c69e070728e3d8531330d30419de203313cbf0896a8e08ed4bdfb878c",
    "tournament": "36069bfa89cc3fa01ea04c92b6a8dd4a70650a798815c3df7104abc9844406e5",
}
"""Digest over the sorted digests of all requests, as release 0.6 made them for two prompts."""


def merged(folder: Path, shards: list[Path] | None = None, max_share: float = 0.05) -> tuple[Path, Path]:
    """Answers and failures of a folder's shard."""
    paths = (folder / "answers.parquet", folder / "failures.parquet")
    settings = MergeSettings(generation="g", failures=Failures(max_share=max_share))
    merge_shards(shards or [folder / "0.parquet"], settings, *paths)
    return paths


@pytest.mark.parametrize("method", ["single", "tournament"])
@pytest.mark.parametrize("samples", [1, 3])
def test_sample_0_asks_what_was_always_asked(tmp_path: Path, method: str, samples: int) -> None:
    script, rules = Script(judge=FOR_B), RULES if method == "tournament" else None
    rows = answer(tmp_path, script, prompts=2, method=method, tournament=rules, system="Review plans.", samples=samples)
    first = {digest for row in rows if row["sample"] == 0 for digest in row["calls"]}
    assert digest_json(sorted(first)) == ASKED_BEFORE_SAMPLES[method]
    assert len({request.digest for _, request in script.asked}) == len(script.asked) == samples * len(first)


def test_each_sample_is_one_row_with_calls_of_its_own(tmp_path: Path) -> None:
    script = Script(teacher=lambda request: f"Answer {request.sampling['seed']}.")
    rows = answer(tmp_path, script, prompts=3, method="single", tournament=None, samples=4)
    assert [(row["prompt_id"], row["sample"]) for row in rows] == sorted(
        (identity, sample) for identity in {row["prompt_id"] for row in rows} for sample in range(4)
    )
    assert len({row["answer"] for row in rows}) == 12
    assert len({row["answer_call"] for row in rows}) == 12


def test_more_samples_pay_for_the_new_ones_only(tmp_path: Path) -> None:
    first = answer(tmp_path, Script(), prompts=3, tournament=RULES, samples=1)
    script, usage = Script(), Usage()
    rows = answer(tmp_path, script, prompts=3, tournament=RULES, samples=2, usage=usage)
    assert [row for row in rows if row["sample"] == 0] == first
    assert len(script.asked) == usage.made == 3 * 13
    assert usage.replayed == 3 * 13


def test_judges_of_two_samples_draw_labels_of_their_own(tmp_path: Path) -> None:
    rows = answer(tmp_path, Script(judge=FOR_B), tournament=RULES, samples=6)
    labels = {json.dumps([vote["labels"] for vote in rounds_of(row)[0]["votes"]]) for row in rows}
    assert len(labels) > 1


def test_a_prompts_samples_have_one_teacher(tmp_path: Path) -> None:
    routes = [Route(pattern=".", models=["n", "o"])]
    rows = answer(tmp_path, Script(), prompts=8, method="single", tournament=None, routes=routes, samples=3)
    assert {row["model"] for row in rows} == {"n", "o"}
    assert len({(row["prompt_id"], row["model"]) for row in rows}) == 8


def test_one_sample_may_fail_and_the_others_be_answered(tmp_path: Path) -> None:
    def teacher(request: Request) -> str:
        return "" if request.sampling["seed"] % 3 == 0 else ANSWER

    rows = answer(tmp_path, Script(teacher=teacher), prompts=6, method="single", tournament=None, samples=3)
    answers, failures = map(read_parquet_rows, merged(tmp_path, max_share=1))
    assert len(answers) + len(failures) == len(rows) == 18
    assert 0 < len(failures) < 18
    whole = [(row["prompt_id"], row["sample"]) for row in [*answers, *failures]]
    assert sorted(whole) == [(row["prompt_id"], row["sample"]) for row in rows]
    assert all(row["calls"] for row in failures)


def test_a_refusal_counts_answers_not_prompts(tmp_path: Path) -> None:
    answer(tmp_path, Script(teacher=CallError("down")), prompts=2, method="single", tournament=None, samples=3)
    with pytest.raises(FailureShareError, match=r"6 of 6 answers to 2 prompts failed"):
        merged(tmp_path)


def test_failures_that_are_borne_count_samples(tmp_path: Path) -> None:
    script = Script(teacher="")
    rows = answer(tmp_path, script, prompts=5, method="single", tournament=None, samples=4, bearable=3, limit=1)
    assert [row["stage"] for row in rows] == ["teacher"] * 4 + ["stopped"] * 16


def test_only_a_retry_asks_on_and_only_for_the_failed_sample(tmp_path: Path) -> None:
    def run(folder: str, script: Script, **how: bool) -> list[dict]:
        (tmp_path / folder).mkdir(exist_ok=True)
        return answer(tmp_path / folder, script, prompts=2, method="single", tournament=None, samples=3, **how)

    probe = Script()
    run("probe", probe)
    lost = probe.asked[4][1].sampling["seed"]

    def teacher(request: Request) -> str:
        return "" if request.index or request.sampling["seed"] == lost else ANSWER

    assert [row["stage"] for row in run("run", Script(teacher=teacher))].count("teacher") == 1
    script = Script()
    again = run("run", script, retrying=True)
    assert [request.index for _, request in script.asked] == [2]
    assert [row["stage"] for row in again] == [None] * 6


@pytest.mark.parametrize("files", [1, 3, 100])
def test_shards_of_several_rows_a_prompt_merge_to_the_same_bytes(tmp_path: Path, files: int) -> None:
    rows = answer(tmp_path, Script(), prompts=30, method="single", tournament=None, samples=4)
    whole = [path.read_bytes() for path in merged(tmp_path)]
    shards = [tmp_path / f"shard-{shard}.parquet" for shard in range(files)]
    for shard, path in enumerate(shards):
        write_parquet(path, rows_of_shard(rows, shard, files), SHARD)
    folder = tmp_path / "again"
    folder.mkdir()
    paths = merged(folder, shards)
    assert [path.read_bytes() for path in paths] == whole
    places = [(row["prompt_id"], row["set"], row["id"], row["sample"]) for row in read_parquet_rows(paths[0])]
    assert places == sorted(places)
    assert len(set(places)) == 120


def test_bytes_do_not_depend_on_the_order_in_which_samples_come(tmp_path: Path) -> None:
    written = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        answer(folder, Script(random.Random(seed)), prompts=3, tournament=RULES, samples=3)
        written.append((folder / "0.parquet").read_bytes())
    assert len(set(written)) == 1


def test_shards_of_before_samples_can_be_merged(tmp_path: Path) -> None:
    rows = answer(tmp_path, Script(), prompts=4, method="single", tournament=None)
    old = pa.schema([field for field in SHARD if field.name not in ("sample", "tools", "context")])
    write_parquet(tmp_path / "old.parquet", [{name: row[name] for name in old.names} for row in rows], old)
    answers, failures = map(read_parquet_rows, merged(tmp_path, [tmp_path / "old.parquet"]))
    assert [row["sample"] for row in answers] == [0] * 4
    assert (list(answers[0]), failures) == (ANSWERS.names, [])


def settings(method: str) -> SummarySettings:
    return SummarySettings(
        study="s", generation="g", prompts="p", method=method, model="m", roles={}, tournament=None, external_judges=[]
    )


def test_the_report_tells_prompts_and_rows_apart(tmp_path: Path) -> None:
    def teacher(request: Request) -> str:
        return "" if request.sampling["seed"] % 3 == 0 else ANSWER

    rows = answer(tmp_path, Script(teacher=teacher), prompts=6, method="single", tournament=None, samples=3)
    found = summarise_generation(*merged(tmp_path, max_share=1), settings("single"))
    failed = sum(row["stage"] is not None for row in rows)
    whole = found["all"]
    assert (whole["prompts"], whole["rows"], whole["answered"], whole["failed"]) == (6, 18, 18 - failed, failed)
    assert whole["calls"]["by_role"] == {"teacher": 18 - failed}
    assert whole["calls"]["all"] == sum(len(row["calls"]) for row in rows)
    assert whole["calls"]["per_prompt"] == round(whole["calls"]["all"] / 6, 6)
    assert len({row["prompt_id"] for row in found["examples"]}) == len(found["examples"]) == 3


def test_answers_of_before_samples_are_summed_up_as_ever(tmp_path: Path) -> None:
    answer(tmp_path, Script(), prompts=4, method="single", tournament=None)
    paths = merged(tmp_path)
    now = summarise_generation(*paths, settings("single"))
    for path, schema in zip(paths, (ANSWERS, FAILURES), strict=True):
        old = pa.schema([field for field in schema if field.name not in ("sample", "tools", "context")])
        write_parquet(path, [{name: row[name] for name in old.names} for row in read_parquet_rows(path)], old)
    assert summarise_generation(*paths, settings("single")) == now
    assert now["all"]["prompts"] == 4


def test_cost_counts_every_sample(tmp_path: Path) -> None:
    answer(tmp_path, Script(), prompts=2, tournament=RULES, samples=3)
    models = [{"name": "m", "backend": "scripted", "price": None}]
    cost = cost_of(*merged(tmp_path), [], Ledger(tmp_path / "ledger"), models)
    told = {line["role"]: line["calls"] for line in cost["lines"]}
    assert told == {"teacher": 6, "critic": 12, "author": 12, "synthesizer": 12, "judge": 36}


def test_the_estimate_counts_every_sample() -> None:
    rows = [{"messages": json.dumps([{"role": "user", "content": "x" * 40}])}] * 5
    generation = {
        "method": "single", "model": "m", "roles": {}, "system": [], "sampling": {"max_tokens": 100}, "samples": 4,
        "context": None,
    }  # fmt: skip
    found = estimate_generation("g", generation, rows, {"m": {"input": 1.0, "output": 1.0}})
    assert (found.calls, found.most, found.prompt_tokens, found.completion_tokens) == (20, 20, 200, 1200)
