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
    ],
)
def test_forms(text: str, answer: str, reasoning: str | None, flags: tuple) -> None:
    split = split_reasoning(text)
    assert (split.answer, split.reasoning, split.flags) == (answer, reasoning, flags)


PIECES = st.sampled_from(["<think>", "</think>", "<thinking>", "</THINK>", "a", "b ", "\n", "<", ">", "think", "/"])


@given(st.lists(PIECES | st.text(max_size=8), max_size=14).map("".join))
def test_no_tag_stays_and_no_word_is_lost(text: str) -> None:
    split = split_reasoning(text)
    assert not TAG.search(split.answer)
    kept = sorted((split.answer + (split.reasoning or "")).replace(" ", ""))
    wanted = sorted(TAG.sub("", text).replace(" ", ""))
    assert [c for c in kept if not c.isspace()] == [c for c in wanted if not c.isspace()]
