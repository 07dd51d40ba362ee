"""Pairs out of transcripts and out of other models' answers."""

from typing import Any

import pytest
from format_rows import WIRE, answered, context_of, user, with_votes

from stillhouse.datasets.examples import Made
from stillhouse.datasets.pairs import preference_examples


def pairs(row: dict, others: dict | None = None, filters: Any = (), **settings: Any) -> Made:
    return preference_examples(row, context_of("preference", others, filters, pairs=settings))


def row_of(rounds: list[dict], answer: str = "The end.", **other: Any) -> dict:
    return answered("plan", [user("Plan")], answer, rounds, **other)


def sides(made: Made) -> list[tuple[Any, ...]]:
    names = ("round", "chosen_candidate", "rejected_candidate", "margin")
    return [tuple(one[name] for name in names) for one in made.examples]


def test_losers_by_margin(house: Any) -> None:
    rounds = [house.round_of(1, "AB", {"A": 3, "B": 1, "AB": 5}), house.round_of(2, "A", {"A": 4, "B": 4, "AB": 1})]
    row = row_of(rounds)
    assert sides(pairs(row, min_margin=2)) == [(1, "AB", "A", 2), (1, "AB", "B", 4), (2, "A", "AB", 3)]
    made = pairs(row, min_margin=4)
    assert sides(made) == [(1, "AB", "B", 4)]
    assert made.considered == 4 and made.dropped == {"min_margin": 3}
    (example,) = made.examples
    assert example["chosen"] == [{"role": "assistant", "content": "Text AB of round 1."}]
    assert example["prompt"] == [{"role": "user", "content": "Plan"}] and example["rejected_source"] == "losers"


def test_a_pair_needs_two_sides_that_differ(house: Any) -> None:
    borda = {"A": 1, "B": 2, "AB": 6}
    rounds = [
        house.round_of(1, "AB", borda, A="  ", B="Same.", AB="Same. "),
        house.round_of(2, "AB", borda, A="<think>x</think> No.", B="Poor.", AB="Good."),
        house.round_of(3, "AB", borda, A="Poor.", B="Bad.", AB="Good."),
    ]
    made = pairs(row_of(rounds))
    assert made.dropped == {"empty_side": 1, "same_text": 1, "think_tag": 1, "duplicate_pair": 1}
    assert sides(made) == [(2, "AB", "B", 4), (3, "AB", "B", 4)]
    assert made.considered == len(made.examples) + sum(made.dropped.values())


def test_panels_that_contradict_each_other_teach_nothing(house: Any) -> None:
    rounds = [
        house.round_of(1, "B", {"A": 0, "B": 3, "AB": 3}, A="One.", B="Two.", AB="Three."),
        house.round_of(2, "B", {"A": 0, "B": 3, "AB": 3}, A="Two.", B="One.", AB="Three."),
    ]
    made = pairs(row_of(rounds))
    assert made.examples == [] and made.dropped == {"contradicted": 2, "min_margin": 2}


def test_final_answer_against_the_draft(house: Any) -> None:
    rounds = [
        house.round_of(1, "AB", {"A": 3, "B": 1, "AB": 5}),
        house.round_of(2, "A", {"A": 5, "B": 1, "AB": 3}),
        house.round_of(3, "B", {"A": 1, "B": 5, "AB": 3}),
    ]
    made = pairs(row_of(rounds, draft="The start."), rejected="draft")
    (example,) = made.examples
    assert example["rejected"] == [{"role": "assistant", "content": "The start."}]
    assert sides(made) == [(3, "final", "draft", 6)] and example["rejected_source"] == "draft"
    assert pairs(row_of(rounds, draft="The start."), rejected="draft", min_margin=7).dropped == {"min_margin": 1}


def test_a_single_pass_gives_no_pair_of_its_own() -> None:
    for settings in ({}, {"rejected": "draft", "min_margin": 0}):
        made = pairs(row_of([]), **settings)
        assert made.examples == [] and made.dropped == {"missing": 1} and made.considered == 1


