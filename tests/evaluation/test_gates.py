"""Gates: every bound can pass and fail, and says why."""

from typing import Any

import pytest
from judged_rows import both_orders, broke, checked, mark, place, reported, scored, settings

from stillhouse.errors import EvaluationError
from stillhouse.evaluation.gate_verdicts import gate_line, gate_verdicts, print_gates, refuse_failed
from stillhouse.study.gates import Gates, Guard

Row = dict[str, Any]


def gates(gates: Gates, **rows: list[Row]) -> list[Row]:
    return reported(settings(gates=gates), **rows)["gates"]["checks"]


def marks(subject: str, raws: list[int], name: str = "plans") -> list[Row]:
    return [mark(subject, place(f"p{number}", name), raw) for number, raw in enumerate(raws)]


def test_no_gate_is_neither_passed_nor_failed() -> None:
    assert reported(markers=marks("student", [1]))["gates"] == {"checks": [], "passed": None}


def test_markers_against_gold_ablation_and_leakage() -> None:
    rows = [*marks("gold", [4, 4, 4, 4]), *marks("student", [4, 4, 3, 1]), *marks("ablation", [1, 1, 1, 1])]
    rows += marks("student", [0, 0, 1, 0], "everyday")
    found = gates(Gates(student_over_gold=0.75, leakage=0.06, adapter_signal=1.5), markers=rows)
    assert [(item["gate"], item["observed"], item["passed"]) for item in found] == [
        ("student_over_gold", 0.75, True),
        ("leakage", 0.0625, False),
        ("adapter_signal", 2.0, True),
    ]
    assert found[1]["reason"] == "0.0625 is above 0.06"
    assert all(low <= item["observed"] <= high for item in found for low, high in [item["interval"]])


def test_the_ablation_that_leaves_least_decides() -> None:
    rows = [*marks("student", [3, 3]), *marks("weak", [0, 0]), *marks("strong", [2, 2])]
    rows = [{**row, "condition": "student" if row["subject"] == "student" else "ablation"} for row in rows]
    [found] = gates(Gates(adapter_signal=2.0), markers=rows)
    assert (found["observed"], found["passed"]) == (1.0, False)


def test_the_share_of_gold_has_an_interval_that_narrows_with_prompts() -> None:
    def width(times: int) -> float:
        rows = [*marks("gold", [4, 4, 2, 4] * times), *marks("student", [4, 2, 2, 0] * times)]
        [found] = gates(Gates(student_over_gold=0.5), markers=rows)
        low, high = found["interval"]
        assert low < found["observed"] < high
        assert found["observed"] == pytest.approx(8 / 14, abs=1e-6)
        return high - low

    assert width(25) < width(4) / 2


def test_certainty_asks_for_the_whole_interval() -> None:
    rows = [row for number in range(12) for row in both_orders("student", "vanilla", place(f"p{number}"), "first")]
    rows += [
        row for number in range(12, 17) for row in both_orders("student", "vanilla", place(f"p{number}"), "second")
    ]
    pairs = {"student_vs_vanilla": 0.6}
    [loose], [strict] = (gates(Gates(win_rate=pairs, certain=certain), pairwise=rows) for certain in (False, True))
    assert loose["observed"] == strict["observed"] == pytest.approx(12 / 17, abs=1e-6)
    assert (loose["passed"], strict["passed"]) == (True, False)
    assert "lower bound of the interval" in strict["reason"]


def test_certainty_of_one_prompt_does_not_pass() -> None:
    [found] = gates(Gates(leakage=0.5, certain=True), markers=marks("student", [0], "everyday"))
    assert (found["passed"], found["interval"]) == (False, None)
    assert "too few prompts" in found["reason"]


def test_rubric_breaks_and_checks_of_students() -> None:
    at = [place(f"p{number}") for number in range(4)]
    found = gates(
        Gates(rubric=7.5, breaks=0.25, checks=0.6),
        rubric=[scored("student", here, score) for here, score in zip(at, (9.0, 7.0, None, 7.0), strict=True)],
        breaks=[broke("student", here, value) for here, value in zip(at, (True, False, False, False), strict=True)],
        checks=[checked("student", here, value) for here, value in zip(at, (True, False, None, True), strict=True)],
    )
    assert [(item["gate"], item["observed"], item["passed"]) for item in found] == [
        ("rubric", 7.666667, True),
        ("breaks", 0.25, True),
        ("checks", 0.666667, True),
    ]


@pytest.mark.parametrize(
    ("gate", "rows", "reason"),
    [
        (Gates(student_over_gold=0.8), marks("gold", [4]), "no subject with condition student"),
        (Gates(student_over_gold=0.8), marks("student", [4]), "no subject with condition gold"),
        (Gates(student_over_gold=0.8), [*marks("student", [4]), *marks("gold", [0])], "gold scores 0"),
        (Gates(leakage=0.1), marks("student", [4]), "no answers on a forgetting set"),
        (Gates(adapter_signal=1), marks("student", [4]), "no subject with condition ablation"),
        (Gates(rubric=1), marks("student", [4]), "no rubric score"),
        (Gates(breaks=0.1), marks("student", [4]), "no answer on a target set was looked at"),
        (Gates(checks=0.1), marks("student", [4]), "no check was run"),
        (Gates(win_rate={"student_vs_vanilla": 0.5}), marks("student", [4]), "no usable verdict on student_vs_vanilla"),
    ],
)
def test_what_cannot_be_measured_does_not_pass(gate: Gates, rows: list[Row], reason: str) -> None:
    [found] = gates(gate, markers=rows)
    assert (found["passed"], found["observed"]) == (False, None)
    assert reason in found["reason"]


