"""Held-out prompts do not leak in, and harmless neighbours stay."""

import json
from pathlib import Path

import pytest

from stillhouse.datasets.decontaminate import content_words, decontaminate
from stillhouse.study.datasets import Decontaminate

DEFAULTS = Decontaminate(against=["eval"])
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
SHIPPED = Path(__file__).parents[2] / "data"


def prompts_of(house, path: Path, wanted=lambda line: True):
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [house.make_row(line["prompt"], row_id=str(line["id"])) for line in lines if wanted(line)]


def hits(house, row: str, held_out: str, **settings):
    kept, found = decontaminate(
        [house.make_row(row)], [house.make_row(held_out).prompt], DEFAULTS.model_copy(update=settings)
    )
    assert len(kept) + len(found) == 1
    return found[0].test if found else None


@pytest.mark.parametrize(
    ("row", "held_out", "test"),
    [
        ("what's the capital of FRANCE", "What is the capital of France?", "identical"),
        ("Please help: we move the whole bakery to the old mill next May, all right?",
         "Audit: we move the whole bakery to the old mill", "ngram"),
        ("What is the capital of France and how big is it?", "What is the capital of France?", "ngram"),
        ("What year did the French Revolution start?", "What year did the French Revolution begin?", "shingles"),
        ("What is the official language spoken in Brazil?", "What language is spoken in Brazil?", "content"),
        ("Tell me how brewing a cup of tea in a glass pot works", "Brew a cup of tea in a glass pot", "ngram"),
        ("How is a cup of tea brewed in a pot?", "Walk me through brewing a cup of tea in a pot.", "content"),
        ("🙂", "🙂", "identical"),
    ],
)  # fmt: skip
def test_leaks(house, row, held_out, test):
    assert hits(house, row, held_out) == test


@pytest.mark.parametrize(
    ("row", "held_out"),
    [
        ("What is the capital of Australia?", "What's the capital of France?"),
        ("Write a haiku about cats.", "Write a haiku about autumn leaves."),
        ("Explain in one sentence what a CPU does.", "Explain in one sentence what TCP is."),
        ("Who wrote 'To Kill a Mockingbird'?", "Who wrote 'Pride and Prejudice'?"),
        ("What's 7 times 9?", "What's 7 times 8?"),
        ("Translate hi there", "Hi"),
        ("🙂", "🙁"),
    ],
)
def test_no_leaks(house, row, held_out):
    assert hits(house, row, held_out) is None


def test_settings_move_the_bounds(house):
    row, held_out = "What is the official language spoken in Brazil?", "What language is spoken in Brazil?"
    assert hits(house, row, held_out, content=0.8) is None
    assert hits(house, row, held_out, content=1.0, ngram=3) == "ngram"
    assert hits(house, row, held_out, content=1.0, threshold=0.1) == "shingles"


def test_every_user_turn_counts_and_system_text_does_not(house):
    said = [("system", "Answer briefly."), ("user", "What is the capital of France?"), ("assistant", "Paris."),
            ("user", "And its river?")]  # fmt: skip
    row = house.make_row("And its river?", messages=[{"role": role, "content": text} for role, text in said])
    held_out = [house.make_row("What is the capital of France?").prompt, house.make_row("Answer briefly.").prompt]
    _, (hit,) = decontaminate([row], held_out, DEFAULTS)
    assert (hit.test, hit.held_out) == ("identical", held_out[0])


def test_the_nearest_held_out_prompt_is_named(house):
    held_out = [
        house.make_row(text).prompt for text in ("What language is spoken in Brazil?", "Name a river in Brazil")
    ]
    for order in (held_out, held_out[::-1]):
        _, (hit,) = decontaminate([house.make_row("What language is spoken in Brazil")], order, DEFAULTS)
        assert hit.held_out == held_out[0] and hit.similarity == 1.0


def test_content_words_are_stems():
    assert content_words("Walk me through brewing cups of coffee") == content_words("How do you brew a cup of coffee?")
    assert content_words("planning cities") == content_words("the plan of a city")
    assert content_words("make classes") == content_words("making a class")


@pytest.mark.skipif(
    not (SHARED / "hammerstein-v3a").is_dir(), reason="the published prompts of shared/data are not here"
)
def test_published_leaks_are_found(house):
    forgetting = prompts_of(
        house, SHARED / "hammerstein-v3a" / "student.jsonl", lambda r: r["category"] == "forgetting"
    )
    rows = prompts_of(house, SHARED / "hammerstein-pairs" / "off_domain.jsonl")
    kept, found = decontaminate(rows, [row.prompt for row in forgetting], DEFAULTS)
    assert len(forgetting) == 30 and len(kept) + len(found) == len(rows)
    named = {hit.held_out.id for hit in found}
    assert named == {"forgetting-007", "forgetting-009", "forgetting-018", "forgetting-022", "forgetting-028"}
    assert len(found) <= 15, "decontamination takes neighbours that are no leak"


@pytest.mark.skipif(
    not (SHARED / "hammerstein-v3a").is_dir(), reason="the published prompts of shared/data are not here"
)
def test_published_strategic_prompts_are_clean(house):
    held_out = [row.prompt for row in prompts_of(house, SHARED / "hammerstein-v3a" / "student.jsonl")]
    rows = prompts_of(house, SHARED / "hammerstein-pairs" / "strategic_308.jsonl")
    assert len(decontaminate(rows, held_out, DEFAULTS)[0]) == 308


@pytest.mark.parametrize(
    ("train", "held_out"), [("plans", "plans"), ("plans_tournament", "plans"), ("everyday", "everyday")]
)
def test_shipped_prompts_share_nothing_with_the_held_out_ones(house, train, held_out):
    against = [row.prompt for row in prompts_of(house, SHIPPED / "eval" / f"{held_out}.jsonl")]
    assert decontaminate(prompts_of(house, SHIPPED / "prompts" / f"{train}.jsonl"), against, DEFAULTS)[1] == []
