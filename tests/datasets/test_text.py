"""Words, normal forms and shingles."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets.text import (
    count_contractions,
    count_words,
    jaccard,
    normal_form,
    repeated_share,
    runs,
    shingles,
    tokens,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("...", 0),
        ("Don't stop the load-bearing wall.", 5),
        ("Грузовик стоит", 2),
        ("你好 世界", 4),
        ("3.5 km", 3),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902 \u0932\u093f\u0916\u094b", 3),  # Hindi, vowel signs
        ("\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f", 1),  # Arabic with short vowels
        ("re\u0301sume\u0301 l\u2019e\u0301te\u0301", 2),  # letters taken apart (NFD)
        ("r\u00e9sum\u00e9 l\u2019\u00e9t\u00e9", 2),
        ("\u304b\u3099\u304d", 2),  # kana with a voicing mark
        ("\u0301 \u0301", 0),
        ("\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4", 2),
    ],
)
def test_count_words(text, count):
    assert count_words(text) == count


@given(st.text())
def test_letters_taken_apart_count_as_whole_ones(text):
    composed = unicodedata.normalize("NFC", text)
    assert count_words(unicodedata.normalize("NFD", composed)) == count_words(composed)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Don't, can\u2019t, couldn't've", 4),
        ("I'd say we're late; they'll know, I'm sure you've heard", 5),
        ("IT'S what's there: let's go, he's in", 4),
        ("the plan's end, James' mill, rock'n'roll, 'tis, the 1990's", 0),
        ("n't 'd 's", 0),
    ],
)
def test_count_contractions(text, count):
    assert count_contractions(text) == count


@pytest.mark.parametrize(
    ("text", "size", "share"),
    [
        ("", 4, 0.0),
        ("a b c", 4, 0.0),
        ("a b c d", 4, 0.0),
        ("a b a b a b", 2, 0.6),
        ("Go on. Go ON, go on!", 2, 0.6),
        ("no no no no", 1, 0.75),
    ],
)
def test_repeated_share(text, size, share):
    assert repeated_share(text, size) == pytest.approx(share)


@given(st.text(alphabet="ab ", max_size=40), st.integers(1, 5))
def test_repeated_share_counts_runs_that_stood_before(text, size):
    words = tokens(text)
    every = [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]
    repeats = sum(run in every[:at] for at, run in enumerate(every))
    assert repeated_share(text, size) == pytest.approx(repeats / len(every) if every else 0.0)


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
