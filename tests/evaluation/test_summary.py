"""report.json: its shape, its blocks, and that the same inputs give the same bytes."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from judged_rows import (
    answer,
    both_orders,
    broke,
    checked,
    mark,
    place,
    reported,
    scored,
    settings,
    summarised,
    verdict,
    write_rows,
)

from stillhouse.errors import EvaluationError
from stillhouse.evaluation.markers import score_markers
from stillhouse.evaluation.pairwise import judge_pairs
from stillhouse.evaluation.report_settings import ReportSettings
from stillhouse.evaluation.rubric import judge_rubric
from stillhouse.evaluation.settings import PairwiseSettings, RubricSettings
from stillhouse.evaluation.summary import summarise
from stillhouse.study.base import Sampling
from stillhouse.study.gates import Gates, Rules

Row = dict[str, Any]

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/report.schema.json").read_text())
ORDER = ("gold", "student", "plain", "packed", "ablation", "vanilla")
SETTINGS = ReportSettings(
    study="demo",
    evaluation="framework",
    subjects={name: {"model": "smollm2"} for name in ORDER},
    sets={"plans": "target", "everyday": "forgetting"},
    gates=Gates(student_over_gold=0.8, leakage=0.15),
    families=dict.fromkeys(ORDER, "smollm2"),
    judge_families={"j": "smollm2", "k": "llama"},
    adapters={"student": "mixed", "packed": "mixed"},
)


def scores(text: str, index: int) -> str | tuple[str, str]:
    rng = random.Random(text)
    if rng.random() < 0.1:
        return '{"verdict": {"sc', "length"
    best = 9 if "keystone" in text else 5
    parts = {name: {"score": rng.randint(best - 3, best)} for name in ("verdict", "gate", "voice")}
    return json.dumps({**parts, "critical_failures": [1], "overall": 9})


@pytest.fixture
def report(tmp_path: Path, responses: list[Path], judge: Any) -> Row:
    """Six subjects, judged by two; one judge takes the first answer shown, the other likes markers."""
    folder = tmp_path / "judgements"
    sampling = Sampling(max_tokens=50)
    score_markers(responses, tmp_path / "markers.yaml", folder / "markers.parquet")
    rubric = RubricSettings(judges=["j"], subjects=["student", "vanilla"], sampling=sampling)
    judge_rubric(responses, {"j": judge("j", scores)}, tmp_path / "rubric.yaml", rubric, folder / "rubric.parquet")
    pairs = PairwiseSettings(pairs=[("student", "vanilla")], judges=["j", "k"], sampling=sampling)
    judges = {"j": judge("j", lambda text, index: "VERDICT: 1"), "k": judge("k", lambda text, index: "VERDICT: TIE")}
    judge_pairs(responses, judges, pairs, folder / "pairwise.parquet")
    return write(tmp_path, responses, tmp_path / "report.json")


def write(folder: Path, responses: list[Path], target: Path) -> Row:
    judgements = folder / "judgements"
    summarise(
        responses,
        SETTINGS,
        target,
        **{kind: judgements / f"{kind}.parquet" for kind in ("markers", "rubric", "pairwise")},
        markers_file=folder / "markers.yaml",
        rubric_file=folder / "rubric.yaml",
    )
    return json.loads(target.read_text())


def hold_to_schema(report: Row) -> None:
    faults = [
        f"{list(fault.path)}: {fault.message[:200]}" for fault in Draft202012Validator(SCHEMA).iter_errors(report)
    ]
    assert faults == []


def test_shape(report: Row) -> None:
    hold_to_schema(report)
    assert report["order"] == list(ORDER)
    student = report["subjects"]["student"]
    assert set(student["markers"]) == {"plans", "everyday"}
    assert student["markers"]["plans"]["n"] == 12
    assert sum(student["markers"]["plans"]["histogram"]) == 12
    assert set(student["markers"]["plans"]["by_category"]) == {"household", "money", "software"}
    assert report["subjects"]["gold"]["markers"]["plans"]["capped"] == 1.0
    found = student["rubric"]["recomputed"]
    assert found["n"] + found["unscored"] == 12
    assert set(found["by_component"]) == {"verdict", "gate", "voice"}
    parts = found["by_component"]
    assert parts[student["rubric"]["strongest"]] == max(parts.values())
    assert parts[student["rubric"]["weakest"]] == min(parts.values())
    assert student["rubric"]["bias"] == pytest.approx(9 - found["overall"], abs=1e-4)
    pair = report["pairwise"]["student_vs_vanilla"]
    assert (pair["win"], pair["tie"], pair["loss"], pair["n"], pair["rate"]) == (12, 24, 12, 48, 0.5)
    assert (pair["by_judge"]["j"]["flip_rate"], pair["by_judge"]["k"]["flip_rate"]) == (1.0, 0.0)
    assert set(pair["by_category"]) == {"household", "money", "software"}
    assert pair["without_judge"]["j"]["n"] == 24
    assert report["panel"]["conditions"]["student_vs_vanilla"]["j"] == {
        **{"win": 12, "tie": 0, "loss": 12, "n": 24},
        "share": 0.5,
    }
    assert report["agreement"]["pairwise"]["judges"] == 2
    assert report["agreement"]["rubric"] is None
    assert report["ratings"] is None
    assert report["judges"]["j"]["self_preference"]["subjects"] == ["student", "vanilla"]
    assert report["judges"]["k"]["self_preference"] is None
    assert report["files"]["responses"][0] == "responses/ablation.parquet"
    assert len(report["examples"]) == 6
    assert [shown["subject"] for shown in report["examples"][0]["answers"]] == list(ORDER)


def test_a_judge_that_picks_a_place_is_called_noise(report: Row) -> None:
    said = " ".join(report["judges"]["j"]["sentences"]).replace("\N{NO-BREAK SPACE}", " ")
    assert "picked the first answer shown in 100 %" in said
    assert "treat its preferences as noise" in said
    assert "no better than a coin" in said
    assert "follow the marker count" in said
    assert any(warning.startswith("Judge j follows the place") for warning in report["headline"]["warnings"])


def test_differences_are_paired_means(report: Row) -> None:
    [signal] = [
        item
        for item in report["differences"]
        if (item["candidate"], item["baseline"], item["set"], item["metric"]) == ("student", "ablation", "plans", "raw")
    ]
    means = [report["subjects"][name]["markers"]["plans"]["raw"] for name in ("student", "ablation")]
    assert (signal["kind"], signal["word"]) == ("adapter signal", "wins")
    assert signal["estimate"]["mean"] == pytest.approx(means[0] - means[1], abs=1e-5)
    assert signal["p"] <= signal["p_holm"] < 0.05
    leakage = [item for item in report["differences"] if item["role"] == "forgetting"]
    assert leakage
    assert {(item["p_holm"], item["word"]) for item in leakage} == {(None, None)}
    assert {item["baseline"] for item in report["differences"] if item["kind"] == "to gold"} == {"gold"}
    assert {item["candidate"] for item in report["differences"] if item["kind"] == "to gold"} == {"student"}


def test_same_inputs_same_bytes(tmp_path: Path, responses: list[Path], report: Row) -> None:
    write(tmp_path, responses[::-1], tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "report.json").read_bytes()
    assert str(tmp_path) not in (tmp_path / "report.json").read_text()


def test_responses_alone_make_a_report(tmp_path: Path, responses: list[Path]) -> None:
    told = SETTINGS.model_copy(update={"gates": Gates()})
    summarise(responses, told, tmp_path / "bare.json")
    bare = json.loads((tmp_path / "bare.json").read_text())
    hold_to_schema(bare)
    assert bare["gates"] == {"checks": [], "passed": None}
    assert (bare["markers"], bare["rubric"], bare["pairwise"], bare["judges"]) == (None, None, {}, {})
    assert (bare["panel"], bare["ratings"], bare["agreement"], bare["differences"]) == (None, None, None, [])


def test_recorded_verdicts_alone_make_a_report(tmp_path: Path) -> None:
    rows = [verdict("tuned <b>", "base", place(f"p{n}", "recorded"), "first", source="recorded") for n in range(9)]
    told = settings(subjects={"tuned <b>": {"condition": "student"}})
    found = summarised(tmp_path, told, pairwise=rows)
    hold_to_schema(found)
    assert found["order"] == ["tuned <b>", "base"]
    assert found["subjects"]["base"]["condition"] == "base"
    assert {**found["sets"]["recorded"], "digest": None} == {
        **{"role": "target", "place": 0, "prompts": 9},
        **{"digest": None, "categories": []},
    }
    pair = found["pairwise"]["tuned <b>_vs_base"]
    assert (pair["win"], pair["n"], pair["flip_rate"], pair["flip_n"]) == (9, 9, None, 0)
    assert found["headline"]["words"].startswith("tuned <b> against base: 9 wins, 0 ties, 0 losses in 9 verdicts")


def test_recorded_judgements_alone_make_a_report(tmp_path: Path) -> None:
    recorded = {"source": "recorded", "judge": "recorded", "judge_overall": None}
    rows = [
        scored("run", place(f"p{n}", "recorded", "ab"[n % 2]), 8.0, **recorded, recorded_overall=7.5) for n in range(8)
    ]
    rows.append(
        scored(
            "run",
            place("p9", "recorded", "a"),
            None,
            **recorded,
            recorded_overall=0.0,
            critical_failures=["Judge error"],
        )
    )
    found = summarised(tmp_path, settings(), rubric=rows)
    hold_to_schema(found)
    rubric = found["subjects"]["run"]["rubric"]
    assert (rubric["recorded"]["overall"], rubric["recorded"]["n"]) == (pytest.approx(60 / 9, abs=1e-5), 9)
    assert (rubric["recomputed"]["overall"], rubric["recomputed"]["n"], rubric["recomputed"]["unscored"]) == (8.0, 8, 1)
    assert (rubric["recorded"]["critical_failures"], rubric["recomputed"]["critical_failures"]) == (1, 0)
    assert rubric["bias"] is None
    assert rubric["by_judge"]["recorded"] == {"overall": 8.0, "n": 8, "unscored": 1}


def test_nothing_at_all_is_a_report(tmp_path: Path) -> None:
    hold_to_schema(summarised(tmp_path, settings()))


def test_breaks_and_checks() -> None:
    at = [place(f"p{n}", category="ab"[n % 2]) for n in range(4)]
    breaks = [broke("s", here, number == 0) for number, here in enumerate(at)]
    for judge, votes in (
        ("j", (False, True, True, None)),
        ("k", (False, True, False, None)),
        ("l", (False, None, False, None)),
    ):
        breaks += [broke("s", here, vote, judge) for here, vote in zip(at, votes, strict=True)]
    checks = [checked("s", at[0], True), checked("s", at[0], False, 1, "number"), checked("s", at[1], None)]
    found = reported(breaks=breaks, checks=checks)
    subject = found["subjects"]["s"]
    assert {key: subject["breaks"][key] for key in ("rate", "n", "unscored")} == {
        "rate": 0.5,
        "n": 4,
        "unscored": 1,
    }
    assert subject["breaks"]["by_category"] == {"a": {"rate": 0.5, "n": 2}, "b": {"rate": 0.5, "n": 2}}
    assert subject["breaks"]["patterns"] == {"as an ai": 1}
    assert subject["breaks"]["judges"]["l"] == {"rate": 0.0, "n": 2, "unscored": 2}
    assert {key: subject["checks"][key] for key in ("rate", "n", "errors")} == {"rate": 0.5, "n": 2, "errors": 1}
    assert subject["checks"]["by_kind"] == {"number": {"rate": 0.0, "n": 1}, "regex": {"rate": 1.0, "n": 1}}
    assert found["invalid_reasons"] == [
        "Judge j: 25 % of its 4 verdicts on character breaks are unscored, and the limit is 20 %.",
        "Judge k: 25 % of its 4 verdicts on character breaks are unscored, and the limit is 20 %.",
        "Judge l: 50 % of its 4 verdicts on character breaks are unscored, and the limit is 20 %.",
    ]


def test_the_rate_of_breaks_is_that_on_target_sets() -> None:
    rows = [broke("s", place(f"p{n}", category="a"), n == 0) for n in range(4)]
    rows += [broke("s", place(f"e{n}", "everyday", category="b"), True) for n in range(4)]
    found = reported(breaks=rows)["subjects"]["s"]["breaks"]
    assert (found["rate"], found["n"]) == (0.25, 4)
    assert found["by_category"] == {"a": {"rate": 0.25, "n": 4}, "b": {"rate": 1.0, "n": 4}}


def test_missing_verdicts_make_no_difference_between_equal_subjects() -> None:
    """Judges of two levels; one of them gave one subject no verdict on two prompts of five."""
    rng = random.Random(3)
    rows = []
    for number in range(100):
        quality = rng.gauss(0, 1)
        for name in ("student", "vanilla"):
            for judge, level in (("a", 8.0), ("b", 4.0)):
                missing = judge == "b" and name == "student" and number % 5 < 2
                score = level + quality + rng.gauss(0, 0.5)
                rows.append(scored(name, place(f"p{number}"), None if missing else score, judge))
    [found] = reported(rubric=rows)["differences"]
    low, high = found["estimate"]["interval"]
    assert low < 0 < high
    assert abs(found["estimate"]["mean"]) < 0.15
    assert (found["metric"], found["estimate"]["prompts"], found["word"]) == ("rubric", 100, "cannot tell")


def test_the_digest_of_a_set_is_that_of_its_prompts() -> None:
    one, other, same = (
        reported(answers=[answer("a", place(prompt)) for prompt in prompts])["sets"]["plans"]["digest"]
        for prompts in (("p", "q"), ("p", "r"), ("q", "p"))
    )
    assert one == same != other


def test_half_of_the_judges_are_no_majority() -> None:
    rows = [broke("s", place("p"), False), broke("s", place("p"), True, "j"), broke("s", place("p"), False, "k")]
    assert reported(breaks=rows)["subjects"]["s"]["breaks"]["rate"] == 0.0


def test_samples_count_as_observations_and_prompts_as_clusters() -> None:
    rows = [
        mark(name, place(f"p{n}", sample=s), 2 + s) for name in ("student", "vanilla") for n in range(5) for s in (0, 1)
    ]
    answers = [
        answer(name, place(f"p{n}", sample=s)) for name in ("student", "vanilla") for n in range(5) for s in (1, 0)
    ]
    found = reported(markers=rows, answers=answers)
    assert found["subjects"]["student"]["markers"]["plans"]["n"] == 10
    assert found["differences"][0]["estimate"]["prompts"] == 5
    assert found["sets"]["plans"]["prompts"] == 5
    assert [[shown["sample"] for shown in example["answers"]] for example in found["examples"]] == [[0, 0]] * 3


def test_holm_goes_over_differences_and_pairs_together() -> None:
    at = [place(f"p{n}") for n in range(12)]
    rows = [
        row for n, here in enumerate(at) for row in both_orders("student", "vanilla", here, "first" if n else "second")
    ]
    alone = reported(pairwise=rows)["pairwise"]["student_vs_vanilla"]
    assert alone["p_holm"] == alone["p"]
    marks = [mark(name, here, n % 3) for name in ("student", "vanilla") for n, here in enumerate(at)]
    among = reported(pairwise=rows, markers=marks)
    pair = among["pairwise"]["student_vs_vanilla"]
    assert len(among["differences"]) == 2
    assert pair["p_holm"] == pytest.approx(3 * pair["p"], abs=1e-5)


def test_the_control_stays_out_of_holm_ratings_panel_and_worth() -> None:
    at = [place(f"p{n}") for n in range(12)]
    pairs = (("a", "b"), ("b", "c"), ("a", "c"))
    rows = [
        row
        for one, other in pairs
        for n, here in enumerate(at)
        for row in both_orders(one, other, here, "first" if n % 4 else "second")
    ]
    control = [row for here in at for row in both_orders("a", "a", here, "first", judge="k")]
    with_control = reported(settings(), pairwise=[*rows, *control])
    without = reported(pairwise=rows)
    assert with_control["pairwise"]["a_vs_a"]["control"] is True
    assert (with_control["pairwise"]["a_vs_a"]["p_holm"], with_control["pairwise"]["a_vs_a"]["word"]) == (None, None)
    for block in ("ratings", "panel", "judges", "agreement"):
        assert with_control[block] == without[block]
    assert without["ratings"]["order"] == ["a", "b", "c"]
    assert with_control["pairwise"]["a_vs_b"] == without["pairwise"]["a_vs_b"]
    assert with_control["headline"]["words"] == without["headline"]["words"]


def test_a_control_has_the_shape_of_the_schema(tmp_path: Path) -> None:
    rows = [row for n in range(9) for row in both_orders("a", "a", place(f"p{n}"), "tie", second_sample=int(n > 2))]
    found = summarised(tmp_path, settings(), pairwise=rows)
    hold_to_schema(found)
    pair = found["pairwise"]["a_vs_a"]
    assert (pair["decided_share"], pair["identical"], pair["flip_rate"], pair["flip_n"]) == (0.0, 6, 0.0, 9)


def test_pairs_of_one_name_are_refused() -> None:
    rows = [verdict("a_vs_b", "c", place("p"), "first"), verdict("a", "b_vs_c", place("p"), "first")]
    with pytest.raises(EvaluationError, match="a_vs_b_vs_c"):
        reported(pairwise=rows)


def test_the_level_of_the_rules_reaches_every_interval() -> None:
    at = [place(f"p{n}") for n in range(20)]
    rows = [
        row for n, here in enumerate(at) for row in both_orders("a", "vanilla", here, "first" if n % 3 else "second")
    ]
    marks = [mark(name, here, n % 4 * (name == "a")) for name in ("a", "vanilla") for n, here in enumerate(at)]

    def widths(level: float) -> list[float]:
        found = reported(settings(rules=Rules(level=level)), pairwise=rows, markers=marks)
        told = found["subjects"]["a"]["markers"]["plans"]
        intervals = [found["pairwise"]["a_vs_vanilla"]["interval"], told["raw_interval"], told["capped_interval"]]
        intervals += [item["estimate"]["interval"] for item in found["differences"]]
        return [high - low for low, high in intervals]

    assert all(narrow < wide for narrow, wide in zip(widths(0.8), widths(0.99), strict=True))


def test_two_answers_of_one_place_are_refused(tmp_path: Path) -> None:
    files = write_rows(tmp_path, answers=[answer("a", place("p")), answer("a", place("p"))])
    with pytest.raises(EvaluationError, match="two answers"):
        summarise([files["answers"]], settings(), tmp_path / "report.json")


def test_a_judge_that_takes_the_first_answer_shows_no_tie() -> None:
    orders = (("first_second", "first"), ("second_first", "second"))
    rows = [verdict("a", "b", place(f"p{n}"), won, order=order) for n in range(400) for order, won in orders]
    pair = reported(pairwise=rows)["pairwise"]["a_vs_b"]
    assert (pair["rate"], pair["flip_rate"], pair["word"]) == (0.5, 1.0, "cannot tell")


@pytest.mark.slow
def test_a_hundred_thousand_verdicts_take_less_than_a_minute() -> None:
    rng = random.Random(7)
    at = [place(f"p{n}", category=f"c{n % 12}") for n in range(2000)]
    names = ("student", "packed", "ablation", "vanilla", "gold")
    answers = [answer(name, here, " ".join(rng.choices("abcdef", k=100))) for name in names for here in at]
    marks = [mark(name, here, rng.randint(0, 6)) for name in names for here in at]
    rubric = [scored(name, here, float(rng.randint(1, 10))) for name in names for here in at]
    verdicts = [
        verdict("student", other, here, rng.choice(("first", "second", "tie")), judge, order=order)
        for other in names[1:]
        for here in at
        for judge in "abcdef"
        for order in ("first_second", "second_first")
    ]
    assert (len(answers), len(verdicts)) == (10_000, 96_000)
    started = time.monotonic()
    found = reported(answers=answers, markers=marks, rubric=rubric, pairwise=verdicts)
    assert time.monotonic() - started < 60
    assert sum(pair["n"] for pair in found["pairwise"].values()) == 96_000


def test_a_judge_that_gives_everything_the_same_score_shows_no_tie() -> None:
    rows = [
        scored(name, place(f"p{number}"), 1.0, condition=name) for name in ("student", "vanilla") for number in range(6)
    ]
    (found,) = [item for item in reported(rubric=rows)["differences"] if item["metric"] == "rubric"]
    assert (found["estimate"]["interval"], found["word"]) == (None, "cannot tell"), "nobody knows the scale"
