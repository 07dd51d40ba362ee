"""Which answer a judge chose, out of replies as judges write them."""

import itertools
import json
import time
from typing import Any

import pytest

from stillhouse.evaluation.choices import SHOWN, SLOTS, axis_choice, read_reply, unblind

CHOSEN = {
    "A": [
        "A", "a", " A.\n", "**A**", '"A"', "[[A]]", "[[A>B]]", "A > B", "Response A", "Option A:", "the answer A",
        "Answer A is better", "A is better than B", "Assistant A wins", "A\n\nBecause B is better on style but long.",
        "VERDICT: A", "verdict: a", "**Verdict:** Response A", "overall: A - more concrete", "A\nA", "\u202eA",
        "framework-A: 4\nframework-B: 2\noverall: A\nrationale: B is longer", "verdict: A, because B is long",
        "Response A: good\nResponse B: bad\nOverall, Response A is better.", "I prefer Response A because it is short.",
        "I choose A over B", "The answer is A", '{"winner": "A"}', '{"winner": "A", "rationale": "B is better padded"}',
        '```json\n{"preference": "A is better than B"}\n```', "{'pick': 'response_a',}", '"overall": "A"',
        "<think>B is better</think>A", "hm, B is better, no </think> A", '{"result": {"verdict": {"choice": "A"}}}',
        '{"axes": {"fidelity": "B"}, "overall": "A"}', '{"fidelity": {"winner": "B"}, "overall": {"winner": "A"}}',
        "A\n\nThe answer is concise.", "A\n\nOverall: it names a date.", "Verdict\n\nA", "VERDICT:\nA", "overall: 8\noverall: A", '{"overall": 8, "winner": "A"}',
        "(A)", "A because B is wrong", "A, but B is close", "A. B is weaker because it rambles", "Response A is better",
        "A because it is clearer than B.", "A: more concrete than B: it names a date", "A, not B", "A. It beats B.",
        "Option (A)", "Option (A) because it is short", "\\boxed{A}", "The answer is $\\boxed{A}$.", "<answer>A</answer>",
        "It is short.\n<verdict> A </verdict>", "Overall, A.", "Winner - A", "Verdict - A", "OVERALL \u2014 A", "slightly A",
        "A slightly", "I would choose A.", "I choose: A", "B is not the winner; A is.", "<think>B is long\nVERDICT: A",
    ],
    "TIE": [
        "TIE", "tie.", "Tie", "A tie.", "a draw", "It's a tie", "VERDICT: a tie", "- overall: TIE", "VERDICT: **TIE**",
        "Neither", "Neither is better", "neither response is better", "Both equal", "Both responses are equally good.",
        "They are tied", "No difference", "no clear winner", "[[A=B]]", '{"verdict": "tie"}', "Final verdict: TIE — both fine",
    ],
    None: [
        "", "  \n", "UNCLEAR", "C", "AB", "Both", "A or B", "A/B", "A and B", "VERDICT: A or B", "verdict: A, B",
        "A\nB", "B\nVERDICT: A", "VERDICT: A\nVERDICT: B", '{"winner": "A"} {"winner": "B"}', '{"winner": null}',
        '{"overall": "tie", "winner": "A"}', '{"winner": "A", "winner": "B"}', "**Response A**\nx\n**Response B**\ny",
        "A slight edge to B", "Overall: A slight preference for B", "A is worse", "I would not say A is better.",
        "If A is better, so is B.", "Result: see above", '{"winner": "A", "rationale": "cut', "<think></think>",
        "<think>A is better, I think", "{" * 3000, "I cannot compare these.", "A is better, B is better", "7",
        "A: 3, B: 4", "Response A: 7/10, Response B: 9/10", "A: 7/10; B: 9/10", "A: 7/10 B: 9/10", "A - 3 points, B - 5 points",
        "A (7), B (9)", "A: 3", "A: 2 stars", "A: two stars", "A: poor. B: good.", "A. Too long. B. Concise.", "A; B", "A. B.",
        "Response A: verbose. Response B: concise.", "A, no, B", "A - worse", "A (worse)", "A: weaker", "A: the weaker one",
        "A. Response A is weaker.", "Verdict: A: 3, B: 4", '{"winner": "A: 3, B: 4"}', "Winner: A, no, B", "Verdict: A: good\nB: bad",
        "A: good B: bad", "A because it is short, B because it is right", "Verdict: A is better. B is better.", "<answer>A is better\nB is better",
        "Tie, leaning A", "No clear winner, but A", "TIE\nA slightly", "VERDICT: TIE\nA slightly", "Tie, though A is better than B",
        "TIE\nI prefer A.", "TIE. Slight edge to A.", "A+", "A-", "**A-**", "Verdict: A+", "<think>A is better", "<think>My choice: A, but",
        "<think>I prefer A.", "I would choose A, if it were shorter.", "If I would choose A.", "<answer>A: 3, B: 4</answer>",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("text", "choice"), [(text, choice) for choice, texts in CHOSEN.items() for text in texts])
def test_published_replies(text: str, choice: str | None) -> None:
    found = read_reply(text, SLOTS)
    assert found.choice == choice
    assert (found.reason or "unclear").startswith("unclear")
    assert (found.reason is None) == (choice is not None)


@pytest.mark.parametrize(("text", "choice"), [(text, choice) for choice, texts in CHOSEN.items() for text in texts])
def test_swapped_labels_swap_the_choice(text: str, choice: str | None) -> None:
    if "a draw" in text.lower() or "a tie" in text.lower() or "a slight" in text.lower():
        return  # here A is a word, not a label
    swapped = text.translate(str.maketrans("AB", "BA")).replace("Bnswer", "Answer").replace("Bssist", "Assist")
    swapped = (
        swapped.replace("Aoth", "Both")
        .replace("Aecause", "Because")
        .replace("UNCLEBR", "UNCLEAR")
        .replace("OVERBLL", "OVERALL")
    )
    swapped = swapped.replace('"response_a', '"response_b').replace("'response_a", "'response_b")
    swapped = "b" if text == "a" else swapped.replace("verdict: a", "verdict: b") if "verdict: a" in text else swapped
    assert read_reply(swapped, SLOTS).choice == {"A": "B", "B": "A"}.get(choice or "", choice)


def test_axes_and_words_of_a_published_reply() -> None:
    found = read_reply(
        "framework-fidelity-A: 4\nframework-fidelity-B: 3/5\n**usefulness-A:** 4\nusefulness-B: 4\nvoice-A: 2\n"
        "tone-A: 1\ntone-B: 2\ntone-A: 3\nResponse A: 3\nResponse B: 4\noverall: A\nrationale: It names the risk.\nAnd more.",
        SLOTS,
    )
    assert found.axes == {"framework-fidelity": "A", "usefulness": "TIE"}
    assert (found.choice, found.explanation) == ("A", "It names the risk. And more.")
    told = read_reply('{"fidelity": {"A": 4, "B": 5}, "useful_A": 3, "useful_B": 1, "winner": "B", "why": "x"}', SLOTS)
    assert (told.axes, told.explanation) == ({"fidelity": "B", "useful": "A"}, "x")
    assert read_reply("tone: B\nVERDICT: A", SLOTS, ["Tone"]).axes == {"Tone": "B"}
    assert read_reply("A\n\nBecause it is\nshort.", SLOTS).explanation == "Because it is short."
    assert read_reply("A", SLOTS).explanation is None


def test_live_labels() -> None:
    assert read_reply("Answer 2 is better than Answer 1.", SHOWN).choice == "2"
    assert read_reply('{"verdict": 1}', SHOWN).choice == "1"
    assert read_reply("1 / 2", SHOWN).choice is None
    assert read_reply("1. The second names a date.", SHOWN).choice is None


@pytest.mark.parametrize("text", ["VERDICT: 1 (7), 2 (9)", "Verdict: 1: 7, 2: 9", "VERDICT: 1.5", "VERDICT: 1 - worse"])
def test_live_scores_are_no_choice(text: str) -> None:
    assert read_reply(text, SHOWN).choice is None
    assert read_reply("VERDICT: 1. 2 is weaker because it rambles", SHOWN).choice == "1"


def test_replies_that_say_the_like_of_both_are_never_a_choice() -> None:
    words = ("good", "poor", "too long", "3", "7/10", "4 stars", "weaker", "because it is short", "90%", "no")
    between, joins = (": ", " - ", ". ", "; ", " (", ", ", " = "), ("; ", ", ", ". ", " | ", "\n", " and ", ", but ")
    keys, names = ("", "Verdict: ", "Winner - ", "The answer is "), ("", "Response ", "Option ")
    for key, name, mark, join, (one, two) in itertools.product(
        keys, names, between, joins, itertools.combinations(words, 2)
    ):
        if "because" in one + two:
            one = two = "because it is short"
        end = ")" if mark == " (" else ""
        text = f"{key}{name}A{mark}{one}{end}{join}{name}B{mark}{two}{end}"
        assert read_reply(text, SLOTS).choice not in ("A", "B"), text
        if not key and join == "; ":
            assert read_reply(json.dumps({"winner": text}), SLOTS).choice not in ("A", "B"), text


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        ("A", "A"), (" b ", "B"), ("tie.", "TIE"), ("UNCLEAR", None), ("", None), (None, None), ("C", None),
        ({"A": "4/5", "B": "3/5"}, "A"), ({"A": "4", "B": 5}, "B"), ({"A": 4, "B": 4.0}, "TIE"), ({"A": "4/5", "B": 3}, "A"),
        ({"A": "4/5", "B": "7/10"}, None), ({"A": None, "B": 3}, None), ({"A": "high", "B": 3}, None), ({"A": 10**400, "B": 3}, None),
    ],
)  # fmt: skip
def test_axis_of_a_recorded_line(value: Any, choice: str | None) -> None:
    assert axis_choice(value) == choice