def test_breaks_off_the_target_sets_pass_by_the_gate() -> None:
    rows = [broke("student", place(f"p{n}"), n == 0) for n in range(4)]
    rows += [broke("student", place(f"e{n}", "everyday"), True) for n in range(4)]
    [found] = gates(Gates(breaks=0.3), breaks=rows)
    assert (found["observed"], found["passed"]) == (0.25, True)
    [found] = gates(Gates(breaks=0.3), breaks=rows[4:])
    assert (found["observed"], found["passed"]) == (None, False)


def test_verdicts_that_are_missing_do_not_raise_the_rate_of_breaks() -> None:
    rows = [broke("student", place(f"p{n}"), n == 0) for n in range(4)]
    rows += [broke("student", place(f"p{n}"), None, "j") for n in range(4)]
    [found] = gates(Gates(breaks=0.3), breaks=rows)
    assert (found["observed"], found["passed"]) == (0.25, True)


def guarded(metric: str = "rubric", **more: Any) -> Gates:
    told = {"candidate": "student", "baseline": "vanilla", "metric": metric, "categories": ["a", "b"], **more}
    return Gates(guards=[Guard(**told)])


def test_a_guard_looks_at_each_category_and_refuses_an_empty_one() -> None:
    rows = []
    for number in range(3):
        rows += [scored("student", place(f"p{number}", category="a"), 7.0)]
        rows += [scored("vanilla", place(f"p{number}", category="a"), 7.5)]
    held, empty = gates(guarded(max_drop=0.5), rubric=rows)
    assert (held["category"], held["observed"], held["bound"], held["passed"]) == ("a", -0.5, -0.5, True)
    assert (empty["category"], empty["passed"]) == ("b", False)
    assert empty["reason"] == "no prompt of category b with a rubric score of both student and vanilla"
    assert not gates(guarded(max_drop=0.4), rubric=rows)[0]["passed"]


def test_a_guard_compares_within_a_judge() -> None:
    """Two equal subjects; the milder judge gave the baseline one score more."""
    rows = [
        scored(name, place(f"p{number}", category="a"), level, judge)
        for number in range(4)
        for judge, level in (("mild", 8.0), ("stern", 4.0))
        for name in ("student", "vanilla")
        if not (judge == "mild" and name == "student" and number < 3)
    ]
    held = gates(guarded(max_drop=0.1), rubric=rows)[0]
    assert (held["observed"], held["passed"]) == (0.0, True)
    fault = [{**row, "critical_failures": ["No verdict."] if row["judge"] == "stern" else []} for row in rows]
    failures = gates(guarded(critical_failures=True), rubric=fault)[-1]
    assert (failures["observed"], failures["bound"], failures["passed"]) == (0.8, 0.8, True)


def test_guards_on_checks_and_markers() -> None:
    rows = [checked(name, place("p", category="a"), name == "vanilla") for name in ("student", "vanilla")]
    assert gates(guarded("checks"), checks=rows)[0]["observed"] == -1.0
    rows = [mark("student", place("p", category="b"), 4), mark("vanilla", place("p", category="b"), 2)]
    assert gates(guarded("capped"), markers=rows)[1]["observed"] == 0.5


def test_critical_failures_are_compared_as_shares_on_common_prompts() -> None:
    fault = {"critical_failures": ["No verdict."]}
    rows = [
        scored("student", place("p", category="a"), 7.0, **fault),
        scored("student", place("p", category="a", sample=1), 7.0),
        scored("vanilla", place("p", category="a"), 7.0),
        scored("student", place("only-here", category="a"), 7.0, **fault),
    ]
    failures = gates(guarded(critical_failures=True), rubric=rows)[-1]
    assert (failures["gate"], failures["observed"], failures["bound"], failures["passed"]) == (
        *("guard_critical_failures", 0.5, 0.0),
        False,
    )
    rows[2] |= fault
    assert gates(guarded(critical_failures=True), rubric=rows)[-1]["passed"]


def test_a_failed_gate_is_named_with_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    bounds = Gates(leakage=0.1, rubric=8.0)
    report = reported(settings(gates=bounds), markers=marks("student", [4, 0, 0, 0], "everyday"))
    verdicts = gate_verdicts([report])
    assert verdicts["passed"] is False
    print_gates(verdicts)
    assert "leakage" in capsys.readouterr().err
    with pytest.raises(EvaluationError) as raised:
        refuse_failed(verdicts)
    assert "2 gates failed" in str(raised.value)
    assert "framework: leakage of student: 0.25 (" in str(raised.value)
    assert "framework: rubric of student: not measured, at least 8; no rubric score" in str(raised.value)


def test_gates_that_pass_raise_nothing() -> None:
    report = reported(settings(gates=Gates(leakage=0.5)), markers=marks("student", [1, 0], "everyday"))
    verdicts = gate_verdicts([report, {**reported(), "evaluation": "other"}])
    refuse_failed(verdicts)
    assert verdicts["passed"] is True
    assert sorted(verdicts["evaluations"]) == ["framework", "other"]
    assert gate_line(report["gates"]["checks"][0]).startswith("leakage of student: 0.125 (")


def test_reports_without_gates_pass_no_verdict() -> None:
    verdicts = gate_verdicts([reported()])
    print_gates(verdicts)
    refuse_failed(verdicts)
    assert verdicts["passed"] is None
