"""Texts that a kernel cuts out of single turns are those that the JSON reader finds."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets import kernels, messages
from stillhouse.provenance.digests import canonical_json

TEXTS = ["", "plain", 'a "quote"', "back\\slash", "two\nlines\t\r\b\f", "café — “so” 👍", "/", "\\n", '\\"', "x" * 500]


def told(text: str, role: str = "user") -> str:
    return canonical_json([{"role": role, "content": text}])


@pytest.fixture(autouse=True)
def _always_compiled(monkeypatch):
    monkeypatch.setattr(kernels, "worth", lambda count: True)


def cut(listed: list[str]) -> list[str] | None:
    found = messages._single_turns(pa.array(listed, pa.string()))
    return None if found is None else found.to_pylist()


def test_single_turns():
    assert cut([told(text) for text in TEXTS]) == TEXTS
    whole = messages.parse_plain(pa.array([told(text) for text in TEXTS]))
    assert whole.to_pylist() == [[{"role": "user", "content": text}] for text in TEXTS]
    assert whole.type == messages.PLAIN


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_texts(texts):
    listed = [told(text) for text in texts]
    found = cut(listed)
    assert found is None or found == texts
    plain = all(char >= " " or char in "\n\t\r\b\f" for text in texts for char in text)
    assert (found is not None) == plain
    assert messages.parse_plain(pa.array(listed)).to_pylist() == [json.loads(one) for one in listed]


def test_a_part_of_an_array():
    whole = pa.array([told("left out"), told("first"), told("second"), told("left out, too")])
    assert messages._single_turns(whole.slice(1, 2)).to_pylist() == ["first", "second"]


OTHERS = [
    told("hello", role="system"),
    canonical_json([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
    canonical_json([{"role": "user", "content": "a", "name": "b"}]),
    '[{"content":"a","role":"user"}, {"content":"b","role":"user"}]',
    '[{"content":"a","role":"user","content":"b","role":"user"}]',
    '[{"content":"a\\","role":"user"}]',
    '[{"content":"\\u0041","role":"user"}]',
    '[{"content":"\\x","role":"user"}]',
    '[{"content":"a\nb","role":"user"}]',
    '[{"content":"","role":"user"}',
    '[{"content":',
    "",
    "[]",
    "null",
]


@pytest.mark.parametrize("other", OTHERS)
def test_everything_else_is_left_to_the_reader(other):
    assert cut([told("a"), other]) is None