@pytest.mark.parametrize(
    "value", [["A"], 3, True, {"A": 3}, {"A": 3, "B": 4, "C": 5}, {"x": 1}, {"A": [3], "B": 4}, {}]
)
def test_axis_of_a_wrong_type(value: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        axis_choice(value)


def test_unblind_slots() -> None:
    assert [unblind(c, "first_second", SLOTS) for c in ("A", "B", "TIE", None)] == ["first", "second", "tie", None]
    assert [unblind(c, "second_first", SLOTS) for c in ("A", "B", "TIE", None)] == ["second", "first", "tie", None]


@pytest.mark.parametrize(
    "text",
    [
        "verdict" + " " * 10**6, "a:" + "." * 10**6 + "x", '{"a":1}' * 10**5, "".join(f'{{"a{n}":1}}' for n in range(10**5)),
        "{" * 10**6, '{"' + "x" * 10**6, "verdict is " * 10**5, "*" * 10**6 + "A", "both are " * 10**5,
        ("a:" + "." * 190 + "x\n") * 5000 + "VERDICT: A", ("x" * 100 + " - " * 20 + "A: \n") * 5000 + "VERDICT: A",
        "A: " + "B " * 500_000, "A. " + "x. " * 330_000, "A. " + "." * 10**6 + "B", "A: " + "response " * 110_000, "TIE, " + "A is " * 200_000,
        "\\boxed{" * 140_000, "<answer>" * 125_000, "A (" + "*" * 10**6 + "B", "A" + " " * 10**6 + "B", "I would " * 125_000 + "choose A",
        "A is better, but " * 60_000, "slightly " * 110_000 + "A", "B is not the winner; " * 45_000, "Overall, " * 110_000, "verdict: A: x\n" * 70_000,
    ],
    ids=range(26),
)  # fmt: skip
def test_a_megabyte_is_read_in_no_time(text: str) -> None:
    started = time.process_time()
    assert read_reply(text, SLOTS).choice in (None, "A")
    assert time.process_time() - started < 2
