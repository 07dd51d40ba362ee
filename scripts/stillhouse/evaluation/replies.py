"""What judges' replies are made of: reasoning before the answer, JSON objects in prose, phrases that name a choice."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import json_repair

from stillhouse.llm.reasoning import TAG, split_reasoning
from stillhouse.study.verdict_words import normal

# A backslash in JSON that is meant: \" \\ \/ \uXXXX \n \r \t. Judges write LaTeX unescaped, and then \frac would
# become a form feed, \beta a backspace, \times a tab: such a backslash is doubled before parsing.
_LATEX = r"(?:imes|ext|heta|au|an|o|abla|eq|eg|u|ho|ight|m)\b"
_BACKSLASH = re.compile(rf'\\(\\|"|/|u[0-9a-fA-F]{{4}}|[nrt](?!{_LATEX}))?')
FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)
REPAIRABLE = 50_000  # characters of an object that is not JSON and still repaired; a megabyte takes ten seconds
_BOXED = re.compile(r"\$?\\boxed\s{0,4}\{\s{0,4}(?:\\(?:text|mathrm|textbf)\s{0,4}\{)?([^{}\n]{0,200})\}{1,2}\$?")
MOST_OBJECTS = 200  # different ones in a reply; more are no verdict
_KEY = re.compile(r"""["'{,]\s*([\w][\w .-]{0,80}?)["']?\s*:""")
TIE = "TIE"
LONGEST = 200  # characters of a phrase or line that is read as a choice or a score
STRIP = " \t\r\n*_\"'`[](){}#>.!~:-"
THING = r"(?:response|answer|option|candidate|model|assistant|output|reply|version|text|completion)"
_TIE_WORDS = (
    r"(?:an?\s+)?(?:tie[ds]?|draw)",
    r"(?:it['’]s|it\s+is|this\s+is|call\s+it)\s+a\s+(?:tie|draw)",
    r"no\s+(?:clear\s+)?(?:winner|preference|difference)",
    rf"neither(?:\s+(?:one|{THING}))?(?:\s+(?:is|wins|was)(?:\s+(?:clearly\s+)?(?:better|preferred|superior))?)?",
    rf"(?:both|they|both\s+{THING}s|the\s+(?:two\s+)?{THING}s)(?:\s+are)?\s+(?:about\s+|roughly\s+)?"
    r"(?:equal(?:ly\s+\w+)?|tied|even|the\s+same)",
    r"(?:about\s+|roughly\s+)?equal(?:ly\s+\w+)?",
)
ADVERB = (
    r"(?:clearly|slightly|much|far|overall|marginally|significantly|definitely|somewhat|strictly|a\s+bit|a\s+little)"
)
ADVERBS = rf"(?:{ADVERB}\s+)*"
_BETTER = rf"(?:(?:is|was)\s+{ADVERBS}(?:the\s+)?(?:better|best|stronger|superior|preferable|preferred|winner)(?:\s+{THING})?|wins|won)"
_REASON = r"(?:because|since|as|by|over|due|thanks)\b"
_END = (
    rf"(?=\W*$|[*_]*[.!;)]|,(?!\s*(?:but|though|although|however|yet|while|if|unless))|\s+(?:{_REASON}|overall|than))"
)
TIE_LEAD = re.compile(rf"(?:{'|'.join(_TIE_WORDS)})(?=\W*$|\s*[.,;:(–—-]|\s+{_REASON})", re.IGNORECASE)
_TIE_ALL = re.compile(rf"(?:{'|'.join(_TIE_WORDS)})", re.IGNORECASE)
_BAD = re.compile(
    rf"[\W_]{{0,20}}(?:(?:the|it|this|that|which|is|was|has|does|very|rather|quite|really|simply|just|{ADVERB})\s+){{0,5}}"
    r"(?:wors[et]|weak(?:er|est)?|los(?:es?|er|t|ing)|inferior|poor(?:er|ly)?|bad(?:ly)?|no|not|never|fail(?:s|ed)?|lacks?"
    r"|wrong|incorrect|too|rejected)\b",
    re.IGNORECASE,
)
_SCORED = re.compile(
    r"[\W_]{0,20}(?:(?:scores?|rated|rating|gets|about|only)\W{1,4}){0,2}"
    r"(?:\d|(?:zero|one|two|three|four|five|six|seven|eight|nine|ten)\s+(?:stars?|points?|out\s+of)\b)",
    re.IGNORECASE,
)
_WEIGHED = re.compile(rf"[*_)\]\"'`]*,?\s*{_REASON}", re.IGNORECASE)
_CLAUSE = (
    r"(?:^|[.,;:!?/|()\[\]–—-]|\b(?i:and|or|but|then|yet|while|maybe|perhaps|actually|wait|no|yes)\b)[\s*_\"'`]{0,6}"
)
_LEANS = r"(?i:\blean(?:s|ing)?(?:\s+(?:to|towards?))?|\b(?:edge|nod)\s+(?:to|for)|\bslight(?:ly)?(?:\s+preference\s+for)?)\s+"


class AmbiguousError(Exception):
    """A reply that says two different things."""


def without_reasoning(text: str) -> str:
    """`text` without the think block that it begins with; tags further on are words of the reply."""
    return split_reasoning(text).answer if TAG.match(text.lstrip()) else text


def storable(text: str) -> str:
    """`text` as UTF-8 can hold it: half a surrogate pair becomes the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def spans(text: str) -> tuple[list[str], bool]:
    """Outermost {...} of `text`, and whether a last one has no end. Braces inside strings do not count."""
    found: list[str] = []
    depth, start, quoted, escaped = 0, 0, False, False
    for place, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"' and depth:
            quoted = True
        elif character == "{":
            start = start if depth else place
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                found.append(text[start : place + 1])
    return found, depth > 0


def outside(text: str, inside: list[str]) -> str:
    """`text` without the objects `inside` it, which stand in their order."""
    kept, place = [], 0
    for span in inside:
        start = text.index(span, place)
        kept.append(text[place:start])
        place = start + len(span)
    return " ".join([*kept, text[place:]])


def unmarked(text: str, names: Iterable[str]) -> str:
    """`text` with `\\boxed{A}` as A, and `<verdict>A</verdict>` as a line `verdict: A` for each of `names`."""
    plain = _BOXED.sub(r"\1", text)
    tags = re.compile(rf"<\s{{0,4}}({'|'.join(names)})\s{{0,4}}>([^<>]{{0,200}})</\s{{0,4}}\1\s{{0,4}}>", re.IGNORECASE)
    return tags.sub(lambda tag: f"\n{tag[1]}: {' '.join(tag[2].split())}\n", plain)


def parse_object(span: str, names: set[str]) -> dict[str, Any] | None:
    """One balanced object: strictly, else repaired. json-repair never sees an object without its end.

    Raises `AmbiguousError` when a key comes twice with two values; in a repaired object, where that cannot be seen
    any more, when one of `names` (normal ones) comes twice.
    """
    kept = _BACKSLASH.sub(lambda match: match[0] if match[1] else "\\\\", span)
    try:
        value = json.loads(kept, object_pairs_hook=no_repeats)
    except (ValueError, RecursionError):
        value = _repaired(kept, names)
    return value if isinstance(value, dict) else None


def _repaired(text: str, names: set[str]) -> Any:
    if len(text) > REPAIRABLE:
        return None
    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    keys = [normal(key) for key in _KEY.findall(text)]
    for name in sorted(names & set(keys)):
        if keys.count(name) > 1:
            raise AmbiguousError(f"{name!r} comes twice")
    return value


def parse_objects(inside: list[str], names: set[str]) -> list[dict[str, Any]]:
    """The different objects among `inside`, parsed as by `parse_object`. Raises `AmbiguousError` for far too many."""
    different = dict.fromkeys(inside)
    if len(different) > MOST_OBJECTS:
        raise AmbiguousError(f"{len(different)} objects")
    return [value for span in different if (value := parse_object(span, names))]


def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that comes twice with different values would silently keep the last."""
    kept: dict[str, Any] = {}
    for name, value in pairs:
        if name in kept and kept[name] != value:
            raise AmbiguousError(f"{name!r} comes twice")
        kept[name] = value
    return kept


@dataclass(frozen=True)
class Labels:
    """How the two answers are called, the one shown first before the other."""

    first: str
    second: str

    @cached_property
    def _one(self) -> str:
        return rf"{ADVERBS}(?:the\s+)?(?:{THING}[\s_*:#\"'(\[-]*)?(?P<label>{self.first}|{self.second})"

    @cached_property
    def whole(self) -> re.Pattern[str]:
        """A phrase that is a label and nothing more, or says that it is better than the other."""
        other = self._one.replace("(?P<label>", "(?:")
        better_than = rf"(?:[\s*]+{_BETTER}(?:\s+(?:than|over)\s+{other})?)?"
        return re.compile(rf"{self._one}[)\]]?(?:\s+{ADVERB})?{better_than}", re.IGNORECASE)

    @cached_property
    def lead(self) -> re.Pattern[str]:
        """A label at the beginning of a phrase that goes on with a reason."""
        other = rf"(?:\s*(?:,|/|\||&|or|and|vs\.?)\s*(?:or\s+|and\s+)?){self._one.replace('(?P<label>', '(?:')}\b"
        return re.compile(
            rf"{self._one}\b(?!{other})(?=\W*$|[*_)\]]*\s*[.,;:(–—-]|[)\]]?\s+(?:{_REASON}|{_BETTER}{_END}))",
            re.IGNORECASE,
        )

    @cached_property
    def more(self) -> re.Pattern[str]:
        """A comparison such as A>B or A=B."""
        return re.compile(rf"({self.first}|{self.second})\s*(>+|=+|<+)\s*({self.first}|{self.second})")

    @cached_property
    def sentence(self) -> re.Pattern[str]:
        """A sentence of judgement; the label stands in capitals, since `a` is a word of its own."""
        thing = rf"(?i:{THING})[\s_*#]*"
        likes = (
            r"(?i:\b(?:prefer|choose|chose|pick|picked|select|favou?r|vote\s+for|go\s+with)(?:\s*:\s*|\s+)(?:the\s+)?)"
        )
        label = rf"({self.first}|{self.second})"
        return re.compile(
            rf"(?<![\w'’-])(?:{thing})?{label}[*_]*\s+(?i:{_BETTER}{_END})|{likes}(?:{thing})?{label}\b(?i:{_END})"
        )

    @cached_property
    def instead(self) -> re.Pattern[str]:
        """`B is not the winner; A is.`"""
        label = rf"(?:(?i:the\s+)?(?i:{THING})[\s_*#]{{0,4}})?({self.first}|{self.second})"
        loses = (
            rf"(?i:(?:is|was)(?:\s+not|n['’]t)\s+{ADVERBS}(?:the\s+)?(?:better|best|stronger|winner)(?:\s+{THING})?)"
        )
        return re.compile(
            rf"(?<![\w'’-]){label}\s+{loses}\s*[;,.]\s+(?i:but\s+)?{label}\s+(?:is|was)(?=\s*(?:[.!;]|$))"
        )

    @cached_property
    def leaning(self) -> re.Pattern[str]:
        """A label that a tie leans to."""
        thing = rf"(?:(?i:the\s+)?(?i:{THING})[\s_*#]{{0,4}})?"
        return re.compile(rf"{_LEANS}{thing}({self.first}|{self.second})(?!\w)")

    @cached_property
    def named(self) -> re.Pattern[str]:
        """A label that is no article: `, but A`, `A is`."""
        verb = r"\s+(?:is|was|has|wins|does|slightly|marginally|over|by|if|for|as|because|edges|and|or)\b"
        return re.compile(rf"(?<![\w'’])({self.first}|{self.second})(?!\w)(?:(?!\s+[a-z])|(?={verb}))")

    @cached_property
    def grade(self) -> re.Pattern[str]:
        """`A+` and `A-` are marks, not choices."""
        return re.compile(rf"(?<!\w)(?:{self.first}|{self.second})(?:\s?\+|[−-])(?![\w+−-])", re.IGNORECASE)

    def both_better(self, phrase: str, below: str = "") -> set[str]:
        """The labels that a phrase which calls one better, and the lines `below` it, call better with no more said."""
        form = self._called_better
        return {found.upper() for found in form.findall(f"{phrase}\n{below}")} if form.search(phrase) else set()

    @cached_property
    def _called_better(self) -> re.Pattern[str]:
        ends = rf"(?=\s*(?:[.,;:!|/–—-]|$)|\s+(?:and|but|while|the|{THING})\b)"
        return re.compile(
            rf"(?<!\w)({self.first}|{self.second})[*_)]{{0,4}}\s+{_BETTER}{ends}", re.IGNORECASE | re.MULTILINE
        )

    def choice_in(self, phrase: str) -> str | None:
        """The choice that a short phrase is: `A`, `**Response B**`, `A is better than B`, `tie.`, `A>B`."""
        text = phrase.strip(STRIP)
        if len(text) > LONGEST or self.grade.search(phrase):
            return None
        if _TIE_ALL.fullmatch(text):
            return TIE
        if (compared := self.more.fullmatch(text)) and compared[1] != compared[3]:
            return TIE if compared[2][0] == "=" else compared[1] if compared[2][0] == ">" else compared[3]
        found = self.whole.fullmatch(text)
        return found["label"].upper() if found else None

    def choice_at_start(self, phrase: str, below: str = "") -> str | None:
        """The choice that a phrase begins with, when what follows is a reason for it; `below` are lines that come after.

        `A: 3, B: 4` and `A: poor. B: good.` describe both answers and `A - worse` speaks against one: no choice.
        """
        text = phrase.strip().lstrip(STRIP)
        if tie := TIE_LEAD.match(text):
            rest = text[tie.end() :]
            one_sided = len(set(self.named.findall(rest))) == 1 and not _WEIGHED.match(rest)
            return None if one_sided or self.leaning.search(rest) else TIE
        found = self.lead.match(text)
        if not found or (found["label"] == "a" and re.match(r"a\s+\w", text[found.start("label") :])):
            return None
        label, rest = found["label"], text[found.end("label") :]
        return None if self._spoiled(label, rest, below) else label.upper()

    def _spoiled(self, label: str, rest: str, below: str) -> bool:
        """Whether what follows `label` scores it, speaks against it, or says the like of the other one."""
        other = self.second if label.upper() == self.first else self.first
        again = _again(other if label.isupper() or label.isdigit() else other.lower())
        if _WEIGHED.match(rest):
            return any(match["reason"] or match["why"] for match in again.finditer(f"{rest}\n{below}"))
        if re.match(rf"[*_)\]]*\s+{_BETTER}", rest, re.IGNORECASE):
            return False
        # `A. A is weaker`; but `A, not B`, and `1. 2 rambles`, where 2 is the other answer
        tail = re.sub(rf"^\W{{1,6}}(?:{THING}\s+)?{label}(?=\s)", "", rest, count=1, flags=re.IGNORECASE)
        scored = _SCORED.match(rest) and not re.match(rf"\W+{other}\s+(?!stars?\b|points?\b|out\b)[a-z]", rest)
        against = _BAD.match(tail) and not re.match(rf"\W*not\s+(?:{THING}\s+)?{other}(?!\w)", rest, re.IGNORECASE)
        listed = (match for match in again.finditer(f"{rest}\n{below}") if not match["within"])
        mark = rest.lstrip("*_)]\"'` ")[:1]
        like = any((match["same"] or match["comma"] or mark) == mark for match in listed)
        thing = rf"\W{{0,6}}(?:(?:the\s+)?{THING}\W{{0,6}})?"
        below_too = not re.search(r"\w", rest) and re.match(rf"{thing}{other}(?!\w)", below, re.IGNORECASE)
        return bool(self.grade.match(label + rest) or scored or against or like or below_too)


@cache
def _again(other: str) -> re.Pattern[str]:
    """The other label in the form of a list: `B: good`, `; B (9)`, `. B.`; but not in a reason, as in `than B: ...`."""
    label = rf"(?i:the\s+)?(?:(?i:{THING})[\s_*#\"'(\[-]{{0,6}})?[*_\"'(\[]{{0,6}}{other}(?!\w)[*_\"')\]]{{0,6}}"
    words = "than|to|of|over|with|like|unlike|from|against|for|in|by|not|because|since|as|whereas|where|does"
    verbs = "beats?|outclass(?:es)?|outperforms?|surpass(?:es)?|edges"
    within = rf"(?P<within>\b(?i:{words}|{verbs})\s+)"
    same = rf",?\s{{1,4}}(?P<why>{_REASON})|\s{{0,4}}(?P<same>[.;,(])(?=\W{{0,3}}[\w+])"
    dash = r"\s{1,4}-|-(?!\w)"
    follows = rf"\s{{0,4}}(?:[.;:=(–—]|(?P<reason>,?\s{{0,4}}{_REASON})|(?P<comma>,)|$)|{dash}"
    return re.compile(
        rf"{within}{label}|{_CLAUSE}{label}(?:{follows})|(?<!\w){label}(?:\s{{0,4}}[:=–—]|\s{{1,4}}-\s|{same})",
        re.MULTILINE,
    )
