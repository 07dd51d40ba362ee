"""What models and users wrote is shown as text: no markup, no terminal codes, whatever it holds."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from traced_house import copied

from stillhouse.provenance.call_facts import CallBook
from stillhouse.provenance.calls import CallIndex
from stillhouse.provenance.lineage import Lineage
from stillhouse.provenance.rows import RowStory, find_prompt
from stillhouse.provenance.show_row import TEXT, row_tree
from stillhouse.provenance.show_text import clean, number_of
from stillhouse.provenance.tables import Tables

HOSTILE = "[/] [red]x[/red] [link=http://x]y[/] :smile: \x1b[31m\x07\u202e\n\r" + "z" * 300


def shown(tree: Any) -> str:
    console = Console(width=4000, force_terminal=False, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(tree)
    return console.export_text()


@pytest.fixture
def facts(tmp_path: Path) -> dict[str, Any]:
    """The story of a held-out prompt and of a trained one, joined."""
    house = copied(tmp_path)
    tables, book = Tables(Lineage(house)), CallBook(CallIndex(house / "results/ledger", house))
    trained, held, failed = (
        RowStory(tables, book, find_prompt(tables, name)).facts() for name in ("plan-0", "held-1", "plan-10")
    )
    return {**trained, "responses": held["responses"], "failures": failed["failures"]}


def spoilt(value: Any) -> Any:
    """`value` with every text replaced; keys, numbers and what is None stay."""
    if isinstance(value, dict):
        return {key: spoilt(item) for key, item in value.items()}
    if isinstance(value, list):
        return [spoilt(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def test_a_sound_story_shows_what_it_tells(facts: dict[str, Any]) -> None:
    text = shown(row_tree(facts))
    for part in (
        "failed at teacher",
        "judge 2 (m): ",
        "filters passed",
        "pairwise student against gold",
        "markers: 2 found",
        "check 0, contains: passed",
        "character, patterns: keeps character",
        "character, judge m: keeps character",
    ):
        assert part in text


def test_hostile_texts_change_nothing_but_the_words(facts: dict[str, Any]) -> None:
    text = shown(row_tree(spoilt(facts)))
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(text)
    assert "[red]x[/red]" in text
    assert len(text.splitlines()) == len(shown(row_tree(facts)).splitlines())
    assert "critique: [/] [red]x[/red] [link=http://x]y[/] :smile: \ufffd[31m\ufffd\ufffd zzz" in text


def test_long_texts_are_cut_and_digests_are_not(facts: dict[str, Any]) -> None:
    facts["answers"][0]["answer"] = "w" * 1000
    text = shown(row_tree(facts))
    assert "w" * TEXT + "…" in text and "w" * (TEXT + 1) not in text
    assert all(call["digest"] in text for call in facts["answers"][0]["calls"])


def test_calls_that_cannot_be_told_say_so(facts: dict[str, Any]) -> None:
    facts["answers"][0]["calls"] = [
        {"digest": "d" * 64, "role": None, "fault": "not in the ledger"},
        {**facts["answers"][0]["calls"][0], "reused": None, "usd": 0.25},
    ]
    text = shown(row_tree(facts))
    assert f"role not known  {'d' * 64}  not in the ledger" in text
    assert "0.25 USD, made or reused: not known" in text


def test_numbers_have_their_nouns() -> None:
    assert [number_of(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def test_one_line_of_printable_characters() -> None:
    assert clean("a\tb\nc\x00\x9b\u2028d e\u0301") == "a b c\ufffd\ufffd d e\u0301"