# other models' answers


def others(row: dict, **answers: str) -> dict:
    return {name: {(row["prompt_id"], 0): text} for name, text in answers.items()}


STUDENT = [{"generation": "student"}]


def test_teacher_against_the_student() -> None:
    row = row_of([])
    made = pairs(row, others(row, student="I would say no."), rejected=STUDENT, min_margin=3)
    (example,) = made.examples
    assert example["chosen"][0]["content"] == "The end." and example["rejected"][0]["content"] == "I would say no."
    assert sides(made) == [(0, "final", "other", None)] and example["rejected_source"] == "generation:student"


def test_a_sample_meets_its_own_else_the_first() -> None:
    row = {**row_of([]), "sample": 1}
    answers = {(row["prompt_id"], 0): "First.", (row["prompt_id"], 1): "Second.", ("other", 1): "Elsewhere."}
    assert pairs(row, {"student": answers}, rejected=STUDENT).examples[0]["rejected"][0]["content"] == "Second."
    del answers[row["prompt_id"], 1]
    assert pairs(row, {"student": answers}, rejected=STUDENT).examples[0]["rejected"][0]["content"] == "First."


def test_the_end_of_a_dialogue_is_no_answer_to_the_prompt_alone() -> None:
    row = row_of([], method="dialogue")
    made = pairs(row, others(row, student="I would say no."), rejected=STUDENT)
    assert made.examples == [] and made.dropped == {"missing": 1}


TOO_GOOD = "Close one lane first, then weld the northern joint before winter and count the lorries."
CHOSEN = "Close one lane first, then weld the northern joint before winter and count the trucks."


@pytest.mark.parametrize(
    ("student", "most", "source", "dropped"),
    [
        ("No idea.", 0.7, "generation:student", {}),
        (CHOSEN, None, "generation:base", {"same_text": 1}),
        (f" {CHOSEN}\n", 0.7, "generation:base", {"same_text": 1}),
        (TOO_GOOD, None, "generation:student", {}),
        (TOO_GOOD, 0.7, "generation:base", {"too_similar": 1}),
        (TOO_GOOD, 0.9, "generation:student", {}),
        ("<think> ...", 0.7, "generation:base", {"think_tag": 1}),
        ("  ", 0.7, "generation:base", {"empty_side": 1}),
        (None, 0.7, "generation:base", {"missing": 1}),
    ],
)
def test_the_first_fallback_that_gives_a_sound_pair_counts(
    student: str | None, most: float | None, source: str, dropped: dict
) -> None:
    row = row_of([], CHOSEN)
    told = others(row, base="Nothing.", **({} if student is None else {"student": student}))
    made = pairs(row, told, rejected=[*STUDENT, {"generation": "base"}, "losers"], max_similarity=most)
    assert [one["rejected_source"] for one in made.examples] == [source]
    assert made.dropped == dropped and made.considered == 1 + sum(dropped.values())


def test_losers_as_the_last_resort(house: Any) -> None:
    row = row_of([house.round_of(1, "AB", {"A": 3, "B": 1, "AB": 5})], "Text AB of round 1.")
    made = pairs(row, {}, rejected=[*STUDENT, "losers"])
    assert sides(made) == [(1, "AB", "A", 2), (1, "AB", "B", 4)] and made.dropped == {"missing": 1}
    assert pairs(row, others(row, student="Mine."), rejected=["losers", *STUDENT]).considered == 2


def test_what_is_below_the_least_margin_contradicts_nothing(house: Any) -> None:
    rounds = [
        house.round_of(1, "B", {"A": 0, "B": 6, "AB": 6}, A="One.", B="Two.", AB="Three."),
        house.round_of(2, "B", {"A": 3, "B": 4, "AB": 4}, A="Two.", B="One.", AB="Three."),
    ]
    assert sides(pairs(row_of(rounds), min_margin=2)) == [(1, "B", "A", 6)]
    assert pairs(row_of(rounds), min_margin=1).dropped["contradicted"] == 2


