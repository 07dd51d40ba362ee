"""Words, normal forms and shingles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets.text import count_words, jaccard, normal_form, runs, shingles


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("...", 0),
        ("Don't stop the load-bearing wall.", 5),
        ("Грузовик стоит", 2),
        ("你好 世界", 4),
        ("3.5 km", 3),
    ],
)
def test_count_words(text, count):
    assert count_words(text) == count


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What's the plan?", "what is   the PLAN"),
        ("A well-known “plan”!", "a well known plan"),
        ("don\u2019t", "don't"),
        ("\ufb01ne Straße", "FINE STRASSE"),
        ("is 3*4 right", "Is 3 * 4 right?"),
    ],
)
def test_same_normal_form(first, second):
    assert normal_form(first) == normal_form(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [("What is 3-4?", "What is 3+4?"), ("What is 3*4?", "What is 3/4?"), ("C", "C#"), ("C", "C++"), ("🙂", "🙁"),
     ("at -3 degrees", "at 3 degrees"), ("2.5", "25"), ("???", "!!!")],
)  # fmt: skip
def test_other_normal_form(first, second):
    assert normal_form(first) != normal_form(second)


@given(st.text(alphabet="abc xyz", min_size=1))
def test_case_punctuation_and_spacing_do_not_count(text):
    assert normal_form(text.upper().replace(" ", " , ") + "!") == normal_form(text) or not text.strip()


def test_shingles_of_short_texts():
    assert shingles("Hello") == {("hello",)}
    assert shingles("Hello there") == {("hello", "there")}
    assert shingles("?!") == {("?!",)}
    assert runs(["a", "b"], 3) == set()


@given(st.frozensets(st.integers(0, 9)), st.frozensets(st.integers(0, 9)))
def test_jaccard(first, second):
    assert 0.0 <= jaccard(first, second) == jaccard(second, first) <= 1.0
    assert jaccard(first, first) == (1.0 if first else 0.0)
