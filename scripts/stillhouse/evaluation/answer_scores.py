"""Scores that one model gives every answer of a generation, or every answer that was read from files.

The seed of a call knows the prompt and the number of the score only: the same answer to the same prompt, in whatever
generation or sample, is one call of the ledger.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.errors import FailureShareError, InputError
from stillhouse.evaluation.asking import CALL_FAILED, Question, ask_judge, read_template, render
from stillhouse.evaluation.replies import AmbiguousError, storable, without_reasoning
from stillhouse.evaluation.rows import Row
from stillhouse.evaluation.rubric_file import Rubric
from stillhouse.evaluation.settings import ScoreSettings
from stillhouse.evaluation.verdicts import one_verdict, score_parts
from stillhouse.llm.client import Client
from stillhouse.llm.requests import Call, Message
from stillhouse.llm.running import feed
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import parquet_columns, parquet_sink, stream_parquet_rows
from stillhouse.study.verdict_words import WHY, normal

SCORE = "score"
REASON_CHARACTERS = 120  # under a grammar, so that a small judge comes to an end
NO_ANSWER = "no answer"
NOT_SHOWN = "the prompt holds more than text"
GROUP_ROWS = 1_000
READ = ("prompt_id", "set", "id", "sample", "messages", "answer")
"""Columns of answers.parquet that decide what is asked, and which row is which."""

SCORES = pa.schema(
    [
        *((name, pa.string()) for name in ("prompt_id", "set", "id")),
        ("sample", pa.int32()),
        ("judge", pa.string()),
        ("score", pa.float64()),
        ("scores", pa.list_(pa.float64())),
        ("reason", pa.string()),
        ("failure", pa.string()),
        ("calls", pa.list_(pa.string())),
    ]
)
"""One row an answer: `score` is the median of `scores` (null: not to be used), `reason` the judge's words beside it,
`failure` why there is no score."""


@dataclass(frozen=True)
class ScoreVerdict:
    """The score of one reply and the words beside it; `reason` says why there is none."""

    reason: str | None = None
    score: float | None = None
    words: str = ""


@dataclass(frozen=True)
class Scale:
    """Whole numbers from `low` to `high`, and the forms of a reply that holds one."""

    low: int
    high: int

    @cached_property
    def rubric(self) -> Rubric:
        """The scale as a rubric of one part, by which replies are read."""
        return Rubric.model_validate({"components": {SCORE: {"weight": 1, "scale": (self.low, self.high)}}})

    def form(self, client: Client) -> str | None:
        """The form of a reply that reaches the model: GBNF, which bounds the reason, or else a JSON schema."""
        return self.grammar if client.grammars else self.schema if client.schemas else None

    @cached_property
    def grammar(self) -> str:
        """GBNF of one reply: compact JSON, a score on the scale, a short reason."""
        scores = " | ".join(f'"{score}"' for score in range(self.low, self.high + 1))
        words = f"[A-Z] [a-zA-Z0-9 ,.'-]{{0,{REASON_CHARACTERS}}}"
        reply = r'"{\"score\": " score ", \"reason\": \"" words "\"}"'
        return f"root ::= {reply}\nscore ::= {scores}\nwords ::= {words}\n"

    @cached_property
    def schema(self) -> str:
        """JSON schema of one reply, in the part of the language that every server takes: `strict` ones know no lengths."""
        score = {"type": "integer", "enum": list(range(self.low, self.high + 1))}
        parts = {"score": score, "reason": {"type": "string"}}
        form = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
        return json.dumps(form)

    def read(self, call: Call) -> ScoreVerdict:
        """The score in a reply. Truncated, ambiguous, missing or off the scale: a reason and no score."""
        if call.truncated:
            return ScoreVerdict("truncated: the reply reached max_tokens")
        try:
            found = one_verdict(without_reasoning(call.text), self.rubric)
            if isinstance(found, str):
                return ScoreVerdict(found.replace("the rubric's components", "a score"))
            verdict = score_parts(*found, self.rubric)
        except AmbiguousError as error:
            return ScoreVerdict(f"ambiguous: {error}")
        except RecursionError:
            return ScoreVerdict("no JSON object with a score: it is nested too deep")
        if verdict.reason is not None:
            return ScoreVerdict(verdict.reason)
        return ScoreVerdict(None, verdict.components[SCORE]["score"], _words(found[1]))


def _words(said: dict[str, Any]) -> str:
    """The judge's reason, under whatever name it gave it."""
    given = {normal(name): value for name, value in said.items()}
    words = next((given[name] for name in ("reason", *WHY) if isinstance(given.get(name), str)), "")
    return storable(words).strip()


@dataclass
class _Tally:
    """How many answers have a score, and why the others have none."""

    bearable: float
    scored: int = 0
    second_chances: int = 0
    failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    first: str = ""

    def count(self, row: Row) -> None:
        """One more row."""
        self.second_chances += row.pop("again", 0)
        self.failed += row.pop("failed", False)
        if row["failure"] is None:
            self.scored += 1
            return
        self.failures[row["failure"].split(":")[0]] += 1
        if row["failure"] != NO_ANSWER:
            self.first = self.first or f"{row['id']} ({row['failure']})"

    @property
    def unscored(self) -> int:
        """Answers that were asked about in vain."""
        return self.failures.total() - self.failures[NO_ANSWER]

    @property
    def over(self) -> bool:
        """Whether more answers have no score than the study bears."""
        return self.unscored > self.bearable


