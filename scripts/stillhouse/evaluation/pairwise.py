"""Pairwise judging: which of two answers is better, blind, each pair shown in both orders."""

import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.evaluation.asking import CALL_FAILED, Question, ask_judge, check_failed, read_template, render
from stillhouse.evaluation.rows import Row, read_responses, to_judge
from stillhouse.evaluation.settings import PairwiseSettings
from stillhouse.llm.client import Client
from stillhouse.llm.requests import Call
from stillhouse.llm.running import gather
from stillhouse.provenance.files import write_parquet
from stillhouse.study.base import Sampling

Pair = tuple[Row, Row]

TEMPLATE = Path("data/judging/pairwise.j2")
ORDERS = ("first_second", "second_first")
GRAMMAR = 'root ::= "VERDICT: " ("1" | "2" | "TIE")\n'

PAIRWISE = pa.schema(
    [
        ("first", pa.string()),
        ("second", pa.string()),
        ("set", pa.string()),
        ("prompt_id", pa.string()),
        ("id", pa.string()),
        ("judge", pa.string()),
        ("order", pa.string()),
        ("verdict", pa.string()),
        ("raw", pa.string()),
        ("calls", pa.list_(pa.string())),
    ]
)

_CHOICE = r"(?:answer\s*)?(1|2|tie)\b"
_LINE = re.compile(rf"verdict\W{{0,4}}[:=]\W{{0,4}}{_CHOICE}(?!\s*(?:/|\||,|or\b))", re.IGNORECASE)
_ALONE = re.compile(rf"\W*{_CHOICE}\W*", re.IGNORECASE)


@dataclass(frozen=True)
class PairVerdict:
    """Which of the shown answers won: 1, 2 or TIE; `reason` says why that is not known."""

    reason: str | None = None
    choice: str | None = None


def read_choice(call: Call) -> PairVerdict:
    """The choice in a reply. Truncated, none, or two that differ: a reason and no choice."""
    if call.truncated:
        return PairVerdict("truncated: the reply reached max_tokens")
    alone = _ALONE.fullmatch(call.text)
    choices = {alone[1].upper()} if alone else {found.upper() for found in _LINE.findall(call.text)}
    if len(choices) != 1:
        return PairVerdict("ambiguous: verdicts that differ" if choices else "no verdict line")
    return PairVerdict(None, choices.pop())


def judge_pairs(
    responses: list[Path],
    clients: Mapping[str, Client],
    settings: PairwiseSettings,
    target: Path,
    template: Path = TEMPLATE,
) -> dict[str, Any]:
    """Write one row a verdict to `target`, mapped back to the pair; null where the judge gave none.

    Prompts of target sets that both subjects answered. Facts: numbers of verdicts and of unscored ones.
    Raises `InputError` for a bad template, `EvaluationError` when a subject has no answers or a judge is out.
    """
    text, rows = read_template(template), read_responses(responses)
    pairs = [pair for names in settings.pairs for pair in _pairs(rows, names, settings.limit)]
    verdicts = judge_row_pairs(
        pairs, [clients[judge] for judge in sorted(set(settings.judges))], settings.sampling, text
    )
    write_parquet(target, [{name: row[name] for name in PAIRWISE.names} for row in verdicts], PAIRWISE)
    return verdict_facts(verdicts)


def judge_row_pairs(pairs: list[Pair], judges: list[Client], sampling: Sampling, template: str) -> list[Row]:
    """The verdict of every judge on every pair, in both orders, as rows with the columns of `PAIRWISE` and `reason`.

    A row of a pair has `subject`, `set`, `prompt_id`, `id`, `prompt` and `answer`; judges see the last two alone.
    `template` is the text of the judges' template. Raises `InputError` when it is bad, `EvaluationError` when a
    judge is out.
    """
    tasks = (_compare(pair, order, judge, sampling, template) for pair in pairs for judge in judges for order in ORDERS)
    verdicts = gather(tasks, description="pairwise verdicts", total=len(pairs) * len(judges) * len(ORDERS))
    check_failed([row["judge"] for row in verdicts], [row["judge"] for row in _failed(verdicts)])
    return verdicts


def verdict_facts(verdicts: list[Row]) -> dict[str, Any]:
    """Numbers of verdicts, of those without a choice, and of those whose call failed."""
    unscored = sum(row["verdict"] is None for row in verdicts)
    return {"failed": len(_failed(verdicts)), "verdicts": len(verdicts), "unscored": unscored}


def _failed(verdicts: list[Row]) -> list[Row]:
    return [row for row in verdicts if row["reason"] == CALL_FAILED]


def _pairs(rows: list[Row], names: tuple[str, str], limit: int | None) -> list[Pair]:
    """Both subjects' rows to the same prompts, sorted by set and prompt_id."""
    picked = to_judge(rows, names, limit)
    answers = {(row["subject"], row["set"], row["prompt_id"]): row for row in picked}
    first, second = names
    prompts = sorted((name, prompt) for subject, name, prompt in answers if subject == first)
    return [(answers[first, *p], answers[second, *p]) for p in prompts if (second, *p) in answers]


def _compare(pair: Pair, order: str, client: Client, sampling: Sampling, template: str) -> Coroutine[Any, Any, Row]:
    shown = pair if order == "first_second" else pair[::-1]
    question = Question(
        render(
            template,
            "pairwise.j2",
            prompt=pair[0]["prompt"],
            answer_1=shown[0]["answer"],
            answer_2=shown[1]["answer"],
        ),
        sampling,
        ("pairwise", pair[0]["prompt_id"], client.name, order),
        GRAMMAR if client.grammars else None,
    )
    return _verdict(pair, order, client, question)


async def _verdict(pair: Pair, order: str, client: Client, question: Question) -> Row:
    asked = await ask_judge(client, question, read_choice, PairVerdict)
    return {
        "first": pair[0]["subject"],
        "second": pair[1]["subject"],
        **{name: pair[0][name] for name in ("set", "prompt_id", "id")},
        "judge": client.name,
        "order": order,
        "verdict": unblind(asked.verdict.choice, order),
        "reason": asked.verdict.reason,
        "raw": asked.raw,
        "calls": asked.calls,
    }


def unblind(choice: str | None, order: str) -> str | None:
    """Map 1, 2 or TIE, as shown in `order`, back to first, second or tie."""
    if choice is None or choice == "TIE":
        return None if choice is None else "tie"
    return "first" if (choice == "1") == (order == "first_second") else "second"
