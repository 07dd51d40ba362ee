"""No think tag ever reaches an answer, and no text is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.llm.reasoning import TAG, split_reasoning


@pytest.mark.parametrize(
    ("text", "answer", "reasoning", "flags"),
    [
        ("Plain.", "Plain.", None, ()),
        ("", "", None, ()),
        ("<think>why</think>Answer.", "Answer.", "why", ()),
        ("<think>\n\n</think>\n\nAnswer.", "Answer.", None, ()),
        ("<THINKING>why</Thinking> Answer.", "Answer.", "why", ()),
        ("why</think>Answer.", "Answer.", "why", ("unopened_think",)),
        ("<think>Answer without an end", "Answer without an end", None, ("unclosed_think",)),
        ("Before <think>why</think> after", "Before  after", "why", ()),
        ("<think>a<think>b</think>c</think>Answer.", "Answer.", "abc", ()),
        ("<think>a</think>One.<think>b</think>Two.", "One.Two.", "ab", ()),
        ("< think >why</ think >Answer.", "Answer.", "why", ()),
        ("<think>why</think>", "", "why", ()),
        ("<reasoning>why</reasoning>Answer.", "Answer.", "why", ()),
        ("<THOUGHT>why</thoughts>Answer.", "Answer.", "why", ()),
        ('<think time="3s" id=1>why</think >Answer.', "Answer.", "why", ()),
        ("One.<think/>Two.", "One.Two.", None, ()),
        ("<thinker>is a word</thinker>", "<thinker>is a word</thinker>", None, ()),
        ("I think < that > is </thought-out>", "I think < that > is </thought-out>", None, ()),
        ("<th<think>why</think>ink>Answer.", "Answer.", "why", ("unclosed_think",)),
        ("a</think>b</think>Answer.", "Answer.", "ab", ("unopened_think",)),
        ("<think>a<think>b</think>Answer", "Answer", "ab", ("unclosed_think",)),
    ],
)
def test_forms(text: str, answer: str, reasoning: str | None, flags: tuple) -> None:
    split = split_reasoning(text)
    assert (split.answer, split.reasoning, split.flags) == (answer, reasoning, flags)


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("<think>on and on", "", "on and on"),
        ("Yes. <think>on and on", "Yes.", "on and on"),
        ("<think>a</think>Half an ans", "Half an ans", "a"),
        ("<think>a<think>b</think>on", "", "abon"),
        ("Half an ans", "Half an ans", None),
    ],
)
def test_a_truncated_text_inside_a_block_was_still_reasoning(text: str, answer: str, reasoning: str | None) -> None:
    split = split_reasoning(text, truncated=True)
    assert (split.answer, split.reasoning) == (answer, reasoning)


PIECES = st.sampled_from(
    ["<think>", "</think>", "<thinking>", "</THINK>", "<thought a='1'>", "</reasoning>", "<think/>", "a", "b ", "\n"]
    + ["<", ">", "think", "/", "<th", "ink>", "</th", " ", "=", "<think"]
)


@given(st.lists(PIECES | st.text(max_size=8), max_size=14).map("".join), st.booleans())
def test_no_tag_stays_and_no_word_is_lost(text: str, truncated: bool) -> None:
    split = split_reasoning(text, truncated=truncated)
    assert not TAG.search(split.answer)
    kept = sorted((split.answer + (split.reasoning or "")).replace(" ", ""))
    wanted = sorted(TAG.sub("", text).replace(" ", ""))
    assert [c for c in kept if not c.isspace()] == [c for c in wanted if not c.isspace()]