def score_answers(
    answers: Path,
    client: Client,
    settings: ScoreSettings,
    target: Path,
    template: Path,
    *,
    limit: int = 64,
    note: Callable[[], str] = str,
) -> dict[str, Any]:
    """Write one row an answer to `target`, in the order of answers.parquet, at most `limit` answers at work at once.

    Prompt and answer are shown, nothing else. An answer without text is no question. `note` is told beside the progress.
    Facts: numbers of answers, of scored and unscored ones, of second chances, and of answers with calls that failed.
    Raises `InputError` for a bad template, and `FailureShareError` once too many answers have no score: no more are
    asked about then.
    """
    text, scale = read_template(template), Scale(*settings.scale)
    total = pq.read_metadata(answers).num_rows
    tally = _Tally(settings.max_unscored * total)

    def asked() -> Iterator[Coroutine[Any, Any, Row]]:
        for row in rows_read(answers):
            if tally.over:
                return
            yield _score(row, client, settings, scale, lambda **shown: render(text, template.name, **shown))

    with parquet_sink(target, SCORES, GROUP_ROWS) as write:

        def keep(row: Row) -> None:
            tally.count(row)
            write(row)

        feed(asked(), keep, limit, "scores", total, note)
        if tally.over:
            raise FailureShareError(_too_many(tally, settings, total))
    return {
        "answers": total,
        "scored": tally.scored,
        "unscored": tally.unscored,
        "second_chances": tally.second_chances,
        "failed": tally.failed,
    }


def rows_read(answers: Path) -> Iterator[Row]:
    """What is read of answers.parquet; older files have no samples."""
    there = parquet_columns(answers)
    for row in stream_parquet_rows(answers, [name for name in READ if name in there]):
        yield {**row, "sample": row.get("sample") or 0}


def digest_read(answers: Path) -> str:
    """A digest of what is read of answers.parquet, row after row."""
    digest = hashlib.sha256()
    for row in rows_read(answers):
        digest.update(canonical_json(row).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


async def _score(
    row: Row, client: Client, settings: ScoreSettings, scale: Scale, show: Callable[..., list[Message]]
) -> Row:
    told = {name: row[name] for name in ("prompt_id", "set", "id", "sample")}
    empty = {**told, "judge": client.name, "score": None, "scores": [], "reason": None, "calls": []}
    if not (row["answer"] or "").strip():
        return {**empty, "failure": NO_ANSWER}
    prompt = conversation(row)
    if prompt is None:
        return {**empty, "failure": NOT_SHOWN}
    messages = show(prompt=prompt, answer=row["answer"], low=scale.low, high=scale.high)
    verdicts, calls, again = [], [], 0
    for repeat in range(settings.repeats):
        question = Question(messages, settings.sampling, ("quality", row["prompt_id"], repeat), scale.form(client))
        asked = await ask_judge(client, question, scale.read, ScoreVerdict)
        verdicts.append(asked.verdict)
        calls += asked.calls
        again += len(asked.calls) > 1
    failed = any(one.reason == CALL_FAILED for one in verdicts)
    said = {"scores": [one.score for one in verdicts], "calls": calls, "again": again, "failed": failed}
    return {**empty, **said, **_median(verdicts)}


def _median(verdicts: list[ScoreVerdict]) -> Row:
    """The score that counts, with the words beside it or next to it; none where half or fewer replies have one."""
    read = sorted((one for one in verdicts if one.score is not None), key=lambda one: one.score or 0.0)
    if 2 * len(read) <= len(verdicts):
        return {"failure": next(one.reason for one in verdicts if one.reason is not None)}
    score = float(median(one.score or 0.0 for one in read))
    return {"score": score, "reason": read[(len(read) - 1) // 2].words or None, "failure": None}


def conversation(row: Row) -> str | None:
    """The prompt as the judge reads it: its text, or of several messages each with its role; None with pictures in it.

    Raises `InputError` where `messages` is no list of messages.
    """
    try:
        said = [(message["role"], _said(message)) for message in json.loads(row["messages"])]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"prompt {row['prompt_id']}: `messages` is no list of role and content") from None
    if any(text is None for _, text in said):
        return None
    if [role for role, _ in said] == ["user"]:
        return said[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in said)


def _said(message: dict[str, Any]) -> str | None:
    """The text of a message, calls of tools as JSON; None where a part is no text."""
    content, calls = message.get("content"), message.get("tool_calls")
    parts = content if isinstance(content, list) else [content or ""]
    texts = [part if isinstance(part, str) else part.get("text") for part in parts]
    told = [*texts, canonical_json(calls) if calls else ""]
    return None if None in told else "\n".join(filter(None, told))


def _too_many(tally: _Tally, settings: ScoreSettings, total: int) -> str:
    counts = ", ".join(f"{reason}: {count}" for reason, count in tally.failures.most_common() if reason != NO_ANSWER)
    return (
        f"judge {settings.judge}: {tally.unscored} of {total} answers have no score, more than quality.max_unscored "
        f"{settings.max_unscored:g} bears; {counts}; first: {tally.first}. Scores made so far are kept in the ledger: mend "
        "the cause (template, judging.max_tokens, another model, a larger max_unscored) and run again"
    )
