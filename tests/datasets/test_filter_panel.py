"""Filters by what the panel of a tournament said of an answer."""

import json

import pytest
from filter_rows import keeps, made, row_of

from stillhouse.errors import InputError


def judged(winner: str, borda: dict[str, int], firsts: list[str | None], texts: dict[str, str] | None = None) -> dict:
    votes = [{"ranking": [one, *({"A", "B", "AB"} - {one})] if one else None} for one in firsts]
    candidates = texts or {"A": "text a", "B": "text b", "AB": "text ab"}
    return {"round": 1, "candidates": candidates, "votes": votes, "borda": borda, "winner": winner}


def row(*rounds: dict) -> dict:
    return row_of(transcript=json.dumps({"rounds": rounds}))


UNANIMOUS = judged("B", {"A": 3, "B": 6, "AB": 0}, ["B", "B", "B"])
NARROW = judged("B", {"A": 3, "B": 4, "AB": 2}, ["B", "B", "A"])
UNREAD = judged("A", {"A": 1, "B": 2, "AB": 0}, ["B", None, None])
ONE_UNREAD = judged("B", {"A": 2, "B": 4, "AB": 0}, ["B", "B", None])
NO_FLAWS = {"round": 2, "candidates": {"A": "text b"}, "votes": [], "borda": {}, "winner": "A", "no_flaws": True}


@pytest.mark.parametrize(
    ("rounds", "margin"),
    [
        ([UNANIMOUS], 3),
        ([NARROW], 1),
        ([UNANIMOUS, NARROW], 1),
        ([NARROW, UNANIMOUS], 3),
        ([NARROW, NO_FLAWS], 1),  # nothing was voted on: the answer still stands by round 1
        ([judged("A", {"A": 4, "AB": 4, "B": 1}, ["A"], {"A": "same", "AB": "same", "B": "other"})], 3),
    ],
)
def test_margin(rounds, margin):
    assert keeps({"min_margin": margin}, row(*rounds)) and not keeps({"min_margin": margin + 1}, row(*rounds))


def test_an_incumbent_that_stays_for_want_of_votes_has_no_margin():
    assert not keeps({"min_margin": 1}, row(UNREAD))


@pytest.mark.parametrize(
    ("rounds", "share"),
    [
        ([UNANIMOUS], 1.0),
        ([NARROW], 2 / 3),
        ([NARROW, NO_FLAWS], 2 / 3),
        ([NO_FLAWS, UNANIMOUS], 1.0),
        ([UNREAD], 0.0),
        ([ONE_UNREAD], 2 / 3),
    ],
)
def test_agreement(rounds, share):
    assert keeps({"judge_agreement": share}, row(*rounds))
    assert share == 1.0 or not keeps({"judge_agreement": min(share + 0.01, 1.0)}, row(*rounds))


@pytest.mark.parametrize("transcript", ['{"rounds":[]}', None, "", "{}", json.dumps({"rounds": [NO_FLAWS]})])
def test_answers_that_no_panel_voted_on_stay(transcript):
    assert keeps({"min_margin": 9}, row_of(transcript=transcript))
    assert keeps({"judge_agreement": 1.0}, row_of(transcript=transcript))


@pytest.mark.parametrize(
    "transcript",
    [
        "{",
        "[]",
        '{"rounds": [{}]}',
        '{"rounds": 5}',
        '{"rounds": [{"votes": [{}], "candidates": {}, "borda": {}, "winner": "A"}]}',
    ],
)
def test_a_transcript_of_nothing_is_named(transcript):
    for setting in ({"min_margin": 1}, {"judge_agreement": 0.5}):
        with pytest.raises(InputError, match=r"prompt p1: `transcript`"):
            made(setting).keep(row_of(transcript=transcript))
