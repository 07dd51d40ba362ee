"""Pairwise judging: which of two answers is better, blind, each pair shown in both orders."""

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse.evaluation.asking import CALL_FAILED, Question, ask_judge, check_failed, read_template, render
from stillhouse.evaluation.choices import ORDERS, PairVerdict, read_choice, unblind
from stillhouse.evaluation.recorded_verdicts import read_recorded_verdicts
from stillhouse.evaluation.replies import storable
from stillhouse.evaluation.rows import Row, read_responses, to_judge
from stillhouse.evaluation.settings import PairwiseSettings
from stillhouse.llm.client import Client
from stillhouse.llm.running import gather
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import write_parquet
from stillhouse.study.base import Sampling

Pair = tuple[Row, Row]

TEMPLATE = Path("data/judging/pairwise.j2")
REASON_CHARACTERS = 200  # of the sentence before a verdict that a grammar holds

PAIRWISE = pa.schema(
    [
        ("first", pa.string()),
        ("second", pa.string()),
        ("set", pa.string()),
        ("prompt_id", pa.string()),
        ("id", pa.string()),
        ("category", pa.string()),
        ("difficulty", pa.string()),
        ("sample", pa.int32()),
        ("second_sample", pa.int32()),
        ("judge", pa.string()),
        ("repeat", pa.int32()),
        ("order", pa.string()),
        ("source", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("explanation", pa.string()),
        ("axes", pa.string()),
        ("first_words", pa.int32()),
        ("second_words", pa.int32()),
        ("raw", pa.string()),
        ("calls", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class Form:
    """What judges say besides the verdict: a choice on each of `axes`, and a sentence of reason before all."""

    axes: tuple[str, ...] = ()
    reasons: bool = False

    @cached_property
    def grammar(self) -> str:
        """GBNF of one reply."""
        lines = ['"REASON: " words "\\n"'] if self.reasons else []
        lines += [f'"{axis}: " choice "\\n"' for axis in self.axes]
        if not lines:
            return 'root ::= "VERDICT: " ("1" | "2" | "TIE")\n'
        words = f'words ::= [A-Z] [a-zA-Z0-9 ,\'-]{{0,{REASON_CHARACTERS}}} "."\n' if self.reasons else ""
        return f'root ::= {" ".join(lines)} "VERDICT: " choice\nchoice ::= "1" | "2" | "TIE"\n{words}'


PLAIN = Form()


@dataclass(frozen=True)
class Asking:
    """One comparison that is put to a judge: a pair in one order, for the `repeat`-th time."""

    pair: Pair
    order: str
    repeat: int
    client: Client

    @property
    def sample(self) -> int:
        """Which of the first subject's answers to the prompt is compared; a control's second is another one."""
        return self.pair[0].get("sample") or 0

    @property
    def seed_parts(self) -> tuple[object, ...]:
        """What the call's seed derives from; first samples and repeats keep the seeds that they have always had."""
        parts = ("pairwise", self.pair[0]["prompt_id"], self.client.name, self.order)
        return (*parts, self.sample, self.repeat) if self.sample or self.repeat else parts


def judge_pairs(
    responses: list[Path],
    clients: Mapping[str, Client],
    settings: PairwiseSettings,
    target: Path,
    template: Path = TEMPLATE,
    recorded: Path | None = None,
) -> dict[str, Any]:
    """Write one row a verdict to `target`, mapped back to the pair; null where the judge gave none.

    Live verdicts on the prompts of target sets that both subjects answered, and those of the file `recorded`. Facts:
    numbers of verdicts, of recorded, unscored and failed ones. Raises `InputError` for a bad template, axis or
    recorded file, `EvaluationError` when a subject has no answers or a judge is out.
    """
    text, rows = read_template(template), read_responses(responses)
    form = Form(tuple(settings.axes), settings.reasons)
    judges = [clients[judge] for judge in sorted(set(settings.judges))]
    pairs = [pair for names in settings.pairs for pair in _pairs(rows, names, settings.limit)] if judges else []
    if judges and settings.control is not None:
        pairs += _control(rows, settings.control, settings.limit)
    live = judge_row_pairs(pairs, judges, settings.sampling, text, form, settings.repeats)
    published = read_recorded_verdicts(recorded, rows, settings.axes) if recorded else []
    verdicts = sorted([*live, *published], key=_place)
    write_parquet(target, verdicts, PAIRWISE)
    return {**verdict_facts(verdicts), "recorded": len(published)}


def judge_row_pairs(
    pairs: list[Pair],
    judges: list[Client],
    sampling: Sampling,
    template: str,
    form: Form = PLAIN,
    repeats: int = 1,
) -> list[Row]:
    """The verdict of every judge on every pair, in both orders, `repeats` times, as rows with the columns of `PAIRWISE`.

    A row of a pair has `subject`, `set`, `prompt_id`, `id`, `prompt` and `answer`, and may have `category`, `difficulty`
    and `sample`; judges see prompt and answer alone. `template` is the text of the judges' template. Raises
    `InputError` when it is bad, `EvaluationError` when a judge is out.
    """
    asked = [
        Asking(pair, order, repeat, judge)
        for pair in pairs
        for judge in judges
        for repeat in range(repeats)
        for order in ORDERS
    ]
    tasks = (_compare(asking, sampling, template, form) for asking in asked)
    verdicts = gather(tasks, description="pairwise verdicts", total=len(asked))
    check_failed([row["judge"] for row in verdicts], [row["judge"] for row in _failed(verdicts)])
    return verdicts


def verdict_facts(verdicts: list[Row]) -> dict[str, Any]:
    """Numbers of verdicts, of those without a choice, and of those whose call failed."""
    unscored = sum(row["verdict"] is None for row in verdicts)
    return {"failed": len(_failed(verdicts)), "verdicts": len(verdicts), "unscored": unscored}


def _failed(verdicts: list[Row]) -> list[Row]:
    return [row for row in verdicts if row["reason"] == CALL_FAILED]


def _place(row: Row) -> tuple[Any, ...]:
    names = ("first", "second", "set", "prompt_id", "sample", "judge", "repeat", "order", "source")
    return tuple(row[name] for name in names)


def _pairs(rows: list[Row], names: tuple[str, str], limit: int | None) -> list[Pair]:
    """Both subjects' rows to the same prompts, answer k of the one beside answer k of the other."""
    answers = {_answer(row): row for row in to_judge(rows, names, limit)}
    first, second = names
    places = sorted(place[1:] for place in answers if place[0] == first)
    return [(answers[first, *p], answers[second, *p]) for p in places if (second, *p) in answers]


def _control(rows: list[Row], subject: str, limit: int | None) -> list[Pair]:
    """A subject against itself: its first two answers to each prompt, one answer twice where it has no second."""
    answers = {_answer(row): row for row in to_judge(rows, [subject], limit)}
    first = [place for place in sorted(answers) if place[-1] == 0]
    return [(answers[place], answers.get((*place[:-1], 1), answers[place])) for place in first]


def _answer(row: Row) -> tuple[str, str, str, int]:
    return row["subject"], row["set"], row["prompt_id"], row.get("sample") or 0


def _compare(asking: Asking, sampling: Sampling, template: str, form: Form) -> Coroutine[Any, Any, Row]:
    one, two = asking.pair if asking.order == ORDERS[0] else asking.pair[::-1]
    shown = {"prompt": asking.pair[0]["prompt"], "answer_1": one["answer"], "answer_2": two["answer"]}
    question = Question(
        render(template, "pairwise.j2", **shown, axes=form.axes, reasons=form.reasons),
        sampling,
        asking.seed_parts,
        form.grammar if asking.client.grammars else None,
    )
    return _verdict(asking, question, form)


async def _verdict(asking: Asking, question: Question, form: Form) -> Row:
    asked = await ask_judge(asking.client, question, lambda call: read_choice(call, form.axes), PairVerdict)
    first, second = asking.pair
    verdict = asked.verdict
    axes = {axis: unblind(choice, asking.order) for axis, choice in verdict.axes.items() if axis in form.axes}
    return {
        "first": first["subject"],
        "second": second["subject"],
        **{name: first[name] for name in ("set", "prompt_id", "id")},
        **{name: first.get(name) for name in ("category", "difficulty")},
        "sample": asking.sample,
        "second_sample": second.get("sample") or 0,
        "judge": asking.client.name,
        "repeat": asking.repeat,
        "order": asking.order,
        "source": "live",
        "verdict": unblind(verdict.choice, asking.order),
        "reason": verdict.reason,
        "explanation": verdict.explanation if form.reasons else None,
        "axes": canonical_json(axes),
        "first_words": len(first["answer"].split()),
        "second_words": len(second["answer"].split()),
        "raw": storable(asked.raw),
        "calls": asked.calls,
    }
