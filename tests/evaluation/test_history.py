"""The history of a study: scores side by side, and what moved from one evaluation to the next."""

import json
from pathlib import Path
from typing import Any

import pytest
from judged_rows import both_orders, broke, mark, place, scored, settings, summarised

from stillhouse.errors import EvaluationError
from stillhouse.evaluation.history import write_history

Row = dict[str, Any]

STUDENTS = ("condition", "markers", "student")


def evaluation(
    folder: Path,
    name: str,
    raw: int,
    prompts: int = 12,
    judge: str = "j",
    adapter: str = "mixed",
    start: int = 0,
    study: str = "demo",
) -> Path:
    at = [place(f"p{number}") for number in range(start, start + prompts)]
    rows: dict[str, list[Row]] = {"markers": [], "rubric": [], "breaks": [], "pairwise": []}
    for here in at:
        rows["markers"] += [mark("tuned", here, raw, "student"), mark("base", here, 0, "vanilla")]
        rows["rubric"].append(scored("tuned", here, 5.0 + raw / 2, judge, "student"))
        rows["breaks"].append(broke("tuned", here, False, condition="student"))
        rows["pairwise"] += both_orders("tuned", "base", here, "first", judge)
    told = settings(
        subjects={"tuned": {"adapter": adapter, "serve": "peft"}, "base": {"model": "m|x"}}, adapters={"tuned": adapter}
    )
    told = told.model_copy(update={"evaluation": name})
    summarised(folder / name, told, **rows)
    return folder / name / "report.json"


def history(folder: Path, files: list[Path], names: list[str]) -> tuple[Row, str]:
    write_history(files, folder / "history.json", folder / "history.md", study="demo", evaluations=names)
    return json.loads((folder / "history.json").read_text()), (folder / "history.md").read_text()


def test_scores_move_from_one_evaluation_to_the_next(tmp_path: Path) -> None:
    files = [evaluation(tmp_path, "second", 4), evaluation(tmp_path, "first", 1)]
    found, text = history(tmp_path, files, ["first", "second"])
    assert [item["name"] for item in found["evaluations"]] == ["first", "second"]
    assert [(row["evaluation"], row["subject"]) for row in found["rows"]] == [
        *(("first", "tuned"), ("first", "base"), ("second", "tuned")),
        ("second", "base"),
    ]
    row = found["rows"][0]
    assert row["markers"]["plans"]["capped"] == 0.25
    assert row["rubric"]["overall"] == 5.5
    assert row["pairs"]["tuned_vs_base"]["rate"] == 1.0
    [marked] = [item for item in found["progress"] if (item["by"], item["metric"]) == ("adapter", "markers")]
    assert (marked["name"], marked["serve"], marked["set"], marked["change"]) == ("mixed", "peft", "plans", 0.75)
    assert marked["comparable"] is True
    assert marked["apart"] is True
    assert [point["value"] for point in marked["points"]] == [0.25, 1.0]
    assert {(item["by"], item["name"]) for item in found["progress"]} == {
        *(("adapter", "mixed"), ("condition", "student")),
        ("condition", "vanilla"),
    }
    assert "change +0.75, the intervals lie apart" in text
    assert "| first | tuned | student | mixed | plans 0.25 [" in text


@pytest.mark.parametrize(
    ("metric", "change"),
    [("markers", {"prompts": 13}), ("rubric", {"judge": "k"}), ("markers", {"start": 1}), ("rubric", {"start": 1})],
)
def test_what_was_measured_in_another_way_is_not_comparable(tmp_path: Path, metric: str, change: Row) -> None:
    files = [evaluation(tmp_path, "first", 1), evaluation(tmp_path, "second", 1, **change)]
    found, text = history(tmp_path, files, ["first", "second"])
    [moved] = [item for item in found["progress"] if (item["by"], item["metric"]) == ("adapter", metric)]
    assert (moved["comparable"], moved["change"], moved["apart"]) == (False, None, None)
    assert "not comparable" in text


KNOWN = {
    "markers": {"cap": 4, "names": ["a", "b"]},
    "rubric": {
        "scale": [1, 10],
        "components": {"gate": {"share": 1.0, "place": 0, "description": "A gate."}},
        "critical_failures": [],
    },
}


def other(known: Row, *keys: str, value: Any) -> Row:
    """`known` with another value at `keys`."""
    return {**known, keys[0]: other(known[keys[0]], *keys[1:], value=value) if keys[1:] else value}


