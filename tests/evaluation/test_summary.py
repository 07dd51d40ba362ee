"""report.json: its shape, its gates, and what it says about judges."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from stillhouse.evaluation.gates import check_gates
from stillhouse.evaluation.markers import score_markers
from stillhouse.evaluation.pairwise import judge_pairs
from stillhouse.evaluation.rubric import judge_rubric
from stillhouse.evaluation.settings import PairwiseSettings, ReportSettings, RubricSettings
from stillhouse.evaluation.summary import summarise
from stillhouse.evaluation.worth import worth_of_judges
from stillhouse.study.base import Sampling
from stillhouse.study.evaluations import Gates

ORDER = ("gold", "student", "plain", "packed", "ablation", "vanilla")
SETTINGS = ReportSettings(
    study="demo",
    evaluation="framework",
    subjects={name: {"model": "smollm2"} for name in ORDER},
    sets={"plans": "target", "everyday": "forgetting"},
    gates=Gates(student_over_gold=0.8, leakage=0.15),
)


def scores(text: str, index: int) -> str | tuple[str, str]:
    rng = random.Random(text)
    if rng.random() < 0.1:
        return '{"verdict": {"sc', "length"
    best = 9 if "keystone" in text else 5
    parts = {name: {"score": rng.randint(best - 3, best)} for name in ("verdict", "gate", "voice")}
    return json.dumps({**parts, "critical_failures": [1], "overall": 9})


@pytest.fixture
def report(tmp_path: Path, responses: list[Path], judge: Any) -> dict[str, Any]:
    folder = tmp_path / "judgements"
    sampling = Sampling(max_tokens=50)
    score_markers(responses, tmp_path / "markers.yaml", folder / "markers.parquet")
    rubric = RubricSettings(judges=["j"], subjects=["student", "vanilla"], sampling=sampling)
    judge_rubric(responses, {"j": judge("j", scores)}, tmp_path / "rubric.yaml", rubric, folder / "rubric.parquet")
    pairs = PairwiseSettings(pairs=[("student", "vanilla")], judges=["j"], sampling=sampling)
    judge_pairs(responses, {"j": judge("j", lambda text, index: "VERDICT: 1")}, pairs, folder / "pairwise.parquet")
    return write(tmp_path, responses, tmp_path / "report.json")


def write(folder: Path, responses: list[Path], target: Path) -> dict[str, Any]:
    judgements = folder / "judgements"
    summarise(
        responses,
        SETTINGS,
        target,
        markers=judgements / "markers.parquet",
        rubric=judgements / "rubric.parquet",
        pairwise=judgements / "pairwise.parquet",
        markers_file=folder / "markers.yaml",
        rubric_file=folder / "rubric.yaml",
    )
    return json.loads(target.read_text())


def test_shape(report: dict[str, Any]) -> None:
    assert report["order"] == list(ORDER)
    student = report["subjects"]["student"]
    assert set(student["markers"]) == {"plans", "everyday"}
    assert {"raw", "capped", "n", "capped_interval"} <= set(student["markers"]["plans"])
    assert student["markers"]["plans"]["n"] == 12
    assert report["subjects"]["gold"]["markers"]["plans"]["capped"] == 1.0
    found = student["rubric"]["recomputed"]
    assert found["n"] + found["unscored"] == 12
    assert set(found["by_component"]) == {"verdict", "gate", "voice"}
    assert student["rubric"]["bias"] == pytest.approx(9 - found["overall"], abs=1e-4)
    pair = report["pairwise"]["student_vs_vanilla"]
    assert (pair["win"], pair["tie"], pair["loss"], pair["n"], pair["rate"]) == (12, 0, 12, 24, 0.5)
    assert report["files"]["responses"][0] == "responses/ablation.parquet"
    assert len(report["examples"]) == 6
    assert [answer["subject"] for answer in report["examples"][0]["answers"]] == list(ORDER)


def test_differences_are_paired_means(report: dict[str, Any]) -> None:
    [signal] = [
        item
        for item in report["differences"]
        if (item["candidate"], item["baseline"], item["set"]) == ("student", "ablation", "plans")
    ]
    means = [report["subjects"][name]["markers"]["plans"]["raw"] for name in ("student", "ablation")]
    assert signal["kind"] == "adapter signal"
    assert signal["raw"]["mean"] == pytest.approx(means[0] - means[1])


def test_same_inputs_same_bytes(tmp_path: Path, responses: list[Path], report: dict[str, Any]) -> None:
    write(tmp_path, responses[::-1], tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "report.json").read_bytes()
    assert str(tmp_path) not in (tmp_path / "report.json").read_text()


def test_responses_alone_make_a_report(tmp_path: Path, responses: list[Path]) -> None:
    summarise(responses, SETTINGS.model_copy(update={"gates": Gates()}), tmp_path / "bare.json")
    bare = json.loads((tmp_path / "bare.json").read_text())
    assert bare["gates"] == {"checks": [], "passed": None}
    assert (bare["markers"], bare["rubric"], bare["pairwise"], bare["judges"]) == (None, None, {}, {})


def test_a_judge_that_picks_a_place_is_called_noise(report: dict[str, Any]) -> None:
    found = report["judges"]["j"]
    assert found["pairwise"]["first_shown_share"] == 1.0
    assert found["pairwise"]["flip_rate"] == 1.0
    said = " ".join(found["sentences"]).replace("\N{NO-BREAK SPACE}", " ")
    assert "picked the first answer shown in 100 %" in said
    assert "treat its preferences as noise" in said
    assert "no better than a coin" in said
    assert "follow the marker count" in said


def comparison(prompt: int, first_shown: str, second_shown: str) -> list[dict[str, Any]]:
    row = {"first": "a", "second": "b", "set": "s", "prompt_id": str(prompt), "judge": "j"}
    return [
        {**row, "order": "first_second", "verdict": first_shown},
        {**row, "order": "second_first", "verdict": second_shown},
    ]


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (("first", "first"), "stable under a swap"),
        (("second", "first"), "picked the second answer shown"),
        (("tie", "tie"), "called every comparison a tie"),
    ],
)
def test_words_follow_from_the_numbers(verdicts: tuple[str, str], words: str) -> None:
    rows = [row for n in range(10) for row in comparison(n, *verdicts)]
    assert words in worth_of_judges([], rows, {}, None)["j"]["sentences"][0]


def test_few_verdicts_say_nothing() -> None:
    found = worth_of_judges([], comparison(0, "first", "first"), {}, None)["j"]
    assert "too few" in found["sentences"][0]


def test_flat_scores_are_called_so() -> None:
    row = {"judge": "j", "set": "s", "status": "scored", "reason": None, "judge_overall": 1.0, "overall": 1.0}
    rows = [{**row, "subject": "a", "prompt_id": str(n)} for n in range(9)]
    marks = {("a", "s", str(n)): n for n in range(9)}
    [sentence] = worth_of_judges(rows, [], marks, 9.0)["j"]["sentences"]
    assert "cannot tell answers apart" in sentence


def mark(subject: str, role: str, capped: float, condition: str | None = None) -> dict[str, Any]:
    return {"subject": subject, "condition": condition or subject, "role": role, "capped": capped}


def test_gates() -> None:
    rows = [mark("gold", "target", 0.8), mark("student", "target", 0.6), mark("student", "forgetting", 0.2)]
    found = check_gates(Gates(student_over_gold=0.75, leakage=0.1), rows)
    assert [(c["gate"], c["observed"], c["passed"]) for c in found["checks"]] == [
        ("student_over_gold", 0.75, True),
        ("leakage", 0.2, False),
    ]
    assert found["passed"] is False


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([mark("gold", "target", 1.0)], "no answers of a subject with condition student"),
        ([mark("student", "target", 1.0)], "no subject with condition gold"),
        ([mark("student", "target", 1.0), mark("gold", "target", 0.0)], "gold scores 0"),
    ],
)
def test_a_gate_that_cannot_be_measured_does_not_pass(rows: list[dict[str, Any]], reason: str) -> None:
    found = check_gates(Gates(student_over_gold=0.8), rows)
    assert found["passed"] is False
    assert reason in found["checks"][0]["reason"]
