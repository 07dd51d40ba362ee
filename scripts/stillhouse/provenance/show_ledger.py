"""A ledger, its calls and its state, for people."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from stillhouse.provenance.calls import Found
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.ledger_calls import Answered, Summary, Totals, writer_of
from stillhouse.provenance.ledger_check import LedgerCheck
from stillhouse.provenance.ledger_compact import Compaction
from stillhouse.provenance.show_text import clean, line, number_of, short

ALIKE = 20
"""Torn and changed lines that are named; `--json` lists all."""
DIGITS = 12
WORDS = 60


def summary_table(summary: Summary) -> Table:
    """A row for each model."""
    table = Table("model", "calls", "tokens in", "tokens out", "USD", "first", "last", "servers said", box=None)
    for name in ("calls", "tokens in", "tokens out", "USD"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for name, totals in sorted(summary.models.items()):
        counts = (f"{n:,}" for n in (totals.calls, totals.prompt_tokens, totals.completion_tokens))
        served = line(", ".join(sorted(totals.served)))
        table.add_row(line(name), *counts, money(totals), totals.first[:19], totals.last[:19], served)
    return table


def summary_lines(summary: Summary) -> Iterator[Text]:
    """The sum of all, and what was answered twice."""
    calls = sum(totals.calls for totals in summary.models.values())
    yield line(f"{number_of(calls, 'call')} to {number_of(len(summary.models), 'model')}; times are UTC")
    if summary.doubles.calls:
        doubles = number_of(summary.doubles.calls, "line")
        yield line(f"{doubles} more answer a request once again ({money(summary.doubles)} USD); the earliest counts")


def money(totals: Totals) -> str:
    """USD, where an unknown price is never zero."""
    if totals.unpriced == totals.calls:
        return "unknown"
    known = f"{totals.usd:.4f}"
    return f"{known} + {totals.unpriced:,} unknown" if totals.unpriced else known


def call_line(one: Answered) -> Text:
    """One call on one line: digest, time, model, tokens, first words of the answer."""
    return _call_line(one.digest, one.call)


def _call_line(digest: str, call: dict) -> Text:
    usage = call["usage"]
    tokens = f"{usage['prompt_tokens']}+{usage['completion_tokens']}"
    words = short(call["answer"]["text"], WORDS)
    return line((digest[:DIGITS], "cyan"), f"  {call['at'][:19]}  {call['name']}  {tokens}  {words}")


def match_line(found: Found) -> Text:
    """One of several calls that were meant."""
    return _call_line(found.digest, found.call)


def call_lines(found: Found) -> Iterator[Text]:
    """The whole of a call: facts, messages, reasoning, answer."""
    call = found.call
    request, answer, usage = call["request"], call["answer"], call["usage"]
    yield line((found.digest, "cyan"))
    facts = {
        "at": call["at"],
        "model": f"{call['name']} {canonical_json(request['model'])}",
        "served as": call["served_model"],
        "made by": writer_of(found.file),
        "sampling": canonical_json(request["sampling"]),
        "index": request["index"] or None,
        "tokens": f"{usage['prompt_tokens']} in, {usage['completion_tokens']} out",
        "USD": "unknown" if call["usd"] is None else f"{call['usd']:.6f}",
        "took": f"{call['latency_s']:.2f} s, {number_of(call['tries'], 'try').replace('trys', 'tries')}",
        "finished": answer["finish_reason"],
        "flags": ", ".join(answer["flags"]) or None,
    }
    for name, value in facts.items():
        if value is not None:
            yield line((f"{name:10}", "dim"), str(value))
    for message in request["messages"]:
        yield from _block(message["role"], _told(message))
    if request.get("tools"):
        yield from _block("tools", canonical_json(request["tools"]))
    for name, text in (("grammar", request["grammar"]), ("reasoning", answer["reasoning"]), ("answer", answer["text"])):
        if text is not None:
            yield from _block(name, text)


def _told(message: dict[str, Any]) -> str:
    """A message's text; of one that holds more than text, all of it as JSON."""
    content = message.get("content")
    return content if isinstance(content, str) and len(message) == 2 else canonical_json(message)


def _block(title: str, text: str) -> Iterator[Text]:
    yield Text()
    yield line((f"--- {title}", "bold"))
    for part in text.split("\n"):
        yield Text(clean(part))


def check_lines(found: LedgerCheck) -> Iterator[Text]:
    """Damage first, then the sum."""
    for damage in found.faults[:ALIKE]:
        yield line(("FAULT", "red"), f" {damage.file} line {damage.line}: {damage.reason}")
    for damage in found.torn[:ALIKE]:
        yield line(("note", "yellow"), f" {damage.file} line {damage.line}: {damage.reason}; its call is made again")
    hidden = max(0, len(found.faults) - ALIKE) + max(0, len(found.torn) - ALIKE)
    if hidden:
        yield line(("note", "yellow"), f" … and {hidden} more (--json lists all)")
    if found.doubles:
        told = f" {number_of(found.doubles, 'line')} answer a request once again, {found.differing} of them differently"
        yield line(("note", "yellow"), told)
        for digest in found.differ:
            yield line(f"     {digest[:DIGITS]} has answers that differ; the earliest counts")
    state = (f"{number_of(len(found.faults), 'fault')}", "red") if found.faults else ("sound", "green")
    looked = f"{number_of(found.lines, 'sound line')} for {number_of(found.calls, 'call')}"
    yield line(state, f": {looked} in {number_of(found.files, 'file')}")


def compaction_lines(done: Compaction, *, dry: bool) -> Iterator[Text]:
    """What a compaction did, or would do."""
    if not done.removed and not done.written:
        yield line(f"nothing to do: {number_of(done.calls, 'call')} in {number_of(done.before, 'file')}")
        return
    would = "would keep" if dry else "kept"
    yield line(f"{would} {number_of(done.calls, 'call')}, {done.before} files to {done.after}")
    dropped = {"later answers": done.doubles, "torn lines": done.torn, "damaged lines": done.damaged}
    told = ", ".join(f"{count} {what}" for what, count in dropped.items())
    yield line(f"{'would drop' if dry else 'dropped'} {told}")
    if done.kept_aside:
        yield line(f"the damaged lines are in {done.kept_aside}")
