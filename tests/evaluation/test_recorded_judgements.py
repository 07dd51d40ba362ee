"""Recorded judgements: the same scale, weights and rules as live ones, and nothing that is guessed."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import InputError
from stillhouse.evaluation.rubric import judge_rubric
from stillhouse.evaluation.settings import RubricSettings
from stillhouse.provenance.digests import prompt_id
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.study.base import Sampling

SCORES = {"verdict": 8, "gate": 4, "voice": 6}
OVERALL = (30 * 8 + 50 * 4 + 20 * 6) / 100
SETTINGS = RubricSettings(sampling=Sampling(max_tokens=50))
FOUNDRY = Path(__file__).parents[2] / "data/rubrics/foundry.yaml"


def parts(**scores: Any) -> dict[str, Any]:
    return {name: {"score": score, "justification": "so"} for name, score in {**SCORES, **scores}.items()}


def judged(name: str, **values: Any) -> dict[str, Any]:
    return {"id": name, "judge": "sonnet", "components": parts(), **values}


def replay(folder: Path, lines: list[Any], subject: str, responses: list[Path] | None = None) -> list[dict[str, Any]]:
    file, target = folder / "judged.jsonl", folder / "rubric.parquet"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    judge_rubric(responses or [], {}, folder / "rubric.yaml", SETTINGS, target, recorded={subject: file})
    return read_parquet_rows(target)


def test_a_judged_only_name(tmp_path: Path, responses: list[Path]) -> None:
    lines = [
        judged("a", category="easy one", difficulty="hard", prompt=" Why? ", recorded_overall=7.5, judge_overall=9),
        judged("b", components=SCORES, judge=None, response="half a pair \ud83d", seconds=float("nan")),
    ]
    one, two = sorted(replay(tmp_path, lines, "qwen"), key=lambda row: row["id"])
    assert (one["subject"], one["condition"], one["set"]) == ("qwen", "qwen", "recorded")
    assert one["prompt_id"] == prompt_id([{"role": "user", "content": "Why?"}])
    assert two["prompt_id"] == prompt_id([{"role": "user", "content": "id:b"}])
    assert (one["category"], one["difficulty"], one["judge"], two["judge"]) == (
        "easy one",
        "hard",
        "sonnet",
        "recorded",
    )
    assert (one["overall"], one["judge_overall"], one["recorded_overall"]) == (pytest.approx(OVERALL), 9.0, 7.5)
    assert (two["overall"], two["judge_overall"], two["recorded_overall"]) == (pytest.approx(OVERALL), None, None)
    assert json.loads(one["components"])["gate"] == {"score": 4.0, "justification": "so"}
    assert (one["source"], one["status"], one["sample"], one["calls"]) == ("recorded", "scored", 0, [])


def test_matched_to_the_answers_of_a_subject(tmp_path: Path, responses: list[Path]) -> None:
    lines = [judged("plans-03"), judged("plans-03", components=parts(gate=5)), judged("plans-03", judge="gpt")]
    rows = replay(tmp_path, lines, "student", responses)
    [answer] = [row for row in read_parquet_rows(responses[1]) if row["id"] == "plans-03"]
    for row in rows:
        assert {name: row[name] for name in ("set", "prompt_id", "category", "difficulty", "condition")} == {
            name: answer[name] for name in ("set", "prompt_id", "category", "difficulty", "condition")
        }
    assert [(row["judge"], row["repeat"]) for row in rows] == [("gpt", 0), ("sonnet", 0), ("sonnet", 1)]
    with pytest.raises(InputError, match=r"judged\.jsonl line 2: subject student has no answer of id 'plans-99'"):
        replay(tmp_path, [*lines[:1], judged("plans-99")], "student", responses)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"components": {name: {"score": 0} for name in SCORES}, "critical_failures": ["Failed to parse judge JSON: x"]}, "placeholder: Failed to parse"),
        ({"components": dict.fromkeys(SCORES, 0), "critical_failures": ["Judge error: 529"]}, "placeholder: Judge error"),
        ({"components": None, "critical_failures": ["judge error: 529"]}, "placeholder: judge error"),
        ({"components": parts(gate=0)}, "off the scale: gate is 0"),
        ({"components": parts(gate=10.5)}, "off the scale"),
        ({"components": parts(gate=None)}, "no score: gate"),
        ({"components": {**SCORES, "gate": None}}, "missing component: gate"),
        ({"components": {"verdict": 8, "voice": 2}}, "missing component: gate"),
        ({"components": {}}, "missing component: verdict"),
        ({"components": parts(gate="high")}, "no score: gate"),
        ({"components": {**SCORES, "Gate": 9}}, "ambiguous: 'gate' comes twice"),
    ],
)  # fmt: skip
def test_unscored_and_never_zero(tmp_path: Path, responses: list[Path], values: Any, reason: str) -> None:
    [row] = replay(tmp_path, [judged("a", recorded_overall=0, **values)], "qwen")
    assert (row["status"], row["overall"]) == ("unscored", None)
    assert row["reason"].startswith(reason)
    assert row["recorded_overall"] == 0.0
    assert row["critical_failures"] == (values.get("critical_failures") or [])


def test_numbers_of_critical_failures_are_kept(tmp_path: Path, responses: list[Path]) -> None:
    [row] = replay(tmp_path, [judged("a", critical_failures=[2, 7, 0])], "qwen")
    assert row["critical_failures"] == ["About another plan.", "7"]
    rubric = "components: {verdict: {weight: 1, scale: [1, 10]}, gate: {weight: 1, scale: [1, 10]}, voice: {weight: 1, scale: [1, 10]}}"
    (tmp_path / "rubric.yaml").write_text(rubric)
    [row] = replay(tmp_path, [judged("a", critical_failures=[1])], "qwen")
    assert row["critical_failures"] == ["1"]


def test_zeros_are_scores_where_no_judge_failed(tmp_path: Path, responses: list[Path]) -> None:
    rubric = "components: {a: {weight: 1, scale: [0, 5]}, b: {weight: 1, scale: [0, 5]}}"
    (tmp_path / "rubric.yaml").write_text(rubric)
    zero = {"id": "x", "components": {"a": 0, "b": 0}}
    lines = [{**zero, "critical_failures": faults} for faults in (["Says nothing"], ["Judge error"])]
    lines.append({**lines[1], "components": {"a": 0, "b": 3}})
    assert [row["overall"] for row in replay(tmp_path, lines, "qwen")] == [0.0, None, 1.5]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (judged("a", components={**SCORES, "wit": 3}), "component 'wit' is not in the rubric; it has verdict, gate, voice"),
        (judged("a", components=[8, 4, 6]), "components: expected"),
        (judged("a", critical_failures=[{"x": 1}]), "critical_failures: expected a list of texts"),
        (judged("a", judge_overall="high"), "judge_overall: expected a number"),
        (judged("a", recorded_overall=[1]), "recorded_overall: expected a number"),
        (judged("a", category=["x"]), "'category' must be text"),
        ({"components": parts()}, "'id' is missing or empty"),
        (judged(""), "'id' is missing or empty"),
        ('{"id": "a", "components": {"verdict": NaN}}', "not JSON"),
        ('{"id": "\\ud800"}', "not JSON"),
        ("[1]", "expected an object"),
        ("{", "not JSON"),
    ],
)  # fmt: skip
def test_bad_lines_are_named(tmp_path: Path, responses: list[Path], line: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        replay(tmp_path, [judged("ok"), "", line], "qwen")
    assert str(caught.value).startswith(f"{tmp_path / 'judged.jsonl'} line 3")
    assert words in str(caught.value)


def test_no_file_and_nothing_in_it(tmp_path: Path, responses: list[Path]) -> None:
    with pytest.raises(InputError, match="nothing is recorded"):
        replay(tmp_path, [""], "qwen")
    settings = RubricSettings(sampling=Sampling())
    with pytest.raises(InputError, match=r"none\.jsonl"):
        judge_rubric([], {}, FOUNDRY, settings, tmp_path / "x.parquet", recorded={"a": tmp_path / "none.jsonl"})


def test_an_id_in_two_sets_needs_the_prompt(tmp_path: Path, responses: list[Path]) -> None:
    from stillhouse.evaluation.respond import RESPONSES
    from stillhouse.provenance.files import write_parquet

    rows = [{**row, "id": row["id"].rsplit("-", 1)[1]} for row in read_parquet_rows(responses[1])]
    write_parquet(responses[1], rows, RESPONSES)
    with pytest.raises(InputError, match=r"several sets \(everyday, plans\)"):
        replay(tmp_path, [judged("03")], "student", responses)
    [told] = [row for row in rows if row["id"] == "03" and row["set"] == "plans"]
    [row] = replay(tmp_path, [judged("03", prompt=f"  {told['prompt']}\n")], "student", responses)
    assert row["set"] == "plans"


def test_live_and_recorded_stand_in_one_file(tmp_path: Path, responses: list[Path], judge: Any) -> None:
    file, target = tmp_path / "judged.jsonl", tmp_path / "rubric.parquet"
    file.write_text(json.dumps(judged("plans-03", judge="j")))
    client = judge("j", lambda text, index: json.dumps(parts()))
    settings = RubricSettings(judges=["j"], subjects=["student"], limit=2, sampling=Sampling(max_tokens=50))
    facts = judge_rubric(
        responses, {"j": client}, tmp_path / "rubric.yaml", settings, target, recorded={"student": file}
    )
    assert facts == {"failed": 0, "verdicts": 3, "recorded": 1, "unscored": 0, "second_chances": 0}
    assert sorted(row["source"] for row in read_parquet_rows(target)) == ["live", "live", "recorded"]


def test_the_published_run(tmp_path: Path) -> None:
    data = Path(__file__).parents[2] / "../shared/data/foundry-qwen3-v1"
    if not data.is_dir():
        pytest.skip("../shared/data is not there")
    settings, target = RubricSettings(sampling=Sampling()), tmp_path / "rubric.parquet"
    judge_rubric([], {}, FOUNDRY, settings, target, recorded={"qwen": data / "judged.jsonl"})
    rows, expected = read_parquet_rows(target), json.loads((data / "expected.json").read_text())
    for key, column in (("recorded", "recorded_overall"), ("recomputed", "overall")):
        found = [row[column] for row in rows]
        assert round(sum(found) / len(found), 4) == expected[f"overall_{key}"]
        for category, mean in expected[f"by_category_{key}"].items():
            found = [row[column] for row in rows if row["category"] == category]
            assert round(sum(found) / len(found), 4) == mean
    assert sum(bool(row["critical_failures"]) for row in rows) == expected["critical_failures"]
