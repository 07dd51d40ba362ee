"""The tournament's rules, with a scripted model behind the real client and ledger."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from scripted import ANSWER, FOR_A, FOR_AB, FOR_B, REVISION, SYNTHESIS, Script, answer, rounds_of, shown, voting

from stillhouse.errors import BudgetError, CallError, FailureShareError, RecordError
from stillhouse.llm.client import Usage
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.purse import Purse
from stillhouse.llm.requests import Completion, Request
from stillhouse.prompts.shards import rows_of_shard
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.study.generations import Budget, Failures, Roles, Route, Tournament
from stillhouse.tournament.columns import ANSWERS, FAILURES, SHARD
from stillhouse.tournament.merge import merge_shards
from stillhouse.tournament.settings import MergeSettings


def test_an_incumbent_that_defends_itself_twice_has_converged(tmp_path: Path) -> None:
    row = answer(tmp_path, Script())[0]
    assert (row["answer"], row["draft"], row["converged"], row["rounds"]) == (ANSWER, ANSWER, True, 2)
    assert row["winners"] == ["A", "A"]
    assert rounds_of(row)[0]["borda"] == {"A": 6, "AB": 3, "B": 0}


@pytest.mark.parametrize(("judge", "candidate", "text"), [(FOR_B, "B", REVISION), (FOR_AB, "AB", SYNTHESIS)])
def test_a_winner_becomes_the_next_incumbent(tmp_path: Path, judge: Callable, candidate: str, text: str) -> None:
    row = answer(tmp_path, Script(judge=judge))[0]
    assert row["winners"][0] == candidate
    assert row["answer"] == text
    assert rounds_of(row)[1]["candidates"]["A"] == text
    assert row["answer_call"] in row["calls"]


def test_max_rounds_end_a_tournament_that_does_not_converge(tmp_path: Path) -> None:
    texts = iter(range(100))

    def newest_first(request: Request) -> str:
        labels = shown(request)
        ranked = sorted(labels, key=lambda label: (labels[label][-1].isdigit(), labels[label]), reverse=True)
        return "RANKING: " + " > ".join(ranked)

    script = Script(author=lambda _: f"The revision B. {next(texts)}", judge=newest_first)
    row = answer(tmp_path, script, tournament=Tournament(judges=3, max_rounds=3, convergence=2))[0]
    assert (row["rounds"], row["converged"], row["winners"]) == (3, False, ["B", "B", "B"])
    assert row["answer"] == "The revision B. 2"


def test_no_flaws_counts_as_a_defence_and_asks_nobody_else(tmp_path: Path) -> None:
    script = Script(critic="NO FLAWS.")
    row = answer(tmp_path, script)[0]
    assert (row["converged"], row["rounds"], row["winners"]) == (True, 2, ["A", "A"])
    assert [role for role, _ in script.asked] == ["teacher", "critic", "critic"]
    assert rounds_of(row)[0]["no_flaws"] is True
    assert rounds_of(row)[0]["votes"] == []


@pytest.mark.parametrize("bad", [3, 2, 1, 0])
def test_votes_that_cannot_be_read_keep_a_where_they_are_half_or_more(tmp_path: Path, bad: int) -> None:
    def judge(request: Request) -> str:
        number = [r.sampling["seed"] for role, r in script.asked if role == "judge"].index(request.sampling["seed"])
        return "I cannot say." if number % 3 < bad else FOR_B(request)

    script = Script(judge=judge)
    row = answer(tmp_path, script, tournament=Tournament(judges=3, max_rounds=1))[0]
    vote = rounds_of(row)[0]
    assert row["winners"] == (["A"] if bad >= 2 else ["B"])
    assert ("could be read" in (vote["note"] or "")) == (bad >= 2)
    assert sum(v["ranking"] is None for v in vote["votes"]) == bad


def test_a_cut_off_text_is_asked_for_once_more_with_twice_the_tokens(tmp_path: Path) -> None:
    def teacher(request: Request) -> Completion:
        return Completion("cut" if request.index == 0 else "whole", "length" if request.index == 0 else "stop")

    script = Script(teacher=teacher)
    row = answer(tmp_path, script, method="single")[0]
    assert [(r.index, r.sampling["max_tokens"]) for _, r in script.asked] == [(0, 50), (1, 100)]
    assert (row["answer"], row["truncated"], len(row["calls"])) == ("whole", False, 2)


@pytest.mark.parametrize("second", ["still cut", ""])
def test_a_text_that_stays_cut_off_is_kept_and_marked(tmp_path: Path, second: str) -> None:
    script = Script(teacher=lambda request: Completion("cut" if request.index == 0 else second, "length"))
    row = answer(tmp_path, script, method="single")[0]
    assert (row["answer"], row["truncated"], row["stage"]) == (second or "cut", True, None)
    assert row["answer_call"] == row["calls"][1 if second else 0]


@pytest.mark.parametrize("role", ["teacher", "critic", "author", "synthesizer"])
def test_an_empty_text_becomes_a_failure_row(tmp_path: Path, role: str) -> None:
    row = answer(tmp_path, Script(**{role: ""}))[0]
    assert (row["stage"], row["reason"], row["attempts"], row["answer"]) == (role, "empty answer", 2, None)


def test_a_failed_call_becomes_a_failure_row_with_the_servers_words(tmp_path: Path) -> None:
    rows = answer(tmp_path, Script(judge=CallError("m: the server is on fire")), prompts=3)
    assert {(row["stage"], row["reason"]) for row in rows} == {("judge", "m: the server is on fire")}


def test_one_failing_judge_leaves_no_vote_running_and_keeps_the_others_calls(tmp_path: Path) -> None:
    def judge(request: Request) -> Any:
        judges = [r for role, r in script.asked if role == "judge"]
        return CallError("down") if judges[0] is request else FOR_A(request)

    script = Script(random.Random(3), judge=judge)
    row = answer(tmp_path, script)[0]
    assert (row["stage"], row["reason"]) == ("judge", "down")
    assert len(row["calls"]) == 4 + 2
    assert len(Ledger(tmp_path / "ledger")) == 6


def test_rows_and_failures_together_are_the_prompts(tmp_path: Path) -> None:
    def teacher(request: Request) -> str:
        return "" if int(request.messages[-1][1][9:-1]) % 3 == 0 else ANSWER

    rows = answer(tmp_path, Script(teacher=teacher), prompts=10)
    paths = (tmp_path / "answers.parquet", tmp_path / "failures.parquet")
    merged = MergeSettings(generation="g", failures=Failures(max_share=0.5))
    assert merge_shards([tmp_path / "0.parquet"], merged, *paths) == {"prompts": 10, "answered": 6, "failed": 4}
    answers, failures = map(read_parquet_rows, paths)
    assert sorted(r["prompt_id"] for r in [*answers, *failures]) == [r["prompt_id"] for r in rows]
    assert (list(answers[0]), list(failures[0])) == (ANSWERS.names, FAILURES.names)


def test_too_many_failures_stop_the_run_with_the_reasons_on_disk(tmp_path: Path) -> None:
    answer(tmp_path, Script(teacher=""), prompts=2)
    paths = (tmp_path / "answers.parquet", tmp_path / "failures.parquet")
    strict = MergeSettings(generation="g", failures=Failures(max_share=0.05))
    with pytest.raises(FailureShareError, match=r"2 of 2 prompts failed.*teacher: empty answer"):
        merge_shards([tmp_path / "0.parquet"], strict, *paths)
    kept = tmp_path / "refused-failures.parquet"
    assert {row["reason"] for row in read_parquet_rows(kept)} == {"empty answer"}
    merge_shards([tmp_path / "0.parquet"], MergeSettings(generation="g", failures=Failures(max_share=1)), *paths)
    assert not kept.exists()


def test_the_transcript_has_the_agreed_form(tmp_path: Path) -> None:
    row = answer(tmp_path, Script(judge=FOR_B), roles=Roles(judges=["m", "n"]))[0]
    first = rounds_of(row)[0]
    assert set(first) == {"round", "critique", "no_flaws", "candidates", "votes", "borda", "winner", "note"}
    assert set(first["candidates"]) == {"A", "B", "AB"}
    assert [vote["model"] for vote in first["votes"]] == ["m", "n", "m"]
    for vote in first["votes"]:
        assert set(vote) == {"judge", "model", "labels", "ranking", "raw", "call"}
        assert (sorted(vote["labels"]), sorted(vote["labels"].values())) == (["X1", "X2", "X3"], ["A", "AB", "B"])
        assert vote["call"] in row["calls"]
    assert row["transcript"] == json.dumps(
        json.loads(row["transcript"]), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )


def test_a_single_pass_has_an_empty_transcript(tmp_path: Path) -> None:
    row = answer(tmp_path, Script(), method="single", tournament=None)[0]
    assert (json.loads(row["transcript"]), row["converged"], row["rounds"]) == ({"rounds": []}, None, 0)
    assert row["calls"] == [row["answer_call"]]


def test_every_role_has_a_fresh_context_and_judges_see_no_roles(tmp_path: Path) -> None:
    script = Script()
    answer(tmp_path, script, system="Review plans.")
    for role, request in script.asked:
        systems = [content for who, content in request.messages if who == "system"]
        assert systems == (["Review plans."] if role in ("teacher", "author", "synthesizer") else [])
        assert len(request.messages) == len(systems) + 1
        if role == "judge":
            assert sorted(shown(request).values()) == sorted([ANSWER, REVISION, SYNTHESIS])


def test_bytes_do_not_depend_on_the_order_in_which_answers_come(tmp_path: Path) -> None:
    shards = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        answer(folder, Script(random.Random(seed), judge=FOR_AB), prompts=8)
        shards.append((folder / "0.parquet").read_bytes())
    assert len(set(shards)) == 1


def test_a_second_run_replays_every_call(tmp_path: Path) -> None:
    first, script = answer(tmp_path, Script(), prompts=3), Script()
    usage = Usage()
    assert answer(tmp_path, script, prompts=3, usage=usage) == first
    assert (script.asked, usage.made, usage.replayed) == ([], 0, sum(len(row["calls"]) for row in first))


def test_five_judges_instead_of_three_cost_the_new_votes_only(tmp_path: Path) -> None:
    rules = Tournament(judges=3, max_rounds=2, convergence=2)
    answer(tmp_path, Script(), tournament=rules)
    script = Script()
    answer(tmp_path, script, tournament=rules.model_copy(update={"judges": 5}))
    assert [role for role, _ in script.asked] == ["judge"] * 4


@pytest.mark.parametrize("calls", [1, 7, 12])
def test_a_budget_stops_before_it_is_passed_and_loses_nothing(tmp_path: Path, calls: int) -> None:
    script = Script(random.Random(1))
    purse = Purse(Budget(calls=calls), "g", 0, 1, "work", tmp_path / "budgets")
    with pytest.raises(BudgetError, match=f"budget.calls of {calls} would be passed"):
        answer(tmp_path, script, prompts=6, usage=Usage(purse=purse))
    assert len(script.asked) == len(Ledger(tmp_path / "ledger")) == calls
    more = Script()
    answer(tmp_path, more, prompts=6)
    assert len(more.asked) == 6 * 13 - calls


def test_candidates_that_all_equal_a_need_no_vote(tmp_path: Path) -> None:
    script, usage = Script(author=ANSWER, synthesizer=ANSWER), Usage()
    row = answer(tmp_path, script, usage=usage)[0]
    assert (row["answer"], row["winners"], row["converged"]) == (ANSWER, ["A", "A"], True)
    assert [role for role, _ in script.asked] == ["teacher", *["critic", "author", "synthesizer"] * 2]
    assert [(round_["votes"], round_["saved"]) for round_ in rounds_of(row)] == [([], 3)] * 2
    assert "equal" in rounds_of(row)[0]["note"]


def test_a_study_may_want_every_vote(tmp_path: Path) -> None:
    script = Script(author=ANSWER, synthesizer=ANSWER)
    rules = Tournament(judges=3, max_rounds=2, convergence=2, every_vote=True)
    row = answer(tmp_path, script, tournament=rules)[0]
    assert [role for role, _ in script.asked].count("judge") == 6
    assert "saved" not in rounds_of(row)[0]


@pytest.mark.parametrize(
    ("texts", "judge", "winner", "points"),
    [
        ({"author": ANSWER}, voting(SYNTHESIS, ANSWER), "AB", {"A": 0, "B": 0, "AB": 3}),
        ({"author": ANSWER}, voting(ANSWER, SYNTHESIS), "A", {"A": 3, "B": 3, "AB": 0}),
        ({"synthesizer": ANSWER}, voting(REVISION, ANSWER), "B", {"A": 0, "AB": 0, "B": 3}),
        ({"synthesizer": REVISION}, voting(REVISION, ANSWER), "AB", {"A": 0, "B": 3, "AB": 3}),
    ],
)
def test_equal_candidates_share_a_place_before_the_panel(
    tmp_path: Path, texts: dict, judge: Callable, winner: str, points: dict
) -> None:
    script = Script(judge=judge, **texts)
    row = answer(tmp_path, script, tournament=Tournament(judges=3, max_rounds=1, convergence=1))[0]
    first = rounds_of(row)[0]
    assert (first["winner"], first["borda"]) == (winner, points)
    for role, request in script.asked:
        if role == "judge":
            assert len(set(shown(request).values())) == len(shown(request)) == 2
            assert "X3" not in request.messages[-1][1]
    assert all(sorted(vote["labels"]) == ["X1", "X2"] for vote in first["votes"])


def test_a_route_decides_who_writes_the_draft_and_nothing_else(tmp_path: Path) -> None:
    routes = [Route(pattern="[02468]\\?", models=["n", "o"]), Route(category=["none"], models=["m"])]
    rows = answer(tmp_path, Script(), prompts=20, routes=routes, tournament=Tournament(judges=1, max_rounds=1))
    by_model = {name: {row["id"] for row in rows if row["model"] == name} for name in "mno"}
    assert by_model["m"] == {f"p{number}" for number in range(1, 20, 2)}
    assert by_model["n"]
    assert by_model["o"]
    assert answer(tmp_path, Script(), prompts=20, routes=routes, tournament=Tournament(judges=1, max_rounds=1)) == rows
    assert rounds_of(rows[0])[0]["votes"][0]["model"] == "m"


@pytest.mark.parametrize(("category", "pattern", "takes"), [
    (["code"], None, True), (["law"], None, False), (None, "^sort", True), (["code"], "law", False), (["law"], "sort", False),
])  # fmt: skip
def test_a_route_takes_what_fits_all_that_it_says(category: list[str] | None, pattern: str | None, takes: bool) -> None:
    assert Route(category=category, pattern=pattern, models=["m"]).takes("code", "sort a list") is takes


@pytest.mark.parametrize("values", [{}, {"pattern": "("}, {"category": ["c"], "models": []}])
def test_a_route_that_cannot_be_is_refused(values: dict) -> None:
    with pytest.raises(ValidationError):
        Route.model_validate({"models": ["m"], **values})


def test_only_a_retry_asks_on_after_empty_answers(tmp_path: Path) -> None:
    def late(request: Request) -> str:
        return ANSWER if request.index == 3 else ""

    assert answer(tmp_path, Script(teacher=late))[0]["attempts"] == 2
    again = Script(teacher=late)
    assert answer(tmp_path, again)[0]["stage"] == "teacher"
    assert again.asked == []
    retried = Script(teacher=late)
    row = answer(tmp_path, retried, retrying=True)[0]
    assert (row["answer"], [request.index for role, request in retried.asked if role == "teacher"]) == (ANSWER, [2, 3])
    later = Script(teacher=late)
    assert answer(tmp_path, later) == [row]  # what a retry has paid for counts from now on
    assert later.asked == []


def test_a_shard_stops_asking_once_the_generation_is_refused_anyway(tmp_path: Path) -> None:
    script = Script(teacher="")
    rows = answer(tmp_path, script, prompts=40, bearable=3, limit=1)
    assert [row["stage"] for row in rows] == ["teacher"] * 4 + ["stopped"] * 36
    assert len(script.asked) == 8
    assert "max_share" in rows[-1]["reason"]


@pytest.mark.parametrize("files", [1, 3, 200])
def test_any_number_of_shards_merges_to_the_same_bytes(tmp_path: Path, files: int) -> None:
    rows = answer(tmp_path, Script(), prompts=100, method="single", tournament=None)
    shards = []
    for shard in range(files):
        shards.append(tmp_path / f"shard-{shard}.parquet")
        write_parquet(shards[-1], rows_of_shard(rows, shard, files), SHARD)
    found = (tmp_path / "answers.parquet", tmp_path / "failures.parquet")
    merge_shards(shards, MergeSettings(generation="g", failures=Failures()), *found)
    assert [row["prompt_id"] for row in read_parquet_rows(found[0])] == sorted(row["prompt_id"] for row in rows)
    whole = (tmp_path / "whole.parquet", tmp_path / "whole-failures.parquet")
    merge_shards([tmp_path / "0.parquet"], MergeSettings(generation="g", failures=Failures()), *whole)
    assert [file.read_bytes() for file in found] == [file.read_bytes() for file in whole]
    assert not list(tmp_path.glob(".*"))


def test_a_shard_that_is_not_in_order_is_told(tmp_path: Path) -> None:
    rows = answer(tmp_path, Script(), prompts=5, method="single", tournament=None)
    write_parquet(tmp_path / "9.parquet", rows[::-1], SHARD)
    with pytest.raises(RecordError, match=r"9\.parquet: rows are not sorted"):
        merge_shards(
            [tmp_path / "9.parquet"], MergeSettings(generation="g", failures=Failures()), tmp_path / "a", tmp_path / "f"
        )


def test_a_cut_off_text_is_kept_when_the_server_refuses_more_tokens(tmp_path: Path) -> None:
    def teacher(request: Request) -> Any:
        return (
            CallError("max_tokens is too large")
            if request.sampling["max_tokens"] > 50
            else Completion("half", "length")
        )

    row = answer(tmp_path, Script(teacher=teacher), method="single", tournament=None)[0]
    assert (row["stage"], row["answer"], row["truncated"]) == (None, "half", True)


def test_prompts_that_were_not_asked_stop_the_run_whatever_share_is_borne(tmp_path: Path) -> None:
    answer(tmp_path, Script(teacher=""), prompts=9, bearable=2, limit=1)
    found = (tmp_path / "answers.parquet", tmp_path / "failures.parquet")
    with pytest.raises(
        FailureShareError, match=r"9 of 9 prompts failed.*first: p\d: teacher: empty answer.*retry\.py g"
    ):
        merge_shards([tmp_path / "0.parquet"], MergeSettings(generation="g", failures=Failures(max_share=1)), *found)
