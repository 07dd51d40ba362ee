"""Reads which of two answers a judge chose, in live replies (1 or 2) and in published ones (A or B).

Nothing is guessed: a reply that names no answer, or two, is unclear, and never a tie.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stillhouse.evaluation.replies import AmbiguousError, normal, parse_objects, spans, storable
from stillhouse.evaluation.verdicts import number
from stillhouse.llm.reasoning import split_reasoning
from stillhouse.llm.requests import Call

TIE = "TIE"
ORDERS = ("first_second", "second_first")
KEYS = (
    "verdict", "final_verdict", "overall", "overall_verdict", "winner", "overall_winner", "choice", "final_choice", "pick",
    "selected", "decision", "final_decision", "judgement", "judgment", "preference", "preferred", "preferred_answer",
    "preferred_response", "better", "better_answer", "better_response", "best", "answer", "final_answer",
)  # fmt: skip
WHY = ("rationale", "reason", "reasons", "reasoning", "explanation", "justification", "why")
AXES = ("axes", "scores", "dimensions", "criteria", "ratings")  # objects around the axes
DEEPEST = 4
LONGEST = 200  # characters of a phrase or line that is read as a choice or a score

_THING = r"(?:response|answer|option|candidate|model|assistant|output|reply|version|text|completion)"
_TIE_WORDS = (
    r"(?:an?\s+)?(?:tie[ds]?|draw)",
    r"(?:it['’]s|it\s+is|this\s+is|call\s+it)\s+a\s+(?:tie|draw)",
    r"no\s+(?:clear\s+)?(?:winner|preference|difference)",
    rf"neither(?:\s+(?:one|{_THING}))?(?:\s+(?:is|wins|was)(?:\s+(?:clearly\s+)?(?:better|preferred|superior))?)?",
    rf"(?:both|they|both\s+{_THING}s|the\s+(?:two\s+)?{_THING}s)(?:\s+are)?\s+(?:about\s+|roughly\s+)?"
    r"(?:equal(?:ly\s+\w+)?|tied|even|the\s+same)",
    r"(?:about\s+|roughly\s+)?equal(?:ly\s+\w+)?",
)
_ADVERBS = r"(?:(?:clearly|slightly|much|far|overall|marginally|significantly|definitely|somewhat|strictly|a\s+bit|a\s+little)\s+)*"
_BETTER = rf"(?:(?:is|was)\s+{_ADVERBS}(?:the\s+)?(?:better|best|stronger|superior|preferable|preferred|winner)(?:\s+{_THING})?|wins|won)"
_REASON = r"(?:because|since|as|by|over|due|thanks)\b"
_END = rf"(?=\W*$|[*_]*[.!;)]|,(?!\s*(?:but|though|although|however|yet|while))|\s+(?:{_REASON}|overall|than))"
_SEPARATOR = r"[\s*_\"'`]{0,4}(?:(?:\s|\bis\b)*[:=]|\s+is\b)"
_KEY_WORDS = "|".join(key.replace("_", r"[\s_-]+") for key in sorted(KEYS, key=len, reverse=True))
_KEY = re.compile(rf"(?<![\w-])(?:{_KEY_WORDS}){_SEPARATOR}", re.IGNORECASE)
_WHY = re.compile(rf"(?<![\w-])(?:{'|'.join(WHY)}){_SEPARATOR}\s*", re.IGNORECASE)
_TIE_LEAD = re.compile(rf"(?:{'|'.join(_TIE_WORDS)})(?=\W*$|\s*[.,;:(–—-]|\s+{_REASON})", re.IGNORECASE)
_TIE_ALL = re.compile(rf"(?:{'|'.join(_TIE_WORDS)})", re.IGNORECASE)
_UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_OPEN = re.compile(r"\{\s*[\"'].*", re.DOTALL)
_DOUBT = re.compile(r"\b(?:not|if|whether|would|could|neither|unless|might)\b|n['’]t\b", re.IGNORECASE)


@dataclass(frozen=True)
class PairVerdict:
    """Which of the shown answers won: a label or TIE; `reason` says why that is not known.

    `axes` holds the same for each axis that the judge was clear about, `explanation` the judge's words.
    """

    reason: str | None = None
    choice: str | None = None
    explanation: str | None = None
    axes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """How the two answers are called, the one shown first before the other."""

    first: str
    second: str

    @cached_property
    def _one(self) -> str:
        return rf"(?:the\s+)?(?:{_THING}[\s_*:#\"'-]*)?(?P<label>{self.first}|{self.second})"

    @cached_property
    def whole(self) -> re.Pattern[str]:
        """A phrase that is a label and nothing more, or says that it is better than the other."""
        other = self._one.replace("(?P<label>", "(?:")
        return re.compile(rf"{self._one}(?:[\s*]+{_BETTER}(?:\s+(?:than|over)\s+{other})?)?", re.IGNORECASE)

    @cached_property
    def lead(self) -> re.Pattern[str]:
        """A label at the beginning of a phrase that goes on with a reason."""
        other = rf"(?:\s*(?:,|/|\||&|or|and|vs\.?)\s*(?:or\s+|and\s+)?){self._one.replace('(?P<label>', '(?:')}\b"
        return re.compile(
            rf"{self._one}\b(?!{other})(?:\W*$|[*_]*\s*[.,;:(–—-]|\s+{_REASON}|\s+{_BETTER}{_END})", re.IGNORECASE
        )

    @cached_property
    def more(self) -> re.Pattern[str]:
        """A comparison such as A>B or A=B."""
        return re.compile(rf"({self.first}|{self.second})\s*(>+|=+|<+)\s*({self.first}|{self.second})")

    @cached_property
    def sentence(self) -> re.Pattern[str]:
        """A sentence of judgement; the label stands in capitals, since `a` is a word of its own."""
        thing = rf"(?i:{_THING})[\s_*#]*"
        likes = r"(?i:\b(?:prefer|choose|chose|pick|picked|select|favou?r|vote\s+for|go\s+with)\s+(?:the\s+)?)"
        label = rf"({self.first}|{self.second})"
        return re.compile(
            rf"(?<![\w'’-])(?:{thing})?{label}[*_]*\s+(?i:{_BETTER}{_END})|{likes}(?:{thing})?{label}\b(?i:{_END})"
        )

    def choice_in(self, phrase: str) -> str | None:
        """The choice that a short phrase is: `A`, `**Response B**`, `A is better than B`, `tie.`, `A>B`."""
        text = phrase.strip(_STRIP)
        if len(text) > LONGEST:
            return None
        if _TIE_ALL.fullmatch(text):
            return TIE
        if (compared := self.more.fullmatch(text)) and compared[1] != compared[3]:
            return TIE if compared[2][0] == "=" else compared[1] if compared[2][0] == ">" else compared[3]
        found = self.whole.fullmatch(text)
        return found["label"].upper() if found else None

    def choice_at_start(self, phrase: str) -> str | None:
        """The choice that a phrase begins with, when what follows is a reason for it."""
        text = phrase.strip().lstrip(_STRIP)
        if _TIE_LEAD.match(text):
            return TIE
        found = self.lead.match(text)
        article = found and found["label"] == "a" and re.match(r"a\s+\w", text[found.start("label") :])
        return found["label"].upper() if found and not article else None


_STRIP = " \t\r\n*_\"'`[](){}#>.!~:-"
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
        self.text = _OPEN.sub("", _outside(text, inside)).replace("```json", "").replace("```", "")
        self.lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        self.labels, self.finished = labels, finished

    def choices(self) -> set[str]:
        """All choices that the reply names in its most trusted way; none, one, or several that differ."""
        told = [choice for value in self.objects for choice in self._in_object(value)]
        lines, unread = self._in_lines()
        bare = self._bare()
        if told or lines:
            return {*told, *lines, *bare}
        if unread and not bare:
            return set()
        alone = [choice for line in self.lines if not line.endswith(":") and (choice := self.labels.choice_in(line))]
        ends = {self.labels.choice_in(line) for line in (*self.lines[:1], *self.lines[-1:])} - {None}
        if alone and (ends or len(self.lines) == 1):
            return set(alone)
        if not self.finished:
            return set()
        # a line that begins with `1.` may be the first of a list
        leads = len(self.lines) == 1 and self.labels.first.isalpha() and self.labels.choice_at_start(self.lines[0])
        return {*self._in_sentences(), *([leads] if leads else [])}

    def _bare(self) -> list[str]:
        """The first and the last line where they are a label or TIE and nothing else."""
        words = {self.labels.first, self.labels.second, TIE}
        ends = [line.strip(_STRIP).upper() for line in (*self.lines[:1], *self.lines[-1:])]
        return [end for end in ends if end in words]

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
        return [choice] if choice else []

    def _in_lines(self) -> tuple[list[str], bool]:
        """Choices after `VERDICT:` and its like, and whether there was one that cannot be read."""
        told: list[str] = []
        unread = False
        for key, value in _values(self.text):
            choice = self.labels.choice_in(value) or self.labels.choice_at_start(value)
            told += [choice] if choice else []
            form = key.rstrip().endswith((":", "="))  # not prose: "the answer is concise"
            unread |= form and not choice and number(value.strip(_STRIP)) is None
        return told, unread

    def _in_sentences(self) -> Iterator[str]:
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
            name = normal(name.strip(_STRIP))
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
        plain = line.strip(_STRIP)
        if len(plain) > LONGEST:
            return False
        scored = re.fullmatch(r"[\w .*-]{1,60}[:=][*\s]*-?\d[\d./ ]*", plain)
        axis = re.fullmatch(r"[\w .-]{1,60}:\s*(.*)", plain)
        verdict = (found := _KEY.match(plain)) and len(plain) - found.end() < 24
        return bool(not plain or scored or verdict or self.labels.choice_in(axis[1] if axis else plain))


def _outside(text: str, inside: list[str]) -> str:
    """`text` without the objects `inside` it, which stand in their order."""
    kept, place = [], 0
    for span in inside:
        start = text.index(span, place)
        kept.append(text[place:start])
        place = start + len(span)
    return " ".join([*kept, text[place:]])


def _values(text: str) -> Iterator[tuple[str, str]]:
    """Each key such as `VERDICT:`, and what stands behind it, up to the next one or the end of its line."""
    found = list(_KEY.finditer(text))
    for key, following in itertools.zip_longest(found, found[1:]):
        rest = text[key.end() : following.start() if following else len(text)].lstrip(_STRIP)
        yield key[0], rest.split("\n", 1)[0]


def _is_axis(name: str) -> bool:
    """Whether a name with two scores is an axis: not `Response A: 7`, and not the verdict itself."""
    return normal(name) not in KEYS and not re.fullmatch(_THING, name.strip(), re.IGNORECASE)


def better(first: float, second: float, labels: Labels) -> str:
    """The label with the higher number, TIE where they are equal."""
    return TIE if first == second else labels.first if first > second else labels.second


def unblind(choice: str | None, order: str, labels: Labels = SHOWN) -> str | None:
    """Map a label, as shown in `order`, back to first or second; TIE is tie."""
    if choice is None or choice == TIE:
        return None if choice is None else "tie"
    return "first" if (choice == labels.first) == (order == ORDERS[0]) else "second"
