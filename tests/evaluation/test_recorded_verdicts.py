"""Recorded pairwise verdicts: read as live ones are, matched to answers where there are any."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import InputError
from stillhouse.evaluation.pairwise import judge_pairs
from stillhouse.evaluation.settings import PairwiseSettings
from stillhouse.provenance.digests import prompt_id
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.study.base import Sampling

SETTINGS = PairwiseSettings(sampling=Sampling(max_tokens=50))


def said(raw: Any, slot: str = "A", name: str = "q1", **values: Any) -> dict[str, Any]:
    return {"id": name, "candidate": "new", "baseline": "old", "candidate_slot": slot, "raw": raw, **values}


def replay(folder: Path, lines: list[Any], responses: list[Path] | None = None) -> list[dict[str, Any]]:
    file, target = folder / "verdicts.jsonl", folder / "pairwise.parquet"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    judge_pairs(responses or [], {}, SETTINGS, target, recorded=file)
    return read_parquet_rows(target)


def test_slots_are_orders_and_labels_are_mapped_back(tmp_path: Path) -> None:
    lines = [said(raw, slot, name=f"{slot}{raw}") for slot in "AB" for raw in ("A", "B", "tie.", "UNCLEAR")]
    found = {row["id"]: (row["order"], row["verdict"], row["reason"]) for row in replay(tmp_path, lines)}
    assert found == {
        "AA": ("first_second", "first", None),
        "AB": ("first_second", "second", None),
        "Atie.": ("first_second", "tie", None),
        "AUNCLEAR": ("first_second", None, "unclear: no verdict"),
        "BA": ("second_first", "second", None),
        "BB": ("second_first", "first", None),
        "Btie.": ("second_first", "tie", None),
        "BUNCLEAR": ("second_first", None, "unclear: no verdict"),
    }


def test_pairs_that_nobody_answered(tmp_path: Path) -> None:
    lines = [
        said("A", category="x", difficulty="y", prompt="Why?"),
        said(None, name="q2"),
        said("B", judge="gpt", name="q2"),
    ]
    rows = {(row["id"], row["judge"]): row for row in replay(tmp_path, lines)}
    assert {(row["sample"], row["second_sample"]) for row in rows.values()} == {(0, 0)}
    one = rows["q1", "recorded"]
    assert (one["first"], one["second"], one["set"], one["category"], one["difficulty"]) == (
        "new",
        "old",
        "recorded",
        "x",
        "y",
    )
    assert one["prompt_id"] == prompt_id([{"role": "user", "content": "Why?"}])
    assert (one["first_words"], one["second_words"], one["source"], one["raw"], one["calls"]) == (
        None,
        None,
        "recorded",
        "A",
        [],
    )
    assert rows["q2", "gpt"]["prompt_id"] == prompt_id([{"role": "user", "content": "id:q2"}])
    assert (rows["q2", "recorded"]["verdict"], rows["q2", "recorded"]["reason"]) == (None, "unclear: an empty reply")


def test_matched_to_answers(tmp_path: Path, responses: list[Path]) -> None:
    lines = [
        {**said("A", name="plans-03"), "candidate": "student", "baseline": other} for other in ("vanilla", "gpt-4")
    ]
    lines.append({**said("A", name="plans-03"), "candidate": "gpt-4", "baseline": "gold"})
    rows = {(row["first"], row["second"]): row for row in replay(tmp_path, lines, responses)}
    answers = {row["subject"]: row for file in responses for row in read_parquet_rows(file) if row["id"] == "plans-03"}
    words = {name: len(answers[name]["answer"].split()) for name in ("student", "vanilla", "gold")}
    assert {pair: (row["first_words"], row["second_words"]) for pair, row in rows.items()} == {
        ("student", "vanilla"): (words["student"], words["vanilla"]),
        ("student", "gpt-4"): (words["student"], None),
        ("gpt-4", "gold"): (None, words["gold"]),
    }
    for row in rows.values():
        assert (row["set"], row["prompt_id"]) == ("plans", answers["student"]["prompt_id"])
        assert (row["category"], row["difficulty"]) == (
            answers["student"]["category"],
            answers["student"]["difficulty"],
        )
    with pytest.raises(InputError, match=r"line 1: subject student has no answer of id 'plans-99'"):
        replay(tmp_path, [{**lines[0], "id": "plans-99"}], responses)


def test_repeats_and_both_orders(tmp_path: Path) -> None:
    lines = [said("A"), said("A"), said("B", "B"), said("A", judge="gpt")]
    rows = replay(tmp_path, lines)
    assert [(row["judge"], row["repeat"], row["order"]) for row in rows] == [
        ("gpt", 0, "first_second"), ("recorded", 0, "first_second"), ("recorded", 0, "second_first"), ("recorded", 1, "first_second")
    ]  # fmt: skip


def test_axes_of_the_line_go_before_those_of_the_reply(tmp_path: Path) -> None:
    axes = {"fidelity": "A", "voice": {"A": 3, "B": 4.5}, "tone": "tie", "wit": None}
    reply = "usefulness-A: 2\nusefulness-B: 5\noverall: B\nrationale: Shorter."
    rows = replay(tmp_path, [said("A", "B", axes=axes), said(reply, "B", "q2"), said(reply, "A", "q3", axes=None)])
    found = {row["id"]: json.loads(row["axes"]) for row in rows}
    assert found == {
        "q1": {"fidelity": "second", "voice": "first", "tone": "tie"},
        "q2": {"usefulness": "first"},
        "q3": {"usefulness": "second"},
    }
    assert {row["explanation"] for row in rows} == {None, "Shorter."}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (said("A", axes={"voice": {"A": 3}}), "axes.voice: expected"),
        (said("A", axes={"voice": 3}), "axes.voice: expected"),
        (said("A", axes=["voice"]), "axes: expected"),
        (said("A", "C"), 'candidate_slot: expected "A" or "B"'),
        (said("A", "a"), 'candidate_slot: expected "A" or "B"'),
        (said(["A"]), "raw: expected"),
        ({**said("A"), "candidate": None}, "'candidate' is missing"),
        ({**said("A"), "baseline": 3}, "baseline: expected the name"),
        ({**said("A"), "candidate": "a\nb"}, "candidate: expected the name"),
        ({key: value for key, value in said("A").items() if key != "raw"}, "'raw' is missing"),
        (said("A", judge={"name": "x"}), "'judge' must be text"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        replay(tmp_path, [said("A"), line])
    assert str(caught.value).startswith(f"{tmp_path / 'verdicts.jsonl'} line 2")
    assert words in str(caught.value)


def test_live_and_recorded_stand_in_one_file(tmp_path: Path, responses: list[Path], judge: Any) -> None:
    file, target = tmp_path / "verdicts.jsonl", tmp_path / "pairwise.parquet"
    file.write_text(json.dumps(said("B", candidate="student", baseline="vanilla", name="plans-03")))
    client = judge("j", lambda text, index: "VERDICT: 1")
    settings = PairwiseSettings(pairs=[("student", "vanilla")], judges=["j"], limit=2, sampling=Sampling(max_tokens=50))
    facts = judge_pairs(responses, {"j": client}, settings, target, recorded=file)
    assert facts == {"failed": 0, "verdicts": 5, "recorded": 1, "unscored": 0}
    assert [row["source"] for row in read_parquet_rows(target)].count("recorded") == 1


def test_a_pair_recorded_from_both_sides_is_one_pair(tmp_path: Path) -> None:
    turned = {"candidate": "old", "baseline": "new"}
    lines = [said("A"), said("A", **turned), said("B", "B", name="q2"), said("TIE", "A", name="q2", **turned)]
    rows = replay(tmp_path, lines)
    assert {(row["first"], row["second"]) for row in rows} == {("new", "old")}
    found = {(row["id"], row["order"], row["repeat"]): row["verdict"] for row in rows}
    assert found == {
        ("q1", "first_second", 0): "first",
        ("q1", "second_first", 0): "second",
        ("q2", "second_first", 0): "first",
        ("q2", "second_first", 1): "tie",
    }


def test_an_axis_without_a_choice_is_absent(tmp_path: Path) -> None:
    axes = {"voice": "C", "tone": {"A": 3, "B": "x"}, "use": {"A": "4/5", "B": "3/5"}, "length": None, "wit": "b"}
    (row,) = replay(tmp_path, [said("A", axes=axes)])
    assert json.loads(row["axes"]) == {"use": "first", "wit": "second"}
