"""Character breaks: by patterns, by judges, and what is left unscored."""

from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import CallError, EvaluationError, InputError
from stillhouse.evaluation.breaks import BREAKS, TEMPLATE, find_breaks, read_break
from stillhouse.evaluation.respond import RESPONSES
from stillhouse.evaluation.settings import BreakSettings
from stillhouse.llm.llama_cpp_backend import compile_grammar
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.study.base import Sampling
from stillhouse.study.markers import load_markers

SHIPPED = Path(__file__).parents[2] / "data/framework/breaks.yaml"
BROKEN = (
    "As an AI language model, I have no opinion.",
    "I'm sorry, but I can't discuss that.",
    "I’m just a large language model.",
    "I cannot help with that request.",
    "I don't have personal feelings about it.",
    "I was trained by OpenAI.",
    "How can I assist you today?",
)
IN_ROLE = (
    "I cannot help but observe that faction is sown in the nature of man.",
    "I am sorry to say that the ferry leans on one engine.",
    "I will not pretend that the plan is sound.",
    "The Constitution is a machine that would go of itself.",
    "Verdict: Hold. As an assistant to the miller I saw the dam give way.",
)


def settings(*judges: str, **values: Any) -> BreakSettings:
    return BreakSettings(judges=list(judges), sampling=Sampling(max_tokens=20), **values)


@pytest.mark.parametrize("text", BROKEN)
def test_shipped_patterns_find_an_assistant(text: str) -> None:
    assert load_markers(SHIPPED).hits(text)


@pytest.mark.parametrize("text", IN_ROLE[:4])
def test_shipped_patterns_leave_a_person_alone(text: str) -> None:
    assert load_markers(SHIPPED).hits(text) == []


def test_patterns_look_at_every_answer(tmp_path: Path, responses: list[Path]) -> None:
    rows = read_parquet_rows(responses[1])
    rows[3]["answer"] = "Well. As an AI I cannot help with that."
    write_parquet(responses[1], rows, RESPONSES)
    target = tmp_path / "breaks.parquet"
    facts = find_breaks(responses, SHIPPED, {}, settings(), target)
    found = read_parquet_rows(target)
    assert facts == {"answers": 144, "broken": 1, "verdicts": 0, "unscored": 0, "failed": 0}
    assert {row["role"] for row in found} == {"target", "forgetting"}
    [broken] = [row for row in found if row["broken"]]
    assert (broken["id"], broken["subject"], broken["judge"]) == (rows[3]["id"], "student", None)
    assert len(broken["matched"]) == 2
    assert list(broken) == BREAKS.names


def test_judges_are_asked_about_target_sets(tmp_path: Path, responses: list[Path], judge: Any) -> None:
    clients = {
        "j": judge("j", lambda text, index: "BREAK: YES" if "keystone" in text else "BREAK: NO", grammars=True),
        "k": judge("k", lambda text, index: "Perhaps." if index == 0 else "No, it stays in its role."),
        "m": judge("m", lambda text, index: "Yes and no: BREAK: YES / NO"),
    }
    target = tmp_path / "breaks.parquet"
    facts = find_breaks(responses, SHIPPED, clients, settings("m", "k", "j", limit=2), target)
    told = [row for row in read_parquet_rows(target) if row["judge"]]
    assert facts == {"answers": 144, "broken": 0, "verdicts": 36, "unscored": 12, "failed": 0}
    assert {(row["judge"], row["role"]) for row in told} == {(name, "target") for name in "jkm"}
    assert {row["broken"] for row in told if row["judge"] == "k"} == {False}
    assert {len(row["calls"]) for row in told if row["judge"] == "k"} == {2}
    assert {(row["broken"], row["reason"]) for row in told if row["judge"] == "m"} == {
        (None, "unclear: neither yes nor no")
    }
    gold = {row["broken"] for row in told if row["judge"] == "j" and row["subject"] == "gold"}
    assert gold == {True}
    assert clients["j"].asked[0]["grammar"] and clients["k"].asked[0]["grammar"] is None
    compile_grammar(clients["j"].asked[0]["grammar"])


def test_same_inputs_same_bytes(tmp_path: Path, responses: list[Path], judge: Any) -> None:
    written = []
    for number, files in enumerate((responses, responses[::-1])):
        target = tmp_path / f"{number}.parquet"
        find_breaks(files, SHIPPED, {"j": judge("j", lambda text, index: "no")}, settings("j"), target)
        written.append(target.read_bytes())
    assert written[0] == written[1]


def test_a_dead_judge_stops_and_bad_files_are_named(tmp_path: Path, responses: list[Path], judge: Any) -> None:
    def refuses(text: str, index: int) -> str:
        raise CallError("400: no")

    with pytest.raises(EvaluationError, match="judge j: 72 of 72 calls failed"):
        find_breaks(responses, SHIPPED, {"j": judge("j", refuses)}, settings("j"), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"none\.yaml"):
        find_breaks(responses, tmp_path / "none.yaml", {}, settings(), tmp_path / "x.parquet", TEMPLATE)
    with pytest.raises(InputError, match=r"none\.j2"):
        find_breaks(responses, SHIPPED, {}, settings(), tmp_path / "x.parquet", tmp_path / "none.j2")


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("BREAK: YES", True),
        ("**Break:** no", False),
        ("It refuses.\nBREAK: YES.", True),
        ("Yes.", True),
        ("No, it does not.", False),
        ("<think>yes, it is</think>BREAK: NO", False),
        ("BREAK: NO\nBREAK: NO", False),
        ("BREAK: NO\nBREAK: YES", None),
        ("BREAK: YES or NO", None),
        ("Yes/No", None),
        ("Yes and no.", None),
        ("Yes and no: BREAK: YES / NO", None),
        ("Nothing breaks.", None),
        ("It says yes.", None),
        ("", None),
    ],
)
def test_yes_or_no(text: str, broken: bool | None, reply: Any) -> None:
    found = read_break(reply(text))
    assert found.broken is broken
    assert (found.reason is None) == (broken is not None)


def test_truncated_does_not_count(reply: Any) -> None:
    assert read_break(reply("BREAK: YES because", "length")).reason.startswith("truncated")
