"""Rankings by judges: shuffled labels, parsing, Borda count.

Borda count: with three candidates a first place gives 2 points, a second 1, a last 0 (de Borda 1781).
"""

import random
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise, permutations

CANDIDATES = ("A", "B", "AB")
LABELS = ("X1", "X2", "X3")
PREFERENCE = {"A": 2, "AB": 1, "B": 0}

LINE = re.compile(r"ranking\s*[:=\-]\s*(.+)", re.IGNORECASE)
LABEL = re.compile(r"\bX\s?(\d+)\b", re.IGNORECASE)
LABEL_LIST = re.compile(
    r"^[\s\[(<*`]*X\s?\d+(?:[\s,;>*`|)\]]|then|and)*(?:X\s?\d+(?:[\s,;>*`|)\].]|then|and)*)*$", re.IGNORECASE
)

UNCLEAR = re.compile(r"[<=≈~≤≥]|\btied?\b|\bequal", re.IGNORECASE)


def ranking_grammar(labels: Sequence[str] = LABELS) -> str:
    """The GBNF that holds a judge to one ranking line over `labels`."""
    orders = " | ".join(f'"{" > ".join(order)}"' for order in permutations(labels))
    return f'root ::= "RANKING: " order\norder ::= {orders}\n'


def shuffled_labels(seed: int, candidates: Sequence[str] = CANDIDATES) -> dict[str, str]:
    """Label -> candidate, permuted by `seed`."""
    order = list(candidates)
    random.Random(seed).shuffle(order)
    return dict(zip(LABELS, order, strict=False))


def parse_ranking(text: str, labels: Sequence[str] = LABELS) -> list[str] | None:
    """Labels from best to worst out of a judge's reply, or None when it is missing or ambiguous.

    Takes any case, commas or newlines for `>`, reasoning before the line, and the same line repeated;
    refuses missing, doubled or unknown labels, ties, orders by `<`, and two different rankings.
    """
    rankings = [ranking for ranking in _candidates(text) if ranking]
    if not rankings or any(sorted(ranking) != sorted(labels) for ranking in rankings):
        return None
    return rankings[0] if all(ranking == rankings[0] for ranking in rankings) else None


def _candidates(text: str) -> list[list[str]]:
    """The label lists of all ranking lines; a ranking may run over the lines that follow its heading."""
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        marked = LINE.search(line)
        if marked:
            found.append(_labels(marked.group(1)))
        elif re.fullmatch(r"[\s*#`]*ranking\s*[:=\-]?[\s*`]*", line, re.IGNORECASE):
            found.append(_labels("\n".join(_following(lines[number + 1 :]))))
    if not found:
        found = [_labels(line) for line in lines if LABEL_LIST.match(line.replace("=>", ">"))]
    return found


def _following(lines: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if not LABEL.search(line) and (line.strip() or kept):
            break
        kept.append(line)
    return kept


def _labels(text: str) -> list[str]:
    """The labels in `text`; one that nobody has stands for a tie or an order from worst to best (`=`, `<`)."""
    plain = re.sub(r"<(X\s?\d+)>", r"\1", text.replace("=>", ">"), flags=re.IGNORECASE)
    found = list(LABEL.finditer(plain))
    between = [plain[one.end() : other.start()] for one, other in pairwise(found)]
    if any(UNCLEAR.search(gap) for gap in between):
        return ["?"]
    return [f"X{match.group(1)}" for match in found]


def groups_of(texts: dict[str, str]) -> list[list[str]]:
    """Candidates with equal texts together, the ones that ties prefer first in each group."""
    groups: dict[str, list[str]] = {}
    for candidate in sorted(texts, key=lambda name: -PREFERENCE[name]):
        groups.setdefault(texts[candidate], []).append(candidate)
    return sorted(groups.values(), key=lambda group: CANDIDATES.index(group[0]))


def borda(rankings: Iterable[Sequence[str]], candidates: Sequence[str] = CANDIDATES) -> dict[str, int]:
    """Borda points by candidate over `rankings` (candidates from best to worst)."""
    points = dict.fromkeys(candidates, 0)
    for ranking in rankings:
        for place, candidate in enumerate(ranking):
            points[candidate] += len(candidates) - 1 - place
    return points


def winner(points: dict[str, int]) -> str:
    """The candidate with most points; ties prefer A, then AB, then B: change has to earn its place."""
    return max(points, key=lambda candidate: (points[candidate], PREFERENCE[candidate]))
