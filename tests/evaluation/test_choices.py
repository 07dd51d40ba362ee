"""Which answer a judge chose, out of replies as judges write them."""

import time

import pytest

from stillhouse.evaluation.choices import SHOWN, SLOTS, read_reply, unblind

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
    swapped = swapped.replace("Aoth", "Both").replace("Aecause", "Because").replace("UNCLEBR", "UNCLEAR")
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


def test_unblind_slots() -> None:
    assert [unblind(c, "first_second", SLOTS) for c in ("A", "B", "TIE", None)] == ["first", "second", "tie", None]
    assert [unblind(c, "second_first", SLOTS) for c in ("A", "B", "TIE", None)] == ["second", "first", "tie", None]


@pytest.mark.parametrize(
    "text",
    [
        "verdict" + " " * 10**6, "a:" + "." * 10**6 + "x", '{"a":1}' * 10**5, "".join(f'{{"a{n}":1}}' for n in range(10**5)),
        "{" * 10**6, '{"' + "x" * 10**6, "verdict is " * 10**5, "*" * 10**6 + "A", "both are " * 10**5,
        ("a:" + "." * 190 + "x\n") * 5000 + "VERDICT: A", ("x" * 100 + " - " * 20 + "A: \n") * 5000 + "VERDICT: A",
    ],
    ids=range(11),
)  # fmt: skip
def test_a_megabyte_is_read_in_no_time(text: str) -> None:
    started = time.monotonic()
    assert read_reply(text, SLOTS).choice in (None, "A")
    assert time.monotonic() - started < 5
