"""The headline: one sentence with n, interval, judges, unscored share and contamination, and warnings in order."""

import re
from typing import Any

import pytest
from judged_rows import answer, both_orders, broke, checked, mark, place, reported, scored, settings, verdict

from stillhouse.study.gates import Gates, Rules

Row = dict[str, Any]

FIRST = {f"p{number}" for number in range(8)}
ORDERS = ("first_second", "second_first")


def contest(first: str, second: str, wins: int, losses: int, ties: int = 0, **more: Any) -> list[Row]:
    """One verdict in one order a prompt."""
    won = ["first"] * wins + ["tie"] * ties + ["second"] * losses
    return [
        verdict(first, second, place(f"p{number:03d}"), choice, order=ORDERS[number % 2], **more)
        for number, choice in enumerate(won)
    ]


def test_a_pair_leads_with_everything_a_sceptic_asks_for() -> None:
    rows = [{**row, "judge": "qwen3"} for row in contest("student", "vanilla", 27, 10, 3)]
    found = reported(pairwise=rows)["headline"]
    assert re.fullmatch(
        r"student against vanilla: 27 wins, 3 ties, 10 losses in 40 verdicts on 40 prompts, win rate 0\.71 "
        r"\(95 % interval 0\.5\d to 0\.8\d\): wins\. Judge: qwen3; 0 % of verdicts unscored\. "
        r"No subject's training data is part of this study: contamination was not checked\.",
        found["words"],
    )
    assert found["tone"] == "good"
    assert found["warnings"] == ["One judge only (qwen3): another may see it otherwise."]


@pytest.mark.parametrize(
    ("wins", "losses", "tone", "word"),
    [(30, 2, "good", "wins"), (2, 30, "bad", "loses"), (11, 9, "open", "cannot tell"), (1, 0, "open", "cannot tell")],
)
def test_the_tone_follows_the_word(wins: int, losses: int, tone: str, word: str) -> None:
    found = reported(pairwise=contest("student", "vanilla", wins, losses))["headline"]
    assert (found["tone"], f": {word}. " in found["words"]) == (tone, True)


def test_the_first_pair_with_a_student_leads() -> None:
    rows = [*contest("a", "b", 5, 5), *contest("tuned", "b", 5, 5)]
    told = settings(subjects={"tuned": {"condition": "student"}})
    assert reported(told, pairwise=rows)["headline"]["words"].startswith("tuned against b:")
    assert reported(pairwise=rows)["headline"]["words"].startswith("a against b:")


def test_a_student_that_is_the_baseline_turns_the_tone() -> None:
    found = reported(pairwise=contest("gold", "student", 30, 2))["headline"]
    assert (found["tone"], ": wins. " in found["words"]) == ("bad", True)
    assert reported(pairwise=contest("gold", "student", 2, 30))["headline"]["tone"] == "good"
    two = settings(subjects={"student": {}, "older": {"condition": "student"}})
    assert reported(two, pairwise=contest("older", "student", 30, 2))["headline"]["tone"] == "good"


def test_the_unscored_share_is_that_of_all_verdicts_asked_for() -> None:
    """Of 24 verdicts 6 are missing; one is left out because its other order is missing."""
    rows = contest("student", "vanilla", 11, 6)
    rows += [verdict("student", "vanilla", place(f"q{number}"), None) for number in range(5)]
    half = [
        verdict("student", "vanilla", place("r"), won, order=order)
        for won, order in zip(("first", None), ORDERS, strict=True)
    ]
    found = reported(settings(rules=Rules(max_unscored=0.5)), pairwise=[*rows, *half])
    assert "in 17 verdicts on 17 prompts" in found["headline"]["words"]
    assert "; 25 % of verdicts unscored" in found["headline"]["words"]
    assert found["valid"] is True


def test_a_control_that_holds_is_no_warning() -> None:
    rows = contest("vanilla", "vanilla", 10, 10)
    assert [told for told in reported(pairwise=rows)["headline"]["warnings"] if "A/A" in told] == []
    rows = contest("vanilla", "vanilla", 19, 1)
    [warning] = [told for told in reported(pairwise=rows)["headline"]["warnings"] if "A/A" in told]
    assert "win rate of 0.95 (95 % interval 0." in warning


def control(prompts: int, judge: str, took: str | None = None, **more: Any) -> list[Row]:
    """A subject against itself in both orders: a judge that takes the place, or says `took` whatever is shown."""
    return [
        verdict("vanilla", "vanilla", place(f"p{number}"), took or won, judge, order=order, **more)
        for number in range(prompts)
        for order, won in zip(ORDERS, ("first", "second"), strict=True)
    ]


