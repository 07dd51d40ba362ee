"""RE2 stands in for Python's `re` only where the two mean the same."""

import re
import warnings

import pyarrow as pa
import pytest
from filter_rows import texts
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.filters.patterns import any_of, is_neutral, literal_form, neutral, re2_form, search

SAME = [
    *(r"a", r"\bverdict\b", r"(?i)verdict", r"(?m)^verdict: (go|stop)$", r"[a-z]+\s*\d{2,3}?", r"[^\s,]{3}", r"(?s)a.b"),
    *(r"(?:ab)?c*", r"(?P<name>x)|y", r"\.\*\\", r"[\]\-\\]", r"a{0,5}b", r"(?i:a)b", r"\S\W\D", r"\x41", r"(?a)\w"),
    *(r"[Z-a]", r"(?i)[Z-a]", r"(?i)[^k]", r"\t\v\f", r"[\s]", r"[\d_-]", "a#b c", "(?im)^[k-s]$"),
]  # fmt: skip
LEFT_TO_PYTHON = [
    *(r"a$", r"(?<=a)b", r"a(?=b)", r"(a)\1", r"a++", r"(?>a)", r"\Ba", r"\Aa", r"a\Z", r"a{,3}", r"[a[:alpha:]]"),
    *(r"\N{BULLET}", r"\u2014", "\u00e9", r"(?x) a b", r"a{2000}", r"[\S]", r"[\W]", r"(?#x)a", r"a{", r"]"),
    *(r"(?P<a>x)(?P=a)", r"(?-i:a)", r"(?m:a$)", r"[\xe9]"),
]  # fmt: skip


@pytest.mark.parametrize("pattern", LEFT_TO_PYTHON)
def test_what_re2_may_read_otherwise_is_left_to_python(pattern):
    assert re2_form(re.compile(pattern)) is None


@settings(deadline=None, max_examples=300)
@given(st.lists(texts, min_size=1, max_size=5))
def test_forms_find_what_python_finds(found):
    strings = pa.array(found, pa.string())
    for text in SAME:
        pattern = re.compile(text)
        form = re2_form(pattern)
        assert form is not None, text
        expected = [pattern.search(one) is not None for one in found]
        assert search(strings, lambda one, own=pattern: own.search(one) is not None, form).tolist() == expected, text


_atoms = st.one_of(
    st.sampled_from([r"\w", r"\s", r"\S", r"\b", r"\d", ".", "^", "a", "K", "1", " ", "-", r"\.", "\n", r"\n", "_"]),
    st.text(st.sampled_from("az-AZ09_ ,;\\sdw"), min_size=1, max_size=4).map(lambda text: f"[{text}]"),
)
_patterns = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "*?", "{1,}?"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(["", "(?i)", "(?m)", "(?s)", "(?ims)"]),
    _patterns,
    st.lists(st.text(st.sampled_from("aAkKzZ019_ -.,\n\t\v\x1c\x00\u2014\u2019"), max_size=8), max_size=8),
)
def test_any_pattern_with_a_form_finds_what_python_finds(flags, text, found):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            pattern = re.compile(flags + text)
    except re.error:
        return
    form = re2_form(pattern)
    if form is not None:
        expected = [pattern.search(one) is not None for one in found]
        assert search(pa.array(found, pa.string()), lambda one: False, form).tolist() == expected


def test_neutral_characters_have_neither_case_nor_class():
    for number in range(0x80, 0x110000):
        one = chr(number)
        if not is_neutral(one):
            continue
        assert not (one.isalnum() or one.isspace() or one.isdigit()) and one.lower() == one.upper() == one.casefold()
        assert re.match(r"\W\Z", one) and re.match(r"\S\Z", one) and not re.match(r"[a-z]", one, re.IGNORECASE)
    assert (
        is_neutral("\u201cIt\u2019s \u2014 well \u2026\u201d \u2022")
        and not is_neutral("caf\u00e9")
        and not is_neutral("\u2028")
    )


@given(st.lists(texts))
def test_neutral_is_told_the_same_of_many(found):
    assert neutral(pa.array(found, pa.string())).tolist() == [is_neutral(one) for one in found]


@given(texts, texts)
def test_literals_are_found_as_in_lower_case(literal, text):
    form = literal_form(literal.lower())
    if form is None:
        assert not (is_neutral(text) and literal.lower() in text.lower())
    elif literal:
        plain = lambda one: literal.lower() in one.lower()  # noqa: E731
        assert search(pa.array([text], pa.string()), plain, form).tolist() == [plain(text)]


def test_one_form_for_many():
    assert any_of(["a", None]) is None and any_of([]) is None
    assert any_of(["(?i:a)", "b"]) == "(?i:a)|b"
