"""Everything that a study's `exclude` takes down: the prompts, the calls that asked about them, and all their texts.

The prompts' texts come from the user's files, which may still hold them, from rows of earlier results (the store keeps
some), and from the requests in the ledger; the answers from the ledger's calls and from those rows.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillhouse.prompts.collect import collect
from stillhouse.prompts.fetch import rows_of
from stillhouse.prompts.messages import identity_of, texts_of
from stillhouse.prompts.needles import SEPARATOR, SHORT, Needle, key_of, plain, skeleton, stands_alone
from stillhouse.prompts.remains import is_parquet, open_parquet
from stillhouse.prompts.rows import Row
from stillhouse.prompts.scan import Entry, matches, turns
from stillhouse.prompts.settings import CollectSettings
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.ledger_lines import decode_line, scan_file
from stillhouse.study.excludes import PROMPT_ID, Exclude

TEXTS = ("answer", "draft", "reasoning", "raw", "completion", "chosen", "rejected")
"""Columns of rows in which a model's words about the row's prompt stand."""

ANSWER, PROMPT = "answer", "prompt"


@dataclass(frozen=True)
class SetSource:
    """A prompt set of the study, with answers or without: its files, and what of `exclude` can concern it."""

    files: Sequence[Path]
    settings: CollectSettings


@dataclass
class Taken:
    """What is taken down, and what stays.

    `prompts` names them (prompt_id -> `set:id`), `calls` are digests of calls about them, `entries` how many prompts
    each entry of `exclude` takes; `kept` are the texts of the prompts that stay, as they are compared, `kept_lines`
    their lines, and `kept_ids` their names.
    """

    exclude: Exclude
    prompts: dict[str, set[str]] = field(default_factory=dict)
    texts: dict[str, Needle] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)
    entries: dict[Entry, int] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    kept_lines: set[str] = field(default_factory=set)
    kept_ids: dict[str, str] = field(default_factory=dict)

    def add(self, text: str | None, identity: str, kind: str) -> None:
        """Enter one text of a prompt that is taken down."""
        if text and text.strip():
            needle = Needle(text, identity, kind)
            known = self.texts.get(needle.key)
            if known is None or (known.kind, kind) == (ANSWER, PROMPT):
                self.texts[needle.key] = needle

    def add_prompt(self, messages: list[Row], identity: str, name: str | None) -> None:
        """Enter a prompt by its turns; `name` is `set:id` where it is known."""
        self.prompts.setdefault(identity, set()).update([name] if name else [])
        for text in said(messages):
            self.add(text, identity, PROMPT)

    def entries_for(self, row: Row) -> list[Entry]:
        """The entries that take down a row of an artefact, by its columns prompt_id, set, id and its prompt."""
        names, lists = (row["prompt_id"], f"{row['set']}:{row['id']}"), self.exclude
        found = [("prompts", entry) for entry in lists.prompts if entry in names]
        found += [("sources", entry) for entry in lists.sources if entry == row["set"]]
        texts = said(chat(row)) if lists.patterns else []
        return found + [("patterns", entry) for entry in lists.patterns if matches(entry, texts)]

    def takes(self, row: Row) -> bool:
        """Whether a row of an artefact belongs to a prompt that is taken down."""
        identity = row["prompt_id"]
        return (identity in self.prompts and identity not in self.kept_ids) or bool(self.entries_for(row))

    def idle(self) -> list[Entry]:
        """Entries that take no prompt anywhere."""
        return [entry for entry, count in self.entries.items() if not count]

    def staying(self) -> dict[str, str]:
        """Prompts that an entry takes out of one set while another set keeps them: prompt_id -> where it stays."""
        return {identity: self.kept_ids[identity] for identity in self.prompts if identity in self.kept_ids}


def chat(row: Row) -> list[Row]:
    """The turns of a row's prompt, whichever of the artefacts' columns hold it; none where the row has no prompt."""
    for value in (_json(row.get("messages")), row.get("prompt")):
        if isinstance(value, str):
            return [{"role": "user", "content": value}]
        if isinstance(value, list):
            return _turns(value)
    return []


def _turns(value: list[Any]) -> list[Row]:
    """The turns of a conversation; datasets with tools hold each of them as JSON."""
    turns = [_json(turn) if isinstance(turn, str) else turn for turn in value]
    return [turn for turn in turns if isinstance(turn, dict) and "content" in turn]


def said(messages: Iterable[Row]) -> list[str]:
    """The texts of all turns."""
    return [text for message in messages for text in texts_of(message)]


def _json(value: Any) -> Any:
    """The `messages` of a row, which are JSON in a text; None where they are not."""
    try:
        return json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return None


def find_taken(
    sources: Iterable[SetSource], exclude: Exclude, artefacts: list[Path], stored: list[Path], ledger: Path
) -> Taken:
    """Gather what `exclude` takes down.

    Args:
        sources: the study's prompt sets, those of evaluations too.
        exclude: the study's section.
        artefacts: files of results; a call that a row of another prompt names stays.
        stored: files of the store, in which rows of earlier builds stand.
        ledger: folder of the calls.

    Raises:
        InputError: a prompt file is malformed.
    """
    taken = Taken(exclude, entries={(k, e): 0 for k, texts in exclude.model_dump().items() for e in texts})
    for source in sources:
        _from_source(source, taken)
    tables = [file for file in artefacts if is_parquet(file)]
    for file in [*tables, *(file for file in stored if is_parquet(file))]:
        _from_rows(file, taken)
    _unknown_from_ledger(ledger, taken)
    _find_calls(ledger, taken)
    for digest in _named_by_others(tables, taken):
        del taken.calls[digest]
    for digest, call in calls_of(ledger) if taken.calls else ():
        for text in (call["answer"]["text"], call["answer"]["reasoning"]) if digest in taken.calls else ():
            taken.add(text, taken.calls[digest], ANSWER)
    return taken


def _from_source(source: SetSource, taken: Taken) -> None:
    found = collect(source.files, source.settings)
    for entry, count in found.entries.items():
        taken.entries[entry] = taken.entries.get(entry, 0) + count
    for row in rows_of(found.excluded):
        taken.add_prompt(json.loads(row["messages"]), row["prompt_id"], f"{row['set']}:{row['id']}")
        for name in ("answer", "reasoning"):
            taken.add(row.get(name), row["prompt_id"], ANSWER)
    for row in rows_of(found.kept):
        taken.kept_ids[row["prompt_id"]] = f"{row['set']}:{row['id']}"
        taken.kept.update(key_of(text) for text in turns(row))
        taken.kept_lines.update(line for text in turns(row) for line in _lines(text))


def identified_rows(file: Path, columns: Iterable[str]) -> Iterator[Row]:
    """Rows of a parquet file that name their prompt, with those of `columns` that it has; none where they do not."""
    with open_parquet(file) as parquet:
        names = parquet.schema_arrow.names
        if not {"prompt_id", "set", "id"} <= set(names):
            return
        wanted = [name for name in dict.fromkeys(["prompt_id", "set", "id", *columns]) if name in names]
        for batch in parquet.iter_batches(columns=wanted):
            yield from batch.to_pylist()


def _from_rows(file: Path, taken: Taken) -> None:
    """Prompts, answers and calls out of rows of earlier builds."""
    for row in identified_rows(file, ["messages", "prompt", *TEXTS, "calls"]):
        if not taken.takes(row):
            continue
        identity = row["prompt_id"]
        for entry in taken.entries_for(row) if identity not in taken.prompts else ():
            taken.entries[entry] += 1
        taken.add_prompt(chat(row), identity, f"{row['set']}:{row['id']}")
        taken.calls.update(dict.fromkeys(row.get("calls") or (), identity))
        for text in _words(row):
            taken.add(text, identity, ANSWER)


def _words(row: Row) -> Iterator[str]:
    for name in TEXTS:
        value = row.get(name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from said(_turns(value))


def calls_of(ledger: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(digest, call) of every sound line of a ledger."""
    for file in sorted(ledger.glob("*.jsonl")):
        for _, _, line in scan_file(file):
            try:
                yield decode_line(line)
            except ValueError:
                continue