def test_a_judge_that_takes_the_first_answer_fails_the_control() -> None:
    """Its rate is exactly one half, so the rate can say nothing."""
    found = reported(pairwise=[*control(8, "eager"), *control(8, "sober", "tie"), *control(8, "keen")])
    pair = found["pairwise"]["vanilla_vs_vanilla"]
    assert (pair["rate"], pair["flip_rate"], pair["decided_share"], pair["identical"]) == (0.5, 0.666667, 0.666667, 48)
    told = [warning for warning in found["headline"]["warnings"] if "A/A" in warning]
    assert told == [
        f"The A/A control of judge {name} failed. On identical answers it still chose one in 100 % of verdicts and "
        "contradicted itself on 100 % of prompts."
        for name in ("eager", "keen")
    ]


def test_judges_with_few_comparisons_each_are_told_of_together() -> None:
    [told] = [
        warning
        for warning in reported(pairwise=[*control(4, "i"), *control(4, "j")])["headline"]["warnings"]
        if "A/A" in warning
    ]
    assert told.startswith("The A/A control of judges i and j failed. On identical answers it still chose one in 100 %")


@pytest.mark.parametrize(
    "rows",
    [control(7, "j"), [*control(8, "j"), *(row for row in control(20, "j", "tie") if row["prompt_id"] not in FIRST)]],
)
def test_a_control_needs_eight_comparisons_and_half_of_its_verdicts_decided(rows: list[Row]) -> None:
    assert not [warning for warning in reported(pairwise=rows)["headline"]["warnings"] if "A/A" in warning]


def test_a_control_of_two_samples_does_not_speak_of_identical_answers() -> None:
    found = reported(pairwise=control(8, "j", second_sample=1))
    assert found["pairwise"]["vanilla_vs_vanilla"]["identical"] == 0
    [warning] = [told for told in found["headline"]["warnings"] if "A/A" in told]
    assert "failed. On two answers of one subject it still chose one in 100 % of verdicts" in warning
    assert reported(pairwise=contest("a", "b", 3, 3))["pairwise"]["a_vs_b"]["decided_share"] is None


def test_a_pair_without_a_verdict_says_so() -> None:
    rows = [verdict("student", "vanilla", place("p"), None)]
    found = reported(settings(rules=Rules(max_unscored=1)), pairwise=rows)["headline"]
    assert found["words"].startswith("student against vanilla: no usable verdict among 1.")
    assert "100 % of verdicts unscored" in found["words"]


def test_rubric_scores_lead_where_there_is_no_pair() -> None:
    rows = [scored(name, place(f"p{number}"), 6.0 + number % 3) for name in ("gold", "student") for number in range(9)]
    rows[0] |= {"status": "unscored", "overall": None}
    rows[1] |= {"overall": 7.5}
    found = reported(rubric=rows)["headline"]
    assert re.match(
        r"student: rubric overall 7\.00 \(95 % interval \d\.\d\d to \d\.\d\d\) in 9 scored verdicts, "
        r"\d\.\d\d points (more|fewer) than gold \(95 % interval [+-]\d\.\d\d to [+-]\d\.\d\d\): [a-z ]+\. "
        r"Judge: j; 0 % of verdicts unscored\.",
        found["words"],
    )


def test_markers_lead_where_nothing_was_judged() -> None:
    rows = [mark(name, place(f"p{n}"), raw) for name, raw in (("student", 4), ("vanilla", 1)) for n in range(12)]
    found = reported(markers=rows)["headline"]
    assert re.match(
        r"student: capped marker score 1\.00 \(95 % interval 0\.\d\d to 1\.00\) in 12 answers to the prompts of plans, "
        r"3\.00 markers more than vanilla \(95 % interval \+\d\.\d\d to \+\d\.\d\d\): wins\. Markers are counted, not judged\.",
        found["words"],
    )


def test_checks_lead_where_nothing_else_was_measured_and_breaks_after_them() -> None:
    at = [place(f"p{number}") for number in range(8)]
    checks = [checked("student", here, bool(number)) for number, here in enumerate(at)]
    breaks = [broke(name, here, False) for name in ("a", "student") for here in at]
    words = reported(checks=checks, breaks=breaks)["headline"]["words"]
    assert re.match(
        r"student: share of checks that held 0\.88 \(95 % interval 0\.\d\d to \d\.\d\d\) in 8 checks\.", words
    )
    words = reported(breaks=breaks)["headline"]["words"]
    assert words.startswith("student: share of answers out of character 0.00 (95 % interval 0.00 to 0.")


