"""Makes rows of prompts out of records: columns by the study's mapping, categories by its rules, stable ids."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import pyarrow as pa

from stillhouse.prompts.flaws import LONGEST, Flaw
from stillhouse.prompts.messages import conversation, identity_of, last_user_text, texts_of, tools_of
from stillhouse.prompts.paths import lookup, without
from stillhouse.prompts.records import nul_character
from stillhouse.provenance.digests import canonical_json
from stillhouse.study.prompt_sets import Categorise

SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("set", pa.string()),
        ("id", pa.string()),
        ("category", pa.string()),
        ("difficulty", pa.string()),
        ("prompt", pa.string()),
        ("messages", pa.string()),
        ("metadata", pa.string()),
        ("tools", pa.string()),
    ]
)

Row = dict[str, Any]

OWN_KEYS = ("id", "prompt", "messages", "category", "difficulty", "tools")
ANSWER_KEYS = ("response", "judge", "components", "judge_overall", "recorded_overall", "critical_failures")
"""Keys of recorded answers and judgements: they tell nothing about the prompt."""


class RowMaker:
    """Makes the rows of one prompt set; `schema` are their columns, `order` those that they are sorted by.

    Args:
        set_name: name of the set.
        columns: own field -> column or dotted path of the source.
        rules: categories by rule; the first that fits holds.
        recorded: whether keys of recorded answers are left aside.
    """

    keys: tuple[str, ...] = OWN_KEYS
    schema = SCHEMA
    order: tuple[str, ...] = ("prompt_id",)

    def __init__(
        self,
        set_name: str,
        columns: Mapping[str, str] | None = None,
        rules: Sequence[Categorise] = (),
        *,
        recorded: bool = False,
    ) -> None:
        self._set, self._columns, self._recorded = set_name, dict(columns or {}), recorded
        self._rules = [_rule(rule) for rule in rules]

    def row(self, entry: Any) -> Row:
        """The row of one record. Raises `Flaw`."""
        fields, rest = self.fields(entry)
        return self.made(entry, fields, rest, conversation(fields.get("prompt"), fields.get("messages")), {})

    def made(self, entry: Row, fields: Row, rest: Row, messages: list[Row], more: Row) -> Row:
        """The row of a record with these fields and this prompt, and with `more` columns of text. Raises `Flaw`."""
        tools = tools_of(fields.get("tools"))
        try:
            written, held = canonical_json(messages), canonical_json(tools) if tools else None
            metadata = canonical_json(rest) if rest else "{}"
            if self._recorded:
                metadata = canonical_json({key: value for key, value in rest.items() if key not in ANSWER_KEYS})
        except ValueError:
            raise Flaw("not_finite", "not JSON (NaN is not a JSON value, and neither is an infinity)") from None
        except (TypeError, RecursionError) as error:
            raise Flaw("wrong_type", f"a value that JSON cannot hold ({error})") from None
        identity = identity_of(written, held)
        category = next((c for rule in self._rules if (c := rule(entry, fields, messages))), fields.get("category"))
        row = {
            "prompt_id": identity,
            "set": self._set,
            "id": identity if fields.get("id") in (None, "") else _text("id", fields["id"]),
            "category": _text("category", category),
            "difficulty": _text("difficulty", fields.get("difficulty")),
            "prompt": last_user_text(messages),
            "messages": written,
            "metadata": metadata,
            "tools": held,
            **more,
        }
        _check_texts(row, list(more))
        return row

    def fields(self, entry: Any) -> tuple[Row, Row]:
        """Own fields by the mapping, and everything else; a field without a mapping has its own name. Raises `Flaw`."""
        if not isinstance(entry, dict):
            raise Flaw("not_an_object", 'expected an object like {"id": ..., "prompt": ...}')
        if not self._columns:
            return self._own_fields(entry)
        mapped = {field: lookup(entry, path) for field, path in self._columns.items()}
        given, _ = self._own_fields(entry)
        if "prompt" in mapped:
            given.pop("messages", None)  # a prompt that the study names counts more than a column called so
        elif "messages" in mapped:
            given.pop("prompt", None)
        fields = {**given, **{field: value for field, value in mapped.items() if field in self.keys}}
        rest = {key: value for key, value in entry.items() if key not in given or key in mapped}
        for path in self._columns.values():
            rest = without(rest, path)
        if mapped.get("ground_truth") is not None:
            rest = {**rest, "ground_truth": mapped["ground_truth"]}
        return fields, rest

    def _own_fields(self, entry: Row) -> tuple[Row, Row]:
        fields = {key: entry[key] for key in self.keys if key in entry}
        return fields, {key: value for key, value in entry.items() if key not in fields}


def _text(key: str, value: Any) -> str | None:
    """Text, or a number as text; `true` is neither. Raises `Flaw`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise Flaw("wrong_type", f"{key} must be text or a number, found {value!r:.200}")
    if isinstance(value, float) and not isfinite(value):
        raise Flaw("not_finite", f"{key} is {value!r}, which is not a JSON value")
    return None if value is None else str(value)


_JSON_COLUMNS = ("messages", "metadata", "tools")
_NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*+\\u0000")
"""U+0000 as JSON writes it, and not a backslash before `u0000`."""


def _check_texts(row: Row, more: list[str]) -> None:
    told = [row[key] for key in ("id", "messages", "metadata", "category", "difficulty", "tools", *more)]
    whole = "".join(filter(None, told))
    try:
        written = len(whole.encode())
    except UnicodeEncodeError as error:
        raise Flaw("lone_surrogate", f"not JSON that can be written ({error.reason})") from None
    if "\0" in whole or ("\\u0000" in whole and any(_NUL_IN_JSON.search(row[key] or "") for key in _JSON_COLUMNS)):
        raise nul_character()
    if written > LONGEST:
        raise Flaw("too_long", f"a row of more than {LONGEST:,} bytes")


def content_key(row: Row) -> int:
    """64 bits over everything of a row that its prompt_id does not cover; it orders copies of a prompt."""
    values = [row[key] for key in ("category", "difficulty", "metadata")]
    told = "\x1f".join(value or "" for value in values)
    if "" in values or told.count("\x1f") > len(values) - 1:  # none is not empty, and a value may hold the sign
        told = canonical_json(values)
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest())


Rule = Callable[[Row, Row, list[Row]], str | None]


def _rule(rule: Categorise) -> Rule:
    """A rule of the study as a function of record, own fields and messages."""
    pattern = None if rule.pattern is None else re.compile(rule.pattern)

    def category(entry: Row, fields: Row, messages: list[Row]) -> str | None:
        if fields.get("category") not in (None, "") and not rule.override:
            return None
        if rule.field is not None and not _equal(lookup(entry, rule.field), rule.equals):
            return None
        if pattern is not None and not any(pattern.search(text) for turn in messages for text in texts_of(turn)):
            return None
        return rule.category

    return category


def _equal(found: Any, wanted: str | int | bool | None) -> bool:
    """Whether a value is the rule's; a table of text says `1` and `true` by words."""
    if isinstance(found, str) and not isinstance(wanted, str):
        return found == (str(wanted).lower() if isinstance(wanted, bool) else str(wanted))
    return type(found) is type(wanted) and found == wanted
