"""Replies of models, in the forms that they have, read into prompts."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.prompts.expand_files import Seed, normal_form
from stillhouse.prompts.expand_replies import fault, no_prompts, read_reply

TWO = ["First prompt, for the school?", "Second prompt: what now?"]


@pytest.mark.parametrize(
    "reply",
    [
        "1. {0}\n2. {1}",
        "1) {0}\n\n2) {1}\n",
        "(1) {0}\n(2) {1}",
        "  1. {0}\n  2. {1}",
        "**1.** {0}\n**2.** {1}",
        "1. **{0}**\n2. **{1}**",
        '1. "{0}"\n2. “{1}”',
        "Here are two prompts:\n\n1. {0}\n2. {1}\n\nLet me know if you need more!",
        "Prompt 1: {0}\nPrompt 2: {1}",
        "1. Prompt 1: {0}\n2. **Prompt 2:** {1}",
        "### Prompt 1\n{0}\n\n### Prompt 2\n{1}",
        "**Prompt 1:**\n\n{0}\n\n**Prompt 2:**\n\n{1}",
        "- {0}\n- {1}",
        "* {0}\n* {1}",
        "• {0}\n• {1}",
        "Sure:\n- {0}\n\n- {1}",
        "```\n1. {0}\n2. {1}\n```",
        '["{0}", "{1}"]',
        '```json\n["{0}", "{1}"]\n```',
        'Here you are:\n```json\n["{0}", "{1}"]\n```\nGood luck!',
        'Here you are:\n["{0}", "{1}"]\nGood luck!',
        '{{"prompts": ["{0}", "{1}"]}}',
        '[{{"prompt": "{0}", "id": "a"}}, {{"prompt": "{1}", "id": "b"}}]',
        '{{"prompt": "{0}"}}\n{{"prompt": "{1}"}}',
        '["{0}", "{1}",]',
        '["{0}", "{1}"',
    ],
)
def test_forms_of_a_reply(reply: str) -> None:
    assert read_reply(reply.format(*TWO)) == TWO


def test_lines_below_an_item_belong_to_it() -> None:
    reply = "1. Review this:\n   - a\n   - b\n2. Next,\nwith more.\n\nAnd a paragraph.\n\n3. Last."
    assert read_reply(reply) == ["Review this:\n- a\n- b", "Next,\nwith more.\nAnd a paragraph.", "Last."]


def test_numbers_within_an_item_are_no_items() -> None:
    reply = "- At 12:30 we open,\n  1. first the door\n  2. then the shop\n- 3 doors are shut."
    assert read_reply(reply) == ["At 12:30 we open,\n1. first the door\n2. then the shop", "3 doors are shut."]


@pytest.mark.parametrize("reply", ["{0}\n\n{1}", "{0}\n{1}", "Two prompts:\n{0}\n{1}", "{0}\n{1}\n\nThat is all."])
def test_what_is_no_list_is_not_read(reply: str) -> None:
    text = reply.format(*TWO)
    assert (read_reply(text), read_reply(text, 1), no_prompts(text)) == ([], [], "no_list")


def test_one_line_is_a_prompt_only_where_one_is_wanted() -> None:
    assert (read_reply(TWO[0], 1), read_reply(f"```\n{TWO[0]}\n```", 1), read_reply(TWO[0])) == ([TWO[0]], [TWO[0]], [])
    for text in ("Sure! One prompt for you.", "I can’t do that.", "As an AI language model, I have no opinion."):
        assert read_reply(text, 1) == []


def test_a_remark_behind_a_list_is_no_part_of_its_last_item() -> None:
    assert read_reply("1. First.\n2. Second.\nLet me know if you would like more!") == ["First.", "Second."]
    assert read_reply('{"note": "Here you are.", "prompts": ["First.", "Second."]}') == ["First.", "Second."]


@pytest.mark.parametrize(
    "prompt",
    [
        "I can't open the till of the shop, what now?",
        "Sorry, I cannot make it to the fair. Could we move it?",
        "Let me know if you see a flaw in this plan: we move in May.",
        "Okay, our plan is to move the oven by May. Review it.",
        "I hope this finds you well. Our plan is to move in May.",
    ],
)
def test_what_a_user_says_is_no_refusal_and_no_chatter(prompt: str) -> None:
    assert fault(prompt, SEED, 4, 20) is None


@pytest.mark.parametrize("reply", ["", "  \n\n", "1.\n2.\n", "[]", "{}", "```\n```"])
def test_nothing_in_a_reply(reply: str) -> None:
    assert read_reply(reply) == []


def test_a_reply_that_no_file_could_hold_is_mended() -> None:
    assert read_reply('["Half a \\ud83d pair."]') == ["Half a ? pair."]


@pytest.mark.parametrize("reply", ["[" * 20_000, '[{"a":' * 3_000, " " * 50_000 + "x", "*" * 50_000])
def test_a_reply_of_nonsense_is_read_quickly_and_does_no_harm(reply: str) -> None:
    started = time.monotonic()
    assert len(read_reply(reply)) <= 1
    assert time.monotonic() - started < 10


def test_quotes_within_a_prompt_stay() -> None:
    assert read_reply('1. "Open" or "closed"?\n2. Say \'no\'.') == ['"Open" or "closed"?', "Say 'no'."]


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    assert all(item and item == item.strip() for item in read_reply(text))


WORDS = st.from_regex(r"[A-Za-z][a-z]{1,8}( [a-z]{1,9}){2,8}[.?]", fullmatch=True)


@given(st.lists(WORDS, min_size=2, max_size=8), st.sampled_from(["numbered", "bullets", "json"]))
def test_what_is_listed_is_read(prompts: list[str], form: str) -> None:
    lines = {
        "numbered": "\n".join(f"{number}. {prompt}" for number, prompt in enumerate(prompts, start=1)),
        "bullets": "\n".join(f"- {prompt}" for prompt in prompts),
        "json": json.dumps(prompts),
    }
    assert read_reply(lines[form]) == prompts


SEED = Seed("s", "Review: {WHO_ELSE} moves {WHAT} (all of it) by {DATE}.")


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("Review: the baker moves his oven (all of it) by May.", None),
        ("Review: the baker moves his oven by that date (date to be told).", None),
        ("Review: the baker moves his oven by (DATE).", "placeholder"),
        ("Review: {WHO_ELSE} moves the oven by May.", "placeholder"),
        ("Review: {NAME} moves the oven by May.", "placeholder"),
        ("Review: [who else] moves the oven by May.", "placeholder"),
        ("Review: [Your Name] moves the oven by May.", "placeholder"),
        ("Review the [plan](plan.md) and a[i] of the list by May.", None),
        ("Review: <What> is moved by May.", "placeholder"),
        ("Review: WHO_ELSE moves the oven by May.", "placeholder"),
        ("review who_else moves WHAT (all of it) by DATE", "template"),
        ("Move the oven.", "too_short"),
        ("Review: " + "very " * 30, "too_long"),
        ("Review a dict {x: 1} and a set {a, b} by May.", None),
        ("Show that $\\mathbb{R}$ is a complete ordered field today", None),
        ("Compute \\frac{A}{B} and \\sqrt{\\frac{A}{B}} for these two values", None),
        ("Compute \\frac{A}{B} for {WHAT} and its values", "placeholder"),
        ("Write a regex [a-z] or [A-Za-z_] or [aeiou]+ for this text", None),
        ("请向一位学生解释光合作用是如何进行的", None),
        ("光合作用" * 6, "too_long"),
        ("光合", "too_short"),
        ("量子力学の基本を説明してください。", None),
        ("อธิบายการสังเคราะห์", None),
        ("I'm sorry, but I can't help with that request.", "refusal"),
        ("Sure! Here are three prompts for you.", "chatter"),
        ("Let me know if you would like more!", "chatter"),
    ],
)
def test_what_is_wrong_with_a_prompt(prompt: str, reason: str | None) -> None:
    assert fault(prompt, SEED, 4, 20) == reason


@pytest.mark.parametrize(
    ("one", "other"),
    [("Is it OK?", "is it ok"), ("Ｆｕｌｌ  width", "full width"), ("a-b_c", "A B C"), ("Straße!", "STRASSE")],
)
def test_normal_forms_of_prompts_that_are_alike(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


def test_a_mark_makes_another_word() -> None:
    assert normal_form("राम की किताब!") == "राम की किताब" != normal_form("राम का किताब")
    assert normal_form("re\u0301sume\u0301") == normal_form("R\u00e9sum\u00e9")
