"""Reads which of two answers a judge chose, in live replies (1 or 2) and in published ones (A or B).

Nothing is guessed: a reply that names no answer, or two, is unclear, and never a tie.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from stillhouse.evaluation.replies import (
    ADVERB,
    ADVERBS,
    LONGEST,
    STRIP,
    THING,
    TIE,
    TIE_LEAD,
    AmbiguousError,
    Labels,
    outside,
    parse_objects,
    spans,
    storable,
    unmarked,
)
from stillhouse.evaluation.verdicts import number
from stillhouse.llm.reasoning import split_reasoning
from stillhouse.llm.requests import Call
from stillhouse.study.verdict_words import KEYS, WHY, normal

ORDERS = ("first_second", "second_first")
AXES = ("axes", "scores", "dimensions", "criteria", "ratings")  # objects around the axes
DEEPEST = 4

_SEPARATOR = r"[\s*_\"'`]{0,4}(?:(?:\s|\bis\b)*[:=]|\s+is\b)"
_KEY_WORDS = "|".join(key.replace("_", r"[\s_-]+") for key in sorted(KEYS, key=len, reverse=True))
_DASHED = rf"^[^\w\n]{{0,8}}(?:overall,|(?:{_KEY_WORDS})[*_]{{0,4}}(?:[ \t]+->?[ \t]|[ \t]*[–—]))"
_KEY = re.compile(rf"(?<![\w-])(?:{_KEY_WORDS}){_SEPARATOR}|{_DASHED}", re.IGNORECASE | re.MULTILINE)
_WHY = re.compile(rf"(?<![\w-])(?:{'|'.join(WHY)}){_SEPARATOR}\s*", re.IGNORECASE)
_UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_OPEN = re.compile(r"\{\s*[\"'].*", re.DOTALL)
_OPEN_END = re.compile(r"[\w*_)\]\"'`]\s{0,4}[-:=+(–—][\s*_.]{0,8}$")
_DOUBT = re.compile(
    r"\b(?:not|if|whether|(?<!\bI )would|could|neither|unless|might)\b|\bwould\s+(?=\S)|n['’]t\b", re.IGNORECASE
)


@dataclass(frozen=True)
class PairVerdict:
    """Which of the shown answers won: a label or TIE; `reason` says why that is not known.

    `axes` holds the same for each axis that the judge was clear about, `explanation` the judge's words.
    """

    reason: str | None = None
    choice: str | None = None
    explanation: str | None = None
    axes: dict[str, str] = field(default_factory=dict)


SHOWN = Labels("1", "2")
SLOTS = Labels("A", "B")


def read_choice(call: Call, axes: Iterable[str] = ()) -> PairVerdict:
    """The choice in a live reply. Truncated, none, or two that differ: a reason and no choice."""
    if call.truncated:
        return PairVerdict("truncated: the reply reached max_tokens")
    return read_reply(call.text, SHOWN, axes)


def read_reply(text: str, labels: Labels, axes: Iterable[str] = ()) -> PairVerdict:
    """The choice in a reply, out of JSON, verdict lines, or a short answer, in this order of trust.

    `axes` are names that the judge was asked about; others are read where a reply scores both answers on them.
    """
    split = split_reasoning(_UNSEEN.sub("", storable(text)))
    if not split.answer:
        return PairVerdict("unclear: an empty reply")
    try:
        reply = _Reply(split.answer, labels, "unclosed_think" not in split.flags)
        choices = reply.choices()
    except (AmbiguousError, RecursionError) as error:
        return PairVerdict(f"unclear: {error}")
    found = reply.axes({normal(name): name for name in axes})
    if len(choices) != 1:
        return PairVerdict("unclear: verdicts that differ" if choices else "unclear: no verdict", None, None, found)
    return PairVerdict(None, choices.pop(), reply.explanation(), found)


class _Reply:
    """A reply taken apart: its JSON objects, and its lines without them."""

    def __init__(self, text: str, labels: Labels, finished: bool) -> None:
        inside = [span for span in spans(text)[0] if ":" in span]
        self.objects = parse_objects(inside, set(KEYS))
        self.text = unmarked(_OPEN.sub("", outside(text, inside)), KEYS).replace("```json", "").replace("```", "")
        self.lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        self.labels, self.finished = labels, finished

    def choices(self) -> set[str]:
        """All choices that the reply names in its most trusted way; none, one, or several that differ."""
        told = [choice for value in self.objects for choice in self._in_object(value)]
        lines, unread = self._in_lines()
        bare = self._bare()
        if not self.finished and not told and not (self._has_form() or (bare and len(self.lines) == 1)):
            return set()  # it was cut off while still thinking
        if told or lines:
            return {*told, *lines, *bare}
        if unread and not bare:
            return set()
        alone = [choice for line in self.lines if not self._is_open(line) and (choice := self.labels.choice_in(line))]
        ends = {self.labels.choice_in(line) for line in (*self.lines[:1], *self.lines[-1:])} - {None}
        if not bare and len(self.labels.both_better(self.text)) > 1:
            return set()
        sentences = set(self._in_sentences())
        if alone and (ends or len(self.lines) == 1):
            leans = sentences | set(self.labels.leaning.findall(self.text)) if set(alone) == {TIE} else set()
            return {*alone, *leans} if len(leans) == 1 else set(alone)
        # a line that begins with `1.` may be the first of a list
        if len(self.lines) != 1 or not self.labels.first.isalpha():
            return sentences
        leads = self.labels.choice_at_start(self.lines[0])
        if not leads and TIE_LEAD.match(self.lines[0].lstrip(STRIP)):
            return set()  # a tie that leans to one side
        return sentences | ({leads} if leads else set())

    def _is_open(self, line: str) -> bool:
        """Whether a line's end asks for more, as in `A:` and `A -`, or it ends with a grade."""
        end = line[-LONGEST:]
        return bool(self.labels.grade.search(end) or _OPEN_END.search(end))

    def _has_form(self) -> bool:
        """Whether a line is a key such as `VERDICT:` and a choice, and nothing more."""
        keys = ((line, _KEY.match(line.lstrip(STRIP))) for line in self.lines)
        return any(key and self.labels.choice_in(line.lstrip(STRIP)[key.end() :]) for line, key in keys)

    def _bare(self) -> list[str]:
        """The first and the last line where they are a label or TIE and nothing else; `A slightly` is one too."""
        form = re.compile(rf"{ADVERBS}({self.labels.first}|{self.labels.second}|{TIE})(?:\s+{ADVERB})?", re.IGNORECASE)
        ends = [line for line in (*self.lines[:1], *self.lines[-1:]) if not self._is_open(line)]
        return [found[1].upper() for line in ends if (found := form.fullmatch(line.strip(STRIP)))]

    def _in_object(self, value: Any, depth: int = 0) -> list[str]:
        if not isinstance(value, dict) or depth > DEEPEST:
            return []
        named = [part for key, part in value.items() if normal(key) in KEYS]
        told = [choice for part in named for choice in self._in_value(part, depth)]
        if told or named:
            return told
        parts = [part for key, part in value.items() if normal(key) not in AXES]
        return [choice for part in parts for choice in self._in_object(part, depth + 1)]

    def _in_value(self, part: Any, depth: int) -> list[str]:
        if isinstance(part, dict):
            return self._in_object(part, depth + 1)
        if isinstance(part, bool) or not isinstance(part, str | int):
            return []
        choice = self.labels.choice_in(str(part)) or self.labels.choice_at_start(str(part))
        choice = choice if len(self.labels.both_better(str(part))) < 2 else None
        return [choice] if choice else []

    def _in_lines(self) -> tuple[list[str], bool]:
        """Choices after `VERDICT:` and its like, and whether there was one that cannot be read."""
        told: list[str] = []
        unread = False
        for key, value, below in _values(self.text):
            open_end = below and _OPEN_END.search(value[-LONGEST:])  # `Winner: A:`, and `B:` below
            whole = None if open_end else self.labels.choice_in(value)
            choice = whole or self.labels.choice_at_start(value, below)
            both = len(self.labels.both_better(value, below)) > 1
            choice = None if both else choice
            told += [choice] if choice else []
            form = key.rstrip().endswith((":", "="))  # not prose: "the answer is concise"
            unread |= both or form and not choice and number(value.strip(STRIP)) is None
        return told, unread

    def _in_sentences(self) -> Iterator[str]:
        yield from (found[2] for found in self.labels.instead.finditer(self.text) if found[1] != found[2])
        for sentence in re.split(r"(?<=[.!?;])\s+|\n+", self.text):
            for found in self.labels.sentence.finditer(sentence):
                if not _DOUBT.search(sentence[: found.start()]):
                    yield (found[1] or found[2]).upper()

    def axes(self, names: dict[str, str]) -> dict[str, str]:
        """What the reply says of each axis. One that is said in two ways, or of one answer alone, is left out."""
        scores: dict[str, dict[str, set[float]]] = {}
        choices: dict[str, set[str]] = {}
        written = dict(names)
        for name, label, score in (*self._scored_lines(), *self._scored_keys()):
            written.setdefault(normal(name), name.strip())
            scores.setdefault(normal(name), {}).setdefault(label, set()).add(score)
        for name, choice in self._chosen(names):
            choices.setdefault(name, set()).add(choice)
        for name, by_label in scores.items():
            one, two = (by_label.get(label, set()) for label in (self.labels.first, self.labels.second))
            if len(one) == len(two) == 1:
                choices.setdefault(name, set()).add(better(one.pop(), two.pop(), self.labels))
        clear = {written.get(name, name): told.pop() for name, told in choices.items() if len(told) == 1}
        return dict(sorted(clear.items()))

    def _scored_lines(self) -> Iterator[tuple[str, str, float]]:
        """`NAME-A: 4` on a line of its own."""
        label = f"({self.labels.first}|{self.labels.second})"
        line_form = re.compile(
            rf"[\W_]*([A-Za-z][\w .-]{{0,60}}?)[\s_-]+{label}[*_]*\s*[:=]\W*?(-?\d[\d.]*)(?:\s*/\s*\d+)?\W*"
        )
        for line in (line for line in self.lines if len(line) <= LONGEST):
            if (found := line_form.fullmatch(line)) and _is_axis(found[1]):
                score = number(found[3])
                yield from [] if score is None else [(found[1], found[2], score)]

    def _scored_keys(self) -> Iterator[tuple[str, str, float]]:
        """{"NAME-A": 4} and {"NAME": {"A": 4, "B": 5}}."""
        key_form = re.compile(rf"(.+?)[\s_-]+({self.labels.first}|{self.labels.second})", re.IGNORECASE)
        for name, value in self._members():
            if (found := key_form.fullmatch(name)) and _is_axis(found[1]) and (score := number(value)) is not None:
                yield found[1], found[2].upper(), score
            elif isinstance(value, dict) and _is_axis(name):
                for label in (self.labels.first, self.labels.second):
                    if (score := number(value.get(label))) is not None:
                        yield name, label, score

    def _members(self) -> Iterator[tuple[str, Any]]:
        for value in self.objects:
            for name, part in value.items():
                yield from part.items() if normal(name) in AXES and isinstance(part, dict) else [(name, part)]

    def _chosen(self, names: dict[str, str]) -> Iterator[tuple[str, str]]:
        """`NAME: 1` for axes that were asked for, and what stands below `axes` in an object."""
        for name, part in self._members():
            told = part.get("winner") if isinstance(part, dict) else part
            if normal(name) in names and isinstance(told, str | int) and (choice := self.labels.choice_in(str(told))):
                yield normal(name), choice
        for line in self.lines:
            name, colon, value = line.partition(":")
            name = normal(name.strip(STRIP))
            if colon and name in names and (choice := self.labels.choice_in(value)):
                yield name, choice

    def explanation(self) -> str | None:
        """The judge's words: what stands under a name such as rationale, else the lines that are no verdict."""
        for value in self.objects:
            for name, part in value.items():
                if normal(name) in WHY and isinstance(part, str) and part.strip():
                    return part.strip()
        if found := _WHY.search(self.text):
            told = self.text[found.end() :].strip().splitlines()
        else:
            told = self.lines
        return " ".join(line.strip() for line in told if line.strip() and not self._is_form(line)).strip() or None

    def _is_form(self, line: str) -> bool:
        """Whether a line is the reply's form: a verdict, a score, a fence."""
        plain = line.strip(STRIP)
        if len(plain) > LONGEST:
            return False
        scored = re.fullmatch(r"[\w .*-]{1,60}[:=][*\s]*-?\d[\d./ ]*", plain)
        axis = re.fullmatch(r"[\w .-]{1,60}:\s*(.*)", plain)
        verdict = (found := _KEY.match(plain)) and len(plain) - found.end() < 24
        return bool(not plain or scored or verdict or self.labels.choice_in(axis[1] if axis else plain))


