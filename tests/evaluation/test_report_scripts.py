"""The scripts behind the report's rules, run on files as their rules name them."""

import json
from pathlib import Path
from typing import Any

import check_gates
import pyarrow as pa
import pytest
import summarise_evaluation
import validate_evaluation
import write_history
from judged_rows import answer, both_orders, broke, place, settings, verdict, write_rows

from stillhouse.errors import EvaluationError
from stillhouse.provenance.files import write_parquet
from stillhouse.provenance.job import Files, Params

Row = dict[str, Any]


def params(recipe: Row) -> Params:
    return Params("rule", {}, recipe, {}, "", 1, {}, {})


def report(folder: Path, unscored: int = 0, certain: bool = False) -> Path:
    """report.json of one pair that wins everything, written by the rule's script."""
    at = [place(f"p{number}") for number in range(10)]
    rows = [row for here in at for row in both_orders("student", "vanilla", here, "first")]
    rows += [verdict("student", "vanilla", place(f"u{number}"), None) for number in range(unscored)]
    breaks = [
        broke("student", here, None if here is at[0] else False, judge) for here in at for judge in (None, "j", "k")
    ]
    breaks[0]["broken"] = False
    files = write_rows(folder, answers=[answer("student", here) for here in at], pairwise=rows, breaks=breaks)
    train = write_dataset(folder / "mixed")
    named = {"responses": [files["answers"]], "pairwise": files["pairwise"], "breaks": files["breaks"]}
    inputs = Files({**named, "train": [train]})
    recipe = settings(datasets={"student": ["mixed"]}).model_dump()
    recipe["gates"] |= {"win_rate": {"student_vs_vanilla": 0.9}, "certain": certain}
    target = folder / "report.json"
    facts = summarise_evaluation.main(inputs, Files({"summary": target}), params(recipe))
    assert facts == {"subjects": 2, "answers": 10, "valid": not unscored, "gates_passed": not certain}
    return target


def write_dataset(folder: Path) -> Path:
    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    row = {"prompt_id": "p3", "prompt": [{"role": "user", "content": "x"}]}
    write_parquet(folder / "train.parquet", [row], pa.schema([("prompt", messages), ("prompt_id", pa.string())]))
    return folder / "train.parquet"


def test_the_report_is_valid_and_its_gates_pass(tmp_path: Path) -> None:
    summary = report(tmp_path)
    written = json.loads(summary.read_text())
    assert written["contamination"]["trained"]["student"]["exact"] == 1
    assert written["files"]["trained"] == {"mixed": "mixed/train.parquet"}
    valid, gates = tmp_path / "valid.json", tmp_path / "gates.json"
    validate_evaluation.main(Files({"summary": summary}), Files({"valid": valid}), params({}))
    assert json.loads(valid.read_text())["valid"] is True
    assert json.loads(valid.read_text())["unscored_share"] == {
        "j": {"pairwise": 0.0, "breaks": 0.1},
        "k": {"breaks": 0.1},
    }
    assert check_gates.main(Files({"summary": summary}), Files({"gates": gates}), params({})) == {"passed": True}
    assert json.loads(gates.read_text())["evaluations"]["framework"]["checks"][0]["observed"] == 1.0


def test_an_invalid_report_fails_its_rule_naming_judge_share_and_limit(tmp_path: Path) -> None:
    summary = report(tmp_path, unscored=20)
    valid = tmp_path / "valid.json"
    with pytest.raises(
        EvaluationError, match="Judge j: 50 % of its 40 comparisons are unscored, and the limit is 20 %"
    ):
        validate_evaluation.main(Files({"summary": summary}), Files({"valid": valid}), params({}))
    assert not valid.exists()


def test_a_failed_gate_fails_its_rule(tmp_path: Path) -> None:
    summary = report(tmp_path, certain=True)
    with pytest.raises(EvaluationError, match="framework: win_rate of student_vs_vanilla"):
        check_gates.main(Files({"summary": summary}), Files({"gates": tmp_path / "gates.json"}), params({}))


def test_the_history_of_the_study(tmp_path: Path) -> None:
    summary = report(tmp_path)
    outputs = Files({"history": tmp_path / "history.json", "markdown": tmp_path / "history.md"})
    recipe = params({"study": "demo", "evaluations": ["framework"]})
    assert write_history.main(Files({"summaries": [summary]}), outputs, recipe) == {"evaluations": 1, "rows": 2}
    assert "student against vanilla: 20 wins" in outputs.markdown.read_text()
