"""Pairs out of transcripts."""

from stillhouse.datasets.pairs import make_pairs
from stillhouse.study.datasets import Pairs


def sides(paired):
    return [
        (
            one.columns["round"],
            one.columns["chosen_candidate"],
            one.columns["rejected_candidate"],
            one.columns["margin"],
        )
        for one in paired.examples
    ]


def test_losers_by_margin(house):
    rounds = [
        house.round_of(1, "AB", {"A": 3, "B": 1, "AB": 5}),
        house.round_of(2, "A", {"A": 4, "B": 4, "AB": 1}),
    ]
    row = house.make_row("Plan", rounds=rounds)
    assert sides(make_pairs([row], Pairs(min_margin=2))) == [(1, "AB", "A", 2), (1, "AB", "B", 4), (2, "A", "AB", 3)]
    paired = make_pairs([row], Pairs(min_margin=4))
    assert sides(paired) == [(1, "AB", "B", 4)]
    assert paired.considered == 4 and paired.dropped == {"min_margin": 3}
    (example,) = paired.examples
    assert example.columns["chosen"] == [{"role": "assistant", "content": "Text AB of round 1."}]
    assert example.columns["prompt"] == [{"role": "user", "content": "Plan"}]


def test_a_pair_needs_two_sides_that_differ(house):
    borda = {"A": 1, "B": 2, "AB": 6}
    rounds = [
        house.round_of(1, "AB", borda, A="  ", B="Same.", AB="Same. "),
        house.round_of(2, "AB", borda, A="<think>x</think> No.", B="Poor.", AB="Good."),
        house.round_of(3, "AB", borda, A="Poor.", B="Bad.", AB="Good."),
    ]
    paired = make_pairs([house.make_row("Plan", rounds=rounds)], Pairs())
    assert paired.dropped == {"empty_side": 1, "same_text": 1, "think_tag": 1, "duplicate_pair": 1}
    assert sides(paired) == [(2, "AB", "B", 4), (3, "AB", "B", 4)]
    assert paired.considered == len(paired.examples) + sum(paired.dropped.values())


def test_panels_that_contradict_each_other_teach_nothing(house):
    rounds = [
        house.round_of(1, "B", {"A": 0, "B": 3, "AB": 3}, A="One.", B="Two.", AB="Three."),
        house.round_of(2, "B", {"A": 0, "B": 3, "AB": 3}, A="Two.", B="One.", AB="Three."),
    ]
    paired = make_pairs([house.make_row("Plan", rounds=rounds)], Pairs())
    assert paired.examples == [] and paired.dropped == {"contradicted": 2, "min_margin": 2}
    assert len(paired.without) == 1


def test_final_answer_against_the_draft(house):
    rounds = [
        house.round_of(1, "AB", {"A": 3, "B": 1, "AB": 5}),
        house.round_of(2, "A", {"A": 5, "B": 1, "AB": 3}),
        house.round_of(3, "B", {"A": 1, "B": 5, "AB": 3}),
    ]
    row = house.make_row("Plan", "The end.", rounds=rounds, draft="The start.")
    (example,) = make_pairs([row], Pairs(rejected="draft")).examples
    assert example.columns["rejected"] == [{"role": "assistant", "content": "The start."}]
    assert sides(make_pairs([row], Pairs(rejected="draft"))) == [(3, "final", "draft", 6)]


def test_a_single_pass_gives_no_pair(house):
    for settings in (Pairs(), Pairs(rejected="draft", min_margin=0)):
        paired = make_pairs([house.make_row("Plan")], settings)
        assert paired.examples == [] and len(paired.without) == 1