def _unknown_from_ledger(ledger: Path, taken: Taken) -> None:
    """Prompts that no file holds any more, out of requests: by their prompt_id, or by a pattern."""
    unknown = {entry for entry in taken.exclude.prompts if PROMPT_ID.fullmatch(entry)} - set(taken.prompts)
    if not unknown and not taken.exclude.patterns:
        return
    by_pattern: dict[str, list[Row]] = {}
    for _, call in calls_of(ledger):
        messages = call["request"]["messages"]
        own = [message for message in messages if message["role"] != "system"]
        for candidate in (messages, own):
            identity = _identity(candidate, call["request"].get("tools"))
            if identity in unknown:
                taken.entries["prompts", identity] = 1
                taken.add_prompt(candidate, identity, None)
        if any(matches(pattern, said(own)) for pattern in taken.exclude.patterns):
            by_pattern[_identity(own, call["request"].get("tools"))] = own
    for identity, own in sorted(by_pattern.items(), key=lambda item: (len(canonical_json(item[1])), item[0])):
        _by_pattern(identity, own, taken)


def _identity(messages: list[Row], tools: list[Row] | None) -> str:
    return identity_of(canonical_json(messages), canonical_json(tools) if tools else None)


def _by_pattern(identity: str, messages: list[Row], taken: Taken) -> None:
    """Enter a request that a pattern matches as a prompt, unless it is about one that is known.

    A judge's request holds the prompt that it is about, which is shorter and came before; and in a request about a
    prompt that stays the word may be a model's.
    """
    known = taken.kept | {needle.key for needle in taken.texts.values() if needle.kind == PROMPT}
    request = _request_text(messages)
    if any(len(key) >= SHORT and key in request for key in known):
        return
    for pattern in taken.exclude.patterns:
        taken.entries["patterns", pattern] += matches(pattern, said(messages))
    taken.add_prompt(messages, identity, None)