def test_answers_alone_and_nothing_at_all() -> None:
    found = reported(answers=[answer("a", place("p"))])["headline"]
    assert found["words"].startswith("1 subject and 1 prompt: nothing was measured.")
    assert (found["tone"], found["warnings"]) == ("open", [])
    assert reported()["headline"]["words"].startswith("0 subjects and 0 prompts")


def test_warnings_stand_in_order_of_severity() -> None:
    """A judge that takes the first shown answer, of one family with the student, too many unscored, a failed gate."""
    rows = [
        verdict("student", "vanilla", place(f"p{number}", category="rare"), won, order=order)
        for number in range(4)
        for order, won in (("first_second", "first"), ("second_first", "second"))
    ]
    rows += [
        verdict("student", "vanilla", place(f"q{number}"), won, order=order)
        for number in range(9)
        for order, won in (("first_second", "first"), ("second_first", "second"))
    ]
    rows += [verdict("student", "vanilla", place(f"u{number}"), None) for number in range(20)]
    rows += [row for number in range(12) for row in both_orders("vanilla", "vanilla", place(f"q{number}"), "first")]
    told = settings(
        families={"student": "qwen", "vanilla": "llama"},
        judge_families={"j": "qwen"},
        gates=Gates(win_rate={"student_vs_vanilla": 0.9}),
    )
    found = reported(told, pairwise=rows)["headline"]
    starts = ("Judge j: 28.6 % of its 70 comparisons", "1 of 1 gates failed: win_rate", "Judge j follows the place")
    starts += ("Judge j is of one family (qwen) with student",)
    starts += ("The A/A control failed: vanilla against itself has a win rate of 1.00",)
    starts += ("Fewer than 5 prompts: rare (4)", "One judge only (j)")
    assert [warning[: len(start)] for warning, start in zip(found["warnings"], starts, strict=True)] == list(starts)
    assert found["tone"] == "invalid"


def test_a_failed_gate_is_no_good_news() -> None:
    told = settings(gates=Gates(win_rate={"student_vs_vanilla": 0.99}))
    assert reported(told, pairwise=contest("student", "vanilla", 30, 1))["headline"]["tone"] == "bad"


def test_too_many_unscored_verdicts_make_a_report_invalid() -> None:
    rows = [
        *contest("student", "vanilla", 30, 0),
        *(verdict("student", "vanilla", place(f"u{n}"), None) for n in range(8)),
    ]
    found = reported(pairwise=rows)
    assert (found["valid"], found["headline"]["tone"]) == (False, "invalid")
    assert found["headline"]["words"].startswith(
        "Invalid, too many verdicts have no score: student against vanilla: 30"
    )
    assert found["invalid_reasons"] == ["Judge j: 21.1 % of its 38 comparisons are unscored, and the limit is 20 %."]
    assert found["headline"]["warnings"][0] == found["invalid_reasons"][0]
    rows += contest("student", "vanilla", 2, 0)
    assert reported(pairwise=rows)["valid"] is True


def test_reported_categories_are_held_to_five_prompts() -> None:
    rows = [scored("a", place(f"p{number}", category="known"), 5.0) for number in range(5)]
    told = settings(categories=["known", "absent"])
    assert "Fewer than 5 prompts: absent (0); take" in " ".join(reported(told, rubric=rows)["headline"]["warnings"])
    assert "Fewer" not in " ".join(reported(rubric=rows)["headline"]["warnings"])


def test_recorded_verdicts_without_a_score_are_a_warning_and_no_fault() -> None:
    rows = [verdict("student", "vanilla", place(f"p{n}"), "first" if n < 6 else None) for n in range(10)]
    live, recorded = (
        reported(settings(), pairwise=[{**row, "source": s} for row in rows]) for s in ("live", "recorded")
    )
    assert (live["valid"], recorded["valid"]) == (False, True)
    assert recorded["headline"]["warnings"][0] == "Judge j: 40 % of its recorded pairwise verdicts have no score."
    assert live["headline"]["tone"] == "invalid"


def test_many_thin_categories_are_counted_and_not_listed() -> None:
    rows = [scored("a", place(f"p{number}", category=f"kind {number % 8}"), 5.0) for number in range(16)]
    warnings = " ".join(reported(rubric=rows)["headline"]["warnings"])
    assert "Fewer than 5 prompts: 8 of 8 categories; take" in warnings


def test_a_set_that_a_subject_did_not_answer_is_told() -> None:
    rows = [answer("a", place("p1", "plans")), answer("b", place("p1", "plans")), answer("b", place("p2", "talk"))]
    found = reported(settings(sets={"plans": "target", "talk": "target"}), answers=rows)
    assert "a has no answer on talk." in found["headline"]["warnings"]
    assert "b has no" not in " ".join(found["headline"]["warnings"])