def test_equal_points_contradict_nothing(house: Any) -> None:
    tie = house.round_of(1, "B", {"A": 4, "B": 4, "AB": 1}, A="One.", B="Two.", AB="Three.")
    won = house.round_of(2, "B", {"A": 1, "B": 6, "AB": 2}, A="Two.", B="One.", AB="Four.")
    made = pairs(row_of([tie, won]), min_margin=0)
    assert (2, "B", "A", 5) in sides(made) and made.dropped == {"contradicted": 1}


@pytest.mark.parametrize(
    ("votes", "unread"),
    [
        ([["A", "B", "AB"], None], 2),
        ([["A", "B", "AB"], None, None], 2),
        ([None], 2),
        ([["A", "B", "AB"], ["A", "B", "AB"], None], 0),
        ([["A", "B", "AB"]], 0),
        ([], 0),
    ],
)
def test_a_round_that_the_panel_did_not_decide_gives_no_pairs(house: Any, votes: list, unread: int) -> None:
    one = with_votes(house.round_of(1, "A", {"A": 2, "B": 1, "AB": 0}), *votes)
    made = pairs(row_of([one]), min_margin=0)
    assert made.dropped["unread"] == unread and len(made.examples) == 2 - unread and made.considered == 2
    assert bool(made.judged) is not bool(unread)


def test_calls_of_tools_are_no_text_to_prefer(house: Any) -> None:
    row = row_of([house.round_of(1, "AB", {"A": 3, "B": 1, "AB": 5}, A=WIRE)])
    assert pairs(row).dropped == {"tool_call": 1} and len(pairs(row).examples) == 1
    called = row_of([], WIRE)
    assert pairs(called, others(called, student="No."), rejected=STUDENT).dropped == {"tool_call": 1}


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ([{"no_refusals": True}], "As an AI language model, I cannot say."),
        ([{"max_words": 4}, {"no_refusals": True}], "This one is far too long."),
        ([{"length_ratio": {"min": 2}}], "One."),
        ([{"without_pattern": "Bern"}], "Go to Bern."),
    ],
)
def test_a_candidate_that_won_is_held_against_the_filters(house: Any, filters: list, text: str) -> None:
    first = house.round_of(1, "B", {"A": 0, "B": 6, "AB": 3}, B=text)
    last = house.round_of(2, "AB", {"A": 0, "B": 3, "AB": 6}, A=text, B="A poor one.", AB="A fine one.")
    row = row_of([first, last], "A fine one.")
    made = pairs(row, filters=filters)
    assert made.dropped == {"chosen_filtered": 2} and sides(made) == [(2, "AB", "A", 6), (2, "AB", "B", 3)]
    assert made.considered == 4 and len(pairs(row).examples) == 4
    assert sides(pairs({**row, "answer": text}, filters=filters)) == sides(pairs(row)), "the scan has judged the answer"


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ([{"pii": True}], "Write to max.meier@firma.de now."),
        ([{"secrets": True}], "Use ghp_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8 for it."),
    ],
)
def test_another_models_answer_is_searched_for_what_must_not_leave_the_house(filters: list, text: str) -> None:
    row = row_of([])
    told = others(row, student=text, base="I would say no.")
    made = pairs(row, told, filters=filters, rejected=[*STUDENT, {"generation": "base"}])
    assert made.dropped == {"rejected_filtered": 1} and made.considered == 2
    assert [one["rejected_source"] for one in made.examples] == ["generation:base"]


def test_what_is_rejected_may_be_poor() -> None:
    row = row_of([], "It is a sound plan.")
    made = pairs(row, others(row, student="As an AI, no."), [{"no_refusals": True}, {"min_words": 5}], rejected=STUDENT)
    assert len(made.examples) == 1