def _request_text(messages: list[Row]) -> str:
    return skeleton(SEPARATOR.join(text.replace(SEPARATOR, " ") for text in said(messages)))


def _find_calls(ledger: Path, taken: Taken) -> None:
    """Calls whose request holds the text of a prompt that is taken down."""
    same = taken.kept | taken.kept_lines
    prompts = [needle for needle in taken.texts.values() if needle.kind == PROMPT and needle.key not in same]
    covers = {needle.key: [text for text in taken.kept if needle.key in text] for needle in prompts}
    for digest, call in calls_of(ledger):
        owner = taken.calls.get(digest) or _owner(call["request"]["messages"], prompts, covers)
        if owner:
            taken.calls[digest] = owner


def _named_by_others(tables: list[Path], taken: Taken) -> set[str]:
    """Calls that rows of prompts name which stay: they are about those, whatever words they hold."""
    return {
        digest
        for file in tables
        for row in identified_rows(file, ["messages", "prompt", "calls"])
        for digest in row.get("calls") or ()
        if digest in taken.calls and not taken.takes(row)
    }


def _lines(text: str) -> set[str]:
    """A text and its lines, as short texts are compared."""
    return {plain(part) for part in (text, *text.split("\n"))}


def _owner(messages: list[Row], prompts: list[Needle], covers: dict[str, list[str]]) -> str | None:
    """The prompt that a request is about; a short prompt is seen where it is a line of its own."""
    request = _request_text(messages)
    lines = {line for text in said(messages) for line in _lines(text)}
    for needle in prompts:
        if needle.short:
            if needle.key in lines:
                return needle.prompt_id
        elif needle.key in request and stands_alone(needle.key, request, covers[needle.key]):
            return needle.prompt_id
    return None