@pytest.mark.parametrize(
    ("metric", "keys", "value", "comparable"),
    [
        ("markers", ("markers", "cap"), 3, False),
        ("markers", ("markers", "names"), ["a", "c"], False),
        ("markers", ("markers", "names"), ["b", "a"], True),
        ("rubric", ("rubric", "scale"), [0, 10], False),
        ("rubric", ("rubric", "components", "gate", "share"), 0.5, False),
        ("rubric", ("rubric", "components", "gate", "description"), "A gate, in other words.", True),
        ("rubric", ("rubric", "critical_failures"), ["No verdict."], True),
    ],
)
def test_what_a_score_depends_on(tmp_path: Path, metric: str, keys: Any, value: Any, comparable: bool) -> None:
    files = [evaluation(tmp_path, "first", 1), evaluation(tmp_path, "second", 1)]
    for file, known in zip(files, (KNOWN, other(KNOWN, *keys, value=value)), strict=True):
        file.write_text(json.dumps({**json.loads(file.read_text()), **known}))
    found, _ = history(tmp_path, files, ["first", "second"])
    [moved] = [item for item in found["progress"] if (item["by"], item["metric"]) == ("adapter", metric)]
    assert moved["comparable"] is comparable


def test_no_change_is_told_between_two_different_subjects(tmp_path: Path) -> None:
    files = [evaluation(tmp_path, "first", 1), evaluation(tmp_path, "second", 4)]
    report = json.loads(files[1].read_text())
    report["subjects"]["twin"] = report["subjects"]["tuned"]
    report["order"].append("twin")
    files[1].write_text(json.dumps(report))
    found, text = history(tmp_path, files, ["first", "second"])
    [moved] = [item for item in found["progress"] if (item["by"], item["metric"], item["name"]) == STUDENTS]
    assert (moved["comparable"], moved["change"], len(moved["points"])) == (True, None, 3)
    assert "several subjects an evaluation" in text


def test_adapters_that_come_once_have_no_progress(tmp_path: Path) -> None:
    files = [evaluation(tmp_path, "first", 1), evaluation(tmp_path, "second", 1, adapter="other")]
    found, _ = history(tmp_path, files, ["first", "second"])
    assert {item["by"] for item in found["progress"]} == {"condition"}


def test_one_evaluation_and_odd_names(tmp_path: Path) -> None:
    file = evaluation(tmp_path, "only", 2, adapter="a|b <i>")
    found, text = history(tmp_path, [file], ["only"])
    assert found["progress"] == []
    assert "No condition or adapter was measured twice." in text
    assert "a\\|b \\<i\\>" in text


def test_names_are_no_markdown(tmp_path: Path) -> None:
    name = "![x](http://example.org/a_b) `c` \u202e<b>"
    files = [evaluation(tmp_path, "first", 1, adapter=name), evaluation(tmp_path, "second", 1, adapter=name)]
    report = json.loads(files[0].read_text())
    report["headline"]["words"] = f"{name} wins"
    files[0].write_text(json.dumps(report))
    found, text = history(tmp_path, files, ["first", "second"])
    shown = "!\\[x\\](http://example.org/a\\_b) \\`c\\` \N{REPLACEMENT CHARACTER}\\<b\\>"
    assert f"{shown} wins" in text
    assert f"| {shown} |" in text
    assert f"- adapter {shown} by peft" in text
    assert "![x]" not in text
    assert found["rows"][0]["adapter"] == name


def test_same_reports_same_bytes(tmp_path: Path) -> None:
    files = [evaluation(tmp_path, "first", 1), evaluation(tmp_path, "second", 2)]
    history(tmp_path, files, ["first", "second"])
    before = [(tmp_path / name).read_bytes() for name in ("history.json", "history.md")]
    history(tmp_path, files[::-1], ["first", "second"])
    assert [(tmp_path / name).read_bytes() for name in ("history.json", "history.md")] == before


def test_a_missing_or_foreign_report_is_named(tmp_path: Path) -> None:
    file = evaluation(tmp_path, "first", 1)
    with pytest.raises(EvaluationError, match="without a report: second"):
        history(tmp_path, [file], ["first", "second"])
    file.write_text('{"format": 1}')
    with pytest.raises(EvaluationError, match=r"report\.json: no evaluation report of format 2"):
        history(tmp_path, [file], ["first"])
