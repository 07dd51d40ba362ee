"""Words in every script: what belongs together, what is counted, and what is searched."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.llm.words import count_units, search_terms, units_of, words_of


@pytest.mark.parametrize(
    ("text", "words", "terms"),
    [
        ("Don't, a_b!", ["Don", "t", "a", "b"], ["don", "t", "a_b"]),
        ("राम की किताब", ["राम", "की", "किताब"], ["राम", "की", "किताब"]),
        ("光合作用？", ["光合作用"], ["光合", "合作", "作用"]),
        ("Python编程 光", ["Python编程", "光"], ["python", "编程", "光"]),
        ("อธิบาย", ["อธิบาย"], ["อธิ", "ธิบ", "บา", "าย"]),
        ("한국어 문장", ["한국어", "문장"], ["한국어", "문장"]),
        ("\u0301 \u200d ?", [], []),
    ],
)
def test_words_and_terms(text: str, words: list[str], terms: list[str]) -> None:
    assert (words_of(text), search_terms(text)) == (words, terms)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Two words, a - b", ["Two", "words,", "a", "-", "b"]),
        ("「光」合。abc「作", ["「光」", "合。", "abc「", "作"]),
        ("ภาษา ไทย", ["ภ", "า", "ษ", "า", "ไ", "ท", "ย"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
    ],
)
def test_units(text: str, units: list[str]) -> None:
    assert [text[start:end] for start, end in units_of(text)] == units
    assert count_units(text) == len(units)


@given(st.text(max_size=80))
def test_units_hold_everything_but_space(text: str) -> None:
    assert "".join(text[start:end] for start, end in units_of(text)) == "".join(text.split())
    assert all(term == term.strip() and term for term in search_terms(text))


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=80))
def test_what_is_written_with_spaces_counts_as_ever(text: str) -> None:
    assert [text[start:end] for start, end in units_of(text)] == text.split()


@pytest.mark.parametrize(
    "text", ["«" * 200_000 + " 光", "-x" * 200_000, "e\u0301" * 200_000, "\u0301" * 200_000, "光。" * 200_000]
)
def test_long_texts_are_read_quickly(text: str) -> None:
    started = time.monotonic()
    words_of(text), units_of(text), search_terms(text)
    assert time.monotonic() - started < 10
