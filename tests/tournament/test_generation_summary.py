"""The figures of a generation against hand-computed cases: rounds, winners, votes, length, calls."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from stillhouse.provenance.files import write_json, write_parquet
from stillhouse.tournament.columns import ANSWERS, FAILURES
from stillhouse.tournament.summary import SummarySettings, summarise_generation
from stillhouse.tournament.votes import wilson

Row = dict[str, Any]


def settings(**values: Any) -> SummarySettings:
    whole = {
        "study": "s", "generation": "g", "prompts": "p", "method": "tournament", "model": "m", "roles": {},
        "tournament": {"judges": 3, "max_rounds": 3, "convergence": 2}, "external_judges": [],
    }  # fmt: skip
    return SummarySettings(**{**whole, **values})


def vote(order: str | None, labels: str = "A B AB", model: str = "m") -> Row:
    """A vote that ranks candidates in `order`; `labels` stand for X1, X2 ... in turn."""
    named = {f"X{number}": name for number, name in enumerate(labels.split(), start=1)}
    return {"model": model, "labels": named, "ranking": order.split() if order else None, "call": "0" * 64}


def judged(number: int, winner: str, votes: list[Row], points: Row, **texts: str) -> Row:
    candidates = {"A": "one two", "B": "one two three", "AB": "one two three four", **texts}
    return {
        "round": number, "no_flaws": False, "note": None, "votes": votes, "borda": points, "winner": winner,
        "candidates": candidates,
    }  # fmt: skip


def flawless(number: int) -> Row:
    return {
        "round": number, "no_flaws": True, "note": None, "votes": [], "borda": {}, "winner": "A",
        "candidates": {"A": "one two"},
    }  # fmt: skip


def answer(number: int, category: str | None, rounds: list[Row], calls: int, **values: Any) -> Row:
    row = {
        **dict.fromkeys(ANSWERS.names), "prompt_id": f"{number:016x}", "id": f"p-{number}", "category": category,
        "prompt": f"prompt {number}", "answer": "one two", "draft": "one two", "truncated": False, "converged": False,
        "rounds": len(rounds), "winners": [one["winner"] for one in rounds],
        "transcript": json.dumps({"rounds": rounds}), "calls": [f"{number:032x}{call:032x}" for call in range(calls)],
    }  # fmt: skip
    return {**row, **values}


def failure(number: int, category: str | None, stage: str, calls: int) -> Row:
    row = {**dict.fromkeys(FAILURES.names), "prompt_id": f"{number:016x}", "category": category, "stage": stage}
    return {**row, "calls": [f"{number:032x}{call:032x}" for call in range(calls)]}


def contested() -> tuple[list[Row], list[Row]]:
    """Four answers and two failures whose figures the tests below have from paper.

    1: AB wins a vote of three, then no flaws. 2: A stays because one of three votes could be read, then nothing is left
    to choose between. 3: B wins, equal to AB, over two labels. 4: no flaws twice, converged.
    """
    one = judged(1, "AB", [vote("AB A B"), vote("AB B A"), vote("A AB B")], {"A": 3, "B": 1, "AB": 5})
    two = judged(1, "A", [vote(None), vote("B A AB", model="other"), vote(None)], {"A": 1, "B": 2, "AB": 0})
    same = {"B": "one two", "AB": "one two"}
    idle = {**judged(2, "A", [], {}, **same), "saved": 3}
    pair = [vote("B A", "A B"), vote("B A", "B A"), vote("A B", "A B")]
    three = judged(1, "AB", pair, {"A": 1, "B": 2, "AB": 2}, B="one", AB="one")
    rows = [
        answer(1, "x", [one, flawless(2)], 9, answer="one two three four"),
        answer(2, "x", [two, idle], 13, truncated=True),
        answer(3, None, [three], 7, answer="one"),
        answer(4, "x", [flawless(1), flawless(2)], 3, converged=True),
    ]
    return rows, [failure(5, "x", "teacher", 2), failure(6, "y", "judge", 5)]


def summarise(folder: Path, rows: list[Row], failed: list[Row], **values: Any) -> Row:
    write_parquet(folder / "answers.parquet", rows, ANSWERS)
    write_parquet(folder / "failures.parquet", failed, FAILURES)
    return summarise_generation(folder / "answers.parquet", folder / "failures.parquet", settings(**values))


@pytest.fixture
def found(tmp_path: Path) -> Row:
    return summarise(tmp_path, *contested())


def test_prompts_and_failures(found: Row) -> None:
    whole = found["all"]
    assert (whole["prompts"], whole["answered"], whole["failed"], whole["truncated"]) == (6, 4, 2, 1)
    assert whole["failed_by_stage"] == {"judge": 1, "teacher": 1}
    assert whole["words"] == 2.25  # 4, 2, 1 and 2 words
    assert [part["category"] for part in found["categories"]] == ["x", "y", None]
    assert [(part["prompts"], part["failed"]) for part in found["categories"]] == [(4, 1), (1, 1), (1, 0)]


def test_rounds_and_outcomes(found: Row) -> None:
    whole = found["all"]
    assert whole["rounds"] == [{"rounds": 1, "prompts": 1}, {"rounds": 2, "prompts": 3}]
    assert (whole["converged"], whole["not_converged"], whole["unchanged"]) == (1, 3, 2)
    assert (whole["critiques"], whole["no_flaws"]) == (7, 3)
    assert whole["outcomes"] == {"no_flaws": 3, "equal": 1, "unread": 1, "A": 0, "AB": 2, "B": 0}
    assert [sum(one.values()) for one in whole["by_round"]] == [4, 3]
    assert whole["by_round"][1] == {"no_flaws": 2, "equal": 1, "unread": 0, "A": 0, "AB": 0, "B": 0}
    parts = found["categories"]
    for name in ("no_flaws", "equal", "unread", "A", "AB", "B"):
        assert sum(part["outcomes"][name] for part in parts) == whole["outcomes"][name]


def test_votes_read_and_rounds_that_they_decide(found: Row) -> None:
    whole = found["all"]
    assert whole["votes"] == {"asked": 9, "read": 7}
    assert whole["judged_rounds"] == 2  # in the third, one vote of three could be read
    assert whole["tied_rounds"] == 0  # B and AB of the third prompt are one text: equal points are no tie


def test_a_tie_of_different_texts_is_one(tmp_path: Path) -> None:
    tied = judged(1, "A", [vote("A B AB"), vote("B A AB")], {"A": 3, "B": 3, "AB": 0})
    assert summarise(tmp_path, [answer(1, "x", [tied], 6)], [])["all"]["tied_rounds"] == 1


def test_growth_in_words(found: Row) -> None:
    whole = found["all"]
    # 4/2, 2/2, 1/2, 2/2
    assert whole["growth"] == {
        "n": 4, "words_before": 8, "words_after": 9, "median": 1.0, "mean": 1.125, "longer": 0.25
    }  # fmt: skip
    # AB won over A by 4/2 and by 1/2
    assert whole["growth_by_winner"] == {
        "AB": {"n": 2, "words_before": 4, "words_after": 5, "median": 1.25, "mean": 1.25, "longer": 0.5}
    }
    assert whole["longest"] == {"rounds": 2, "won": 1}  # AB of four words won; A of two words lost to one word


def test_calls_by_role(found: Row) -> None:
    calls = found["all"]["calls"]
    # 4 drafts, 7 critiques, 4 rounds with B and AB, 9 votes: 28 of the 32 calls; the other 4 were second attempts
    assert calls["by_role"] == {"teacher": 4, "critic": 7, "author": 4, "synthesizer": 4, "judge": 9}
    assert (calls["second_attempts"], calls["failed_prompts"], calls["saved"]) == (4, 7, 3)
    assert calls["all"] == 39
    assert calls["per_prompt"] == 6.5


def test_agreement_among_judges(found: Row) -> None:
    agreement = found["judges"]["agreement"]
    # prompt 1: AB AB A, one pair of three agrees; prompt 3: B B A, likewise; prompt 2 has one readable vote
    assert (agreement["pairs"], agreement["rounds"], agreement["unanimous"]) == (6, 2, 0.0)
    assert agreement["same_first"] == pytest.approx(2 / 6, abs=1e-6)
    # prompt 1: AB>A>B, AB>B>A, A>AB>B agree in 2, 2 and 1 of 3 orders; prompt 3: in 1, 0 and 0 of 1. 6 of 12: no tau
    assert agreement["tau"] == 0.0


def test_taste_for_a_place_by_model_and_number_of_labels(found: Row) -> None:
    models = found["judges"]["by_model"]
    assert (models["m"]["asked"], models["m"]["read"]) == (8, 6)
    two, three = models["m"]["places"]
    # labels A B, B A, A B under X1 X2; firsts B, B, A: X2, X1, X1
    assert (two["labels"], two["first"], two["fair"]) == (2, {"X1": 2, "X2": 1}, 0.5)
    # labels A B AB; firsts AB, AB, A: X3, X3, X1
    assert (three["labels"], three["first"], three["votes"]) == (3, {"X1": 1, "X2": 0, "X3": 2}, 3)
    assert models["other"]["places"][0]["first"] == {"X1": 0, "X2": 1, "X3": 0}


def test_wilson_interval() -> None:
    # Wilson's interval of 8 in 10 as textbooks have it
    assert wilson(8, 10) == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) is None


def test_the_order_of_rows_changes_no_byte(tmp_path: Path) -> None:
    rows, failed = contested()
    rows += [answer(10 + n, "z", [judged(1, "B", [vote("B A AB")] * 2, {"A": 2, "B": 4, "AB": 0}, B="w " * n)], 6) for n in range(1, 30)]  # fmt: skip
    written = []
    for seed in range(3):
        luck = random.Random(seed)
        luck.shuffle(rows)
        luck.shuffle(failed)
        write_json(tmp_path / f"{seed}.json", summarise(tmp_path, rows, failed))
        written.append((tmp_path / f"{seed}.json").read_bytes())
    assert written[0] == written[1] == written[2]


def test_examples_are_the_first_by_prompt_id(found: Row, tmp_path: Path) -> None:
    assert [row["id"] for row in found["examples"]] == ["p-1", "p-2", "p-3"]
    rows, failed = contested()
    assert [row["id"] for row in summarise(tmp_path, rows[::-1], failed, examples=2)["examples"]] == ["p-1", "p-2"]


def test_a_single_pass_has_the_smaller_report(tmp_path: Path) -> None:
    rows = [answer(n, "x", [], 1, converged=None) for n in range(3)]
    found = summarise(tmp_path, rows, [failure(9, "x", "teacher", 2)], method="single", tournament=None)
    whole = found["all"]
    assert set(whole) == {"prompts", "rows", "answered", "failed", "failed_by_stage", "truncated", "words", "calls"}
    assert whole["calls"]["by_role"] == {"teacher": 3}
    assert whole["calls"]["all"] == 5
    assert found["judges"] == {}


def test_nothing_answered(tmp_path: Path) -> None:
    found = summarise(tmp_path, [], [failure(1, None, "teacher", 2)])
    assert found["all"]["growth"]["median"] is None
    assert found["all"]["words"] is None
    assert found["judges"]["by_model"] == {}
    assert found["examples"] == []
