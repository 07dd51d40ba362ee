"""Judges' replies: what is read, and what is left unscored with its reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillhouse.evaluation.rubric_file import Rubric, load_rubric
from stillhouse.evaluation.verdicts import read_verdict

GOOD = {
    "verdict": {"score": 8, "justification": "clear"},
    "gate": {"score": 4, "justification": "no number"},
    "voice": {"score": 6, "justification": "dry"},
    "critical_failures": [],
    "overall": 9,
}
TEXT = json.dumps(GOOD)
OVERALL = (30 * 8 + 50 * 4 + 20 * 6) / 100


@pytest.fixture
def rubric(tmp_path: Path, responses: list[Path]) -> Rubric:
    return load_rubric(tmp_path / "rubric.yaml")


def changed(**values: Any) -> str:
    return json.dumps({**GOOD, **values})


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"```json\n{TEXT}\n```",
        f"Here is my verdict:\n{TEXT}\nI hope that it helps.",
        f"{TEXT}\n{TEXT}",
        json.dumps(GOOD, indent=2),
        json.dumps([GOOD]),
        json.dumps({"evaluation": GOOD}),
        json.dumps({"components": {k: GOOD[k] for k in ("verdict", "gate", "voice")}, "overall": 9}),
        TEXT.replace('"gate"', '"Gate"'),
        TEXT[:-1] + ",}",
        TEXT.replace("no number", 'says "soon" and no number'),
        TEXT.replace('"score": 8', '"score": "8/10"'),
        TEXT.replace('{"score": 4, "justification": "no number"}', "4"),
        TEXT.replace("no number", "brace } in { words"),
        "{not json} " + TEXT,
        TEXT.replace('"', "'"),
        f"<think>At first {json.dumps({**GOOD, 'overall': 3})}</think>\n{TEXT}",
        f"```json\n{TEXT}\n```\nThat is, once more:\n```json\n{TEXT}\n```",
        f"```json\n{TEXT}",
        f"<think>\n{TEXT}",
        json.dumps({"result": {"evaluation": {"scores": GOOD}}}),
        json.dumps([{"name": k, **GOOD[k]} for k in ("verdict", "gate", "voice")]).join(
            ['{"components": ', ', "overall": 9}']
        ),
        json.dumps({**GOOD, "strongest": "verdict", "weakest": {"gate": "no number"}}),
        json.dumps(
            {"components": {k: GOOD[k] for k in ("verdict", "gate", "voice")}, "weakest": {"gate": "x"}, "overall": 9}
        ),
        TEXT.replace('"score"', '"Score"').replace('"overall"', '"Overall"'),
        json.dumps({name.upper(): part for name, part in GOOD.items()}),
        TEXT + "\nI scored it {carefully}." + " word" * 200_000,
        "\n" * 100_000 + TEXT,
        TEXT.replace('"overall": 9', '"overall": "9/10"'),
    ],
)
def test_read(text: str, rubric: Rubric, reply: Any) -> None:
    verdict = read_verdict(reply(text), rubric)
    assert verdict.reason is None
    assert verdict.overall == pytest.approx(OVERALL)
    assert verdict.judge_overall == 9
    assert {name: part["score"] for name, part in verdict.components.items()} == {"verdict": 8, "gate": 4, "voice": 6}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("I would give it a 7.", "no JSON object"),
        ("null", "no JSON object"),
        (TEXT[:-1], "truncated"),
        (TEXT[:60], "truncated"),
        (TEXT.replace("dry", "use } } here")[:-47], "truncated"),
        (f"{TEXT} and again {TEXT[:80]}", "truncated"),
        (TEXT.replace("no number", 'a 5" gap'), "truncated"),
        (f"```json\n{TEXT[:90]}\n```", "truncated"),
        (f"{TEXT}\n{changed(overall=3)}", "ambiguous"),
        (f"{TEXT}\nOn reflection:\n```json\n{changed(gate={'score': 1})}\n```", "ambiguous"),
        (TEXT[:-1] + ', "gate": {"score": 9}}', "ambiguous"),
        (TEXT[:-1] + ', "gate": {"score": 9},}', "ambiguous"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "voice"}), "missing component: voice"),
        (changed(voice={"justification": "dry"}), "no score: voice"),
        (changed(voice={"score": True}), "no score: voice"),
        (changed(voice={"score": None}), "no score: voice"),
        (changed(voice={"score": "high"}), "no score: voice"),
        (TEXT.replace('"score": 6', '"score": NaN'), "no score: voice"),
        (changed(voice={"score": 0}), "off the scale: voice"),
        (changed(voice={"score": 11}), "off the scale: voice"),
        (changed(voice={"score": -3}), "off the scale: voice"),
        (TEXT.replace('"score": 6', '"score": 1e400'), "no score: voice"),
        (TEXT.replace('"score": 6', '"score": Infinity'), "no score: voice"),
        (TEXT.replace('"score": 6', f'"score": {10**400}'), "no score: voice"),
        (changed(voice={"score": "6/5"}), "no score: voice"),
        (changed(voice={"score": "-6"}), "off the scale: voice"),
        (changed(voice={"score": [6]}), "no score: voice"),
        (changed(voice={"score": 6, "Score": 7}), "ambiguous"),
        (changed(voice=[6, 7]), "no score: voice"),
        (f"{TEXT}\nThe answer itself claims {changed(voice={'score': 10})}", "ambiguous"),
        (f"<think>{TEXT}</think>", "no JSON object"),
        (f"<think>{TEXT[:90]}", "truncated"),
        (json.dumps({"first": GOOD, "second": {**GOOD, "overall": 1}}), "no JSON object"),
        ("".join(f'{{"voice": {number}}} ' for number in range(500)), "ambiguous"),
        ("x" * 1_000_000, "no JSON object"),
        ('{"voice": ' + "x " * 500_000 + "}", "no JSON object"),
        ('{"voice": {"score": ' * 5000 + "7" + "}}" * 5000, "no JSON object"),
        ("[" * 5000, "no JSON object"),
        ("{" * 5000 + "}" * 5000, "no JSON object"),
    ],
)
def test_unscored_never_zero(text: str, reason: str, rubric: Rubric, reply: Any) -> None:
    verdict = read_verdict(reply(text), rubric)
    assert verdict.reason is not None
    assert verdict.reason.startswith(reason)
    assert verdict.overall is None
    assert verdict.components == {}


@pytest.mark.parametrize("form", ["{}", "```json\n{}", "Here it is: {}", "```json\n{}\n```", "[{}"])
def test_no_part_of_a_verdict_is_ever_a_verdict(form: str, rubric: Rubric, reply: Any) -> None:
    for length in range(len(TEXT)):
        assert read_verdict(reply(form.format(TEXT[:length])), rubric).reason is not None


def test_reply_at_max_tokens_is_truncated_even_when_it_parses(rubric: Rubric, reply: Any) -> None:
    assert read_verdict(reply(TEXT, "length"), rubric).reason.startswith("truncated")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        (r"\beta", r"\beta"),
        (r"\times 2", r"\times 2"),
        (r"\alpha", r"\alpha"),
        (r"\\frac", r"\frac"),
        (r"line\nnext", "line\nnext"),
        (r"\nabla f", r"\nabla f"),
        (r"caf\u00e9", "café"),
        (r"\unit", r"\unit"),
        (r"\"so\"", '"so"'),
    ],
)
def test_backslashes_survive(written: str, meant: str, rubric: Rubric, reply: Any) -> None:
    verdict = read_verdict(reply(TEXT.replace("dry", written)), rubric)
    assert verdict.components["voice"]["justification"] == meant


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([2], ["About another plan."]),
        (["1", 2, 1], ["No verdict.", "About another plan."]),
        (["Invents a sum."], ["Invents a sum."]),
        ([], []),
        (["none", "", None, 7], []),
        ("Names another plan", ["Names another plan"]),
        ([{"failure": "Invents a sum.", "where": "line 2"}, {}], ["Invents a sum.; line 2"]),
        (None, []),
    ],
)
def test_critical_failures(given: Any, kept: list[str], rubric: Rubric, reply: Any) -> None:
    assert read_verdict(reply(changed(critical_failures=given)), rubric).critical_failures == kept
