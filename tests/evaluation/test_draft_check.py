"""The external check: who is asked what, and what the verdicts come to by hand."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stillhouse.errors import CallError, EvaluationError
from stillhouse.evaluation.draft_check import CHECK, check_drafts, summarise_check
from stillhouse.evaluation.settings import CheckSettings
from stillhouse.evaluation.statistics import LARGE, estimate
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.study.base import Sampling

Row = dict[str, Any]
COLUMNS = ("prompt_id", "set", "id", "category", "prompt", "answer", "draft")
ANSWERS = pa.schema([(name, pa.string()) for name in COLUMNS])


def answers(folder: Path, texts: list[tuple[str, str]]) -> Path:
    """answers.parquet of (answer, draft), as far as the check reads it; categories x and y in turn."""
    rows = [
        {
            "prompt_id": f"{n:016x}", "set": "plans", "id": f"p-{n}", "category": "xy"[n % 2], "prompt": f"Prompt {n}?",
            "answer": answer, "draft": draft,
        }
        for n, (answer, draft) in enumerate(texts)
    ]  # fmt: skip
    write_parquet(folder / "answers.parquet", rows, ANSWERS)
    return folder / "answers.parquet"


def settings(*judges: str, **values: Any) -> CheckSettings:
    return CheckSettings(judges=list(judges), sampling=Sampling(max_tokens=50), **values)


def prefers(word: str) -> Any:
    """A judge that chooses the answer with `word` in it, wherever it stands, and calls all else a tie."""

    def reply(text: str, index: int) -> str:
        one, two = text.index("Answer 1:"), text.index("Answer 2:")
        first, second = word in text[one:two], word in text[two:]
        return "VERDICT: TIE" if first == second else f"VERDICT: {1 if first else 2}"

    return reply


def test_judges_are_blind_and_asked_in_both_orders(tmp_path: Path, judge: Any) -> None:
    client, target = judge("j", prefers("GOOD")), tmp_path / "check.parquet"
    file = answers(tmp_path, [("GOOD one", "plain"), ("plain", "GOOD two"), ("same", "same"), ("a", "b")])
    facts = check_drafts(file, {"j": client}, settings("j"), target)
    assert facts == {"prompts": 4, "identical": 1, "failed": 0, "verdicts": 6, "unscored": 0}
    assert len(client.asked) == 6
    assert not [asked for asked in client.asked if "same" in asked["text"]]
    assert not [asked for asked in client.asked if "final" in asked["text"].lower() or "draft" in asked["text"].lower()]
    rows = read_parquet_rows(target)
    assert [(row["id"], row["order"], row["verdict"]) for row in rows] == [
        ("p-0", "first_second", "first"), ("p-0", "second_first", "first"), ("p-1", "first_second", "second"),
        ("p-1", "second_first", "second"), ("p-2", None, "tie"), ("p-3", "first_second", "tie"),
        ("p-3", "second_first", "tie"),
    ]  # fmt: skip
    assert {(row["first"], row["second"]) for row in rows} == {("final", "draft")}
    assert [row["id"] for row in rows if row["identical"]] == ["p-2"]
    assert [len(row["calls"]) for row in rows] == [1, 1, 1, 1, 0, 1, 1]


def test_the_limit_takes_the_first_prompts(tmp_path: Path, judge: Any) -> None:
    client, target = judge("j", prefers("GOOD")), tmp_path / "check.parquet"
    check_drafts(answers(tmp_path, [("a", "b")] * 9), {"j": client}, settings("j", limit=2), target)
    assert [row["id"] for row in read_parquet_rows(target)] == ["p-0", "p-0", "p-1", "p-1"]


def test_seeds_know_no_name_of_a_generation(tmp_path: Path, judge: Any) -> None:
    client = judge("j", prefers("GOOD"))
    check_drafts(answers(tmp_path, [("a", "b")]), {"j": client}, settings("j"), tmp_path / "check.parquet")
    assert [asked["seed_parts"] for asked in client.asked] == [
        ("pairwise", "0" * 16, "j", "first_second"), ("pairwise", "0" * 16, "j", "second_first")
    ]  # fmt: skip


def test_a_judge_that_is_out_stops_the_check(tmp_path: Path, judge: Any) -> None:
    def refuses(text: str, index: int) -> str:
        raise CallError("400: no")

    file = answers(tmp_path, [("a", "b")])
    with pytest.raises(EvaluationError, match="judge j: 2 of 2 calls failed"):
        check_drafts(file, {"j": judge("j", refuses)}, settings("j"), tmp_path / "check.parquet")


def test_same_rows_in_another_order_give_the_same_bytes(tmp_path: Path, judge: Any) -> None:
    texts = [(f"GOOD {n}", f"plain {n}") for n in range(12)]
    written = []
    for seed in range(3):
        file, target = answers(tmp_path, texts), tmp_path / f"{seed}.parquet"
        rows = read_parquet_rows(file)
        random.Random(seed).shuffle(rows)
        write_parquet(file, rows, ANSWERS)
        clients = {name: judge(name, prefers("GOOD")) for name in ("k", "j")}
        check_drafts(file, clients, settings("k", "j") if seed else settings("j", "k", "j"), target)
        written.append(target.read_bytes())
    assert written[0] == written[1] == written[2]


def verdict(number: int, judge: str | None, order: str | None, said: str | None) -> Row:
    told = {"set": "s", "prompt_id": f"{number:016x}", "id": str(number), "category": "xy"[number % 2]}
    pair = {"first": "final", "second": "draft", "judge": judge, "order": order, "verdict": said}
    return {**dict.fromkeys(CHECK.names), **told, **pair, "identical": judge is None, "calls": []}


def both(number: int, judge: str, one: str | None, other: str | None) -> list[Row]:
    return [verdict(number, judge, "first_second", one), verdict(number, judge, "second_first", other)]


def test_flips_are_ties_and_identical_texts_too() -> None:
    rows = [
        *both(0, "j", "first", "first"),  # won
        *both(1, "j", "first", "second"),  # a flip: the answer shown first was chosen both times
        *both(2, "j", "second", "second"),  # lost
        *both(3, "j", "tie", "first"),  # a flip as well
        verdict(4, None, None, "tie"),
        *both(5, "j", "first", None),  # incomplete: not judged
        *both(6, "j", "first", "first"),  # won
    ]
    found = summarise_check(rows)
    assert (found["prompts"], found["win"], found["tie"], found["loss"]) == (7, 2, 3, 1)
    assert (found["identical"], found["unjudged"], found["incomplete"]) == (1, 1, 2)
    assert (found["comparisons"], found["flips"], found["flip_rate"]) == (5, 2, 0.4)
    assert found["rate"] == pytest.approx((1 + 0.5 + 0 + 0.5 + 0.5 + 1) / 6, abs=1e-6)
    low, high = found["interval"]
    assert low < found["rate"] < high
    assert found["sign_test"] == 1.0  # 2 of 3 decided prompts: a coin does that or worse every time
    changed = found["changed"]
    assert (changed["win"], changed["tie"], changed["loss"], changed["rate"]) == (2, 2, 1, 0.6)
    mine = found["by_judge"]["j"]
    # decided verdicts: 2 of prompt 0, 2 of 1, 2 of 2, 1 of 3, 1 of 5, 2 of 6; the first shown won 1 + 2 + 1 + 0 + 1 + 1
    assert (mine["decided"], mine["first_shown_share"]) == (10, 0.6)
    assert [(part["category"], part["prompts"], part["win"], part["loss"]) for part in found["categories"]] == [
        ("x", 4, 2, 1), ("y", 3, 0, 0)
    ]  # fmt: skip


def test_a_prompt_is_won_where_more_judges_prefer_the_answer() -> None:
    rows = [
        *both(0, "a", "first", "first"), *both(0, "b", "first", "first"), *both(0, "c", "second", "second"),
        *both(1, "a", "first", "first"), *both(1, "b", "second", "second"),
        *both(2, "a", "tie", "tie"), *both(2, "b", "second", "second"),
    ]  # fmt: skip
    found = summarise_check(rows)
    assert (found["win"], found["tie"], found["loss"], found["comparisons"]) == (1, 1, 1, 7)
    assert found["rate"] == pytest.approx((2 / 3 + 1 / 2 + 1 / 4) / 3, abs=1e-6)
    assert sorted(found["by_judge"]) == ["a", "b", "c"]
    assert found["by_judge"]["c"]["prompts"] == 1


def test_a_few_prompts_that_all_go_one_way_are_told_by_the_sign_test() -> None:
    found = summarise_check([row for n in range(4) for row in both(n, "j", "first", "first")])
    assert found["interval"] == [1.0, 1.0]  # no width, yet four heads in a row come up one time in eight
    assert found["sign_test"] == 0.125


def test_nothing_changed_or_nothing_answered() -> None:
    same = summarise_check([verdict(n, None, None, "tie") for n in range(4)])
    assert (same["tie"], same["rate"], same["interval"], same["by_judge"]) == (4, 0.5, [0.5, 0.5], {})
    assert (same["flip_rate"], same["changed"]["rate"], same["sign_test"]) == (None, None, None)
    empty = summarise_check([])
    assert (empty["prompts"], empty["rate"], empty["interval"], empty["categories"]) == (0, None, None, [])


def test_the_interval_of_many_prompts_is_that_of_fewer() -> None:
    """On both sides of the bound where the bootstrap ends, the interval has the same width but for the root of n."""
    luck = random.Random(5)
    values = [luck.choice([0.0, 0.5, 1.0]) for _ in range(LARGE + 1)]
    rows = [(f"{number:06d}", value) for number, value in enumerate(values)]
    below, above = estimate(rows[:LARGE]), estimate(rows)
    assert above.interval == pytest.approx(below.interval, abs=0.004)
