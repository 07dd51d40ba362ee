"""Rows, batches and texts for the tests of filters."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import strategies as st

from stillhouse.datasets.batches import COLUMN_TYPES, Batch
from stillhouse.datasets.filters.base import RowFilter, keep_mask
from stillhouse.datasets.filters.registry import make_filters
from stillhouse.datasets.filters.user import ROW_COLUMNS
from stillhouse.study.filters import Filter


class WordTokens:
    """A counter whose tokens are what stands between spaces."""

    def count(self, texts: Iterable[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def row_of(answer: str | None = "A sound answer.", prompt: str = "Is it sound?", **other: Any) -> dict[str, Any]:
    """A row of answers.parquet."""
    messages = other.pop("messages", [{"role": "user", "content": prompt}])
    row = dict.fromkeys(ROW_COLUMNS)
    return {
        **row, "prompt_id": "p1", "set": "plans", "id": "one", "prompt": prompt, "answer": answer, "draft": answer,
        "messages": messages if isinstance(messages, str) else json.dumps(messages, ensure_ascii=False),
        "truncated": False, "transcript": '{"rounds":[]}', **other,
    }  # fmt: skip


def batch_of(rows: list[Mapping[str, Any]]) -> Batch:
    """A batch of rows, as the scan reads it."""
    fields = [(name, COLUMN_TYPES.get(name, pa.string())) for name in ROW_COLUMNS]
    return Batch(0, "plans", 0, pa.RecordBatch.from_pylist(list(rows), schema=pa.schema(fields)))


def made(setting: Mapping[str, Any], files: Mapping[str, Any] | None = None, **more: Any) -> RowFilter:
    """The filter of one setting, under the reason that its key is."""
    (one,) = make_filters([Filter(**setting)], files or {}, counter=WordTokens(), **more)
    assert one.reason == next(iter(setting))
    return one


def keeps(setting: Mapping[str, Any] | RowFilter, row: Mapping[str, Any], **more: Any) -> bool:
    """Whether the filter keeps the row, the same by `keep` and in a batch."""
    one = made(setting, **more) if isinstance(setting, Mapping) else setting
    kept = one.keep({name: row[name] for name in one.columns})
    assert isinstance(kept, bool)
    agree(one, [row])
    return kept


def agree(one: RowFilter, rows: list[Mapping[str, Any]]) -> None:
    """`keep_mask` (by the filter's mask where it has one) tells of every row what `keep` tells."""
    found = keep_mask(one, batch_of(rows), np.ones(len(rows), dtype=bool))
    assert found.dtype == bool
    expected = [one.keep({name: row[name] for name in one.columns}) for row in rows]
    different = [row["answer"] for row, left, right in zip(rows, found, expected, strict=True) if left != right]
    assert different == []


def dropped(setting: Mapping[str, Any], answers: list[str]) -> list[str]:
    """The answers that the filter drops in a batch."""
    kept = keep_mask(made(setting), batch_of([row_of(one) for one in answers]), np.ones(len(answers), dtype=bool))
    return [one[:80] for one, stays in zip(answers, kept, strict=True) if not stays]


def hinted(hint: str, text: str) -> bool:
    """Whether RE2 finds the hint in a text."""
    return pc.match_substring_regex(pa.array([text]), hint)[0].as_py()


PIECES = [
    *("Verdict: Hold.", "keystone", "KEYSTONE", "lean on", "as an AI language model", "I'm sorry, but I can't help"),
    *("I\u2019m sorry, but I can\u2019t", "<think>", "</THINK >", "\u25c1think\u25b7", "don't we'll it's", "\r\n", "\n"),
    *("\x00", "\x0b", "\x1c", "\x85", "\u00a0", "\u2028", "\u3000", "\u200b", "\u212a\u017f\u0131\u0130", "\ufb01", "e\u0301"),
    *("\u6a4b\u306f", "\U0001f600", "stra\u00dfe \u1e9e", "\u0660\u0661", "a b c d a b c d", "jane.roe@mail.org", "+49 30 901820"),
    *("GB82 WEST 1234 5698 7654 32", "4539 5787 6362 1486", "93.184.216.34", "hf_aB3dE5gH7jK9mN1pQ3rS5tU7", '"', "\\", "/"),
    *("\u2014 \u201cq\u201d \u2026", "```python\nx = (\n```", "```json\n{}\n```", "{", "}", "[1, 2]", "1", " ", "."),
]  # fmt: skip

texts = st.one_of(
    st.text(max_size=60),
    st.text(
        st.characters(codec="utf-8", categories=["Zs", "Cc", "Lu", "Ll", "Nd", "Pd", "Po", "Pi", "Pf"]), max_size=40
    ),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=9).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=9).map("".join),
).map(lambda text: text.encode("utf-8", "ignore").decode())
"""Texts of all scripts, mixed with what the filters look for."""