def _values(text: str) -> Iterator[tuple[str, str, str]]:
    """Each key such as `VERDICT:`, what stands behind it on its line, and the lines below, up to the next key."""
    found = list(_KEY.finditer(text))
    for key, following in itertools.zip_longest(found, found[1:]):
        rest = text[key.end() : following.start() if following else len(text)].lstrip(STRIP)
        value, _, below = rest.partition("\n")
        yield key[0], value, below


def _is_axis(name: str) -> bool:
    """Whether a name with two scores is an axis: not `Response A: 7`, and not the verdict itself."""
    return normal(name) not in KEYS and not re.fullmatch(THING, name.strip(), re.IGNORECASE)


def better(first: float, second: float, labels: Labels) -> str:
    """The label with the higher number, TIE where they are equal."""
    return TIE if first == second else labels.first if first > second else labels.second


def axis_choice(value: Any, labels: Labels = SLOTS) -> str | None:
    """The choice on one axis of a recorded verdict: `A`, `B`, `TIE`, or both scores, as in {"A": "4/5", "B": 3}.

    None where no choice is named: null, `UNCLEAR`, a score that is no number, scores out of different sums. Raises
    `ValueError` for what is no choice and no such object.
    """
    if value is None or isinstance(value, str):
        return labels.choice_in(value or "")
    if not isinstance(value, dict) or set(value) != {labels.first, labels.second}:
        raise ValueError(
            f'expected "{labels.first}", "{labels.second}", "{TIE}" or the scores of both, found {value!r}'
        )
    scores = [value[label] for label in (labels.first, labels.second)]
    if any(isinstance(score, bool | list | dict) for score in scores):
        raise ValueError(f"expected two scores, found {value!r}")
    told, sums = zip(*(str(score).partition("/")[::2] for score in scores), strict=True)
    one, two = map(number, told)
    out_of = {whole.strip() for whole in sums if whole.strip()}
    clear = one is not None and two is not None and len(out_of) <= 1 and all(map(str.isdigit, out_of))
    return better(one, two, labels) if clear else None


def unblind(choice: str | None, order: str, labels: Labels = SHOWN) -> str | None:
    """Map a label, as shown in `order`, back to first or second; TIE is tie."""
    if choice is None or choice == TIE:
        return None if choice is None else "tie"
    return "first" if (choice == labels.first) == (order == ORDERS[0]) else "second"
