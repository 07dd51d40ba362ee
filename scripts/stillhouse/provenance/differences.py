"""Why two artefacts differ: what their jobs were told differently, followed upstream to the first causes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stillhouse.provenance.changes import ABSENT
from stillhouse.provenance.lineage import Lineage, Node

Item = dict[str, Any]
Pair = tuple[Item, Item]


@dataclass(frozen=True)
class Difference:
    """One thing that differs between two jobs; where one side has no value, `a` or `b` is ABSENT.

    `aspect` is rule, recipe, code, software, input (one side reads no such file), source (a file of the user's),
    outdated (one job read an earlier version of a file that was made anew since), or bytes (one build key, and yet
    other bytes).
    """

    aspect: str
    key: str
    a: Any
    b: Any

    def plain(self) -> dict[str, Any]:
        """For JSON; a side without a value is left out, as null is a value."""
        sides = {name: value for name, value in (("a", self.a), ("b", self.b)) if value is not ABSENT}
        return {"aspect": self.aspect, "key": self.key, **sides}


@dataclass(frozen=True)
class Step:
    """Two jobs that stand in the same place of both ancestries, and what differs between them.

    `through` names the inputs that lead there. `upstream` are input names whose files differ because of another step.
    """

    a: Node
    b: Node
    through: tuple[str, ...]
    differences: tuple[Difference, ...]
    upstream: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "through": list(self.through),
            "a": self.a.job,
            "b": self.b.job,
            "differences": [one.plain() for one in self.differences],
            "upstream": list(self.upstream),
        }


@dataclass
class Compared:
    """Two lists of inputs of one name, matched: other contents on both sides, or a file on one side only."""

    changed: list[Pair] = field(default_factory=list)
    alone: list[Difference] = field(default_factory=list)


def steps_between(lineage: Lineage, a: Node, b: Node) -> list[Step]:
    """All pairs of jobs on the way to the first causes that differ, from the artefacts down; none for one build key."""
    found: list[Step] = []
    seen: set[tuple[Node, Node]] = set()
    waiting: list[tuple[Node, Node, tuple[str, ...]]] = [(a, b, ())]
    for left, right, through in waiting:
        if (left, right) in seen or left is right or left.record["key"] == right.record["key"]:
            continue
        seen.add((left, right))
        differences = list(_own(left, right))
        upstream: dict[str, None] = {}
        for name, one, other in _changed_inputs(left, right, differences):
            parents = lineage.node_of(one["path"]), lineage.node_of(other["path"])
            cause = _cause(one, other, *parents)
            if cause:
                differences.append(cause)
            else:
                upstream[name] = None
                waiting.append((*parents, (*through, name)))
        found.append(Step(left, right, through, tuple(differences), tuple(upstream)))
    return found


def _cause(one: Item, other: Item, left: Node | None, right: Node | None) -> Difference | None:
    """Why two inputs differ, where no pair of jobs further up tells it."""
    sides = (one["sha256"], other["sha256"])
    key = one["path"] if one["path"] == other["path"] else f"{one['path']} and {other['path']}"
    if left is None or right is None:
        return Difference("source", key, *sides)
    if left is right:
        return Difference("outdated", key, *sides)
    if left.record["key"] == right.record["key"]:
        return Difference("bytes", key, *sides)
    return None


def _own(a: Node, b: Node) -> Iterator[Difference]:
    """What differs between two jobs by themselves, inputs left aside."""
    if a.rule != b.rule:
        yield Difference("rule", "rule", a.rule, b.rule)
        return  # what two rules read and take is not to be compared
    for aspect, left, right in (
        ("recipe", flat(a.record.get("recipe", {})), flat(b.record.get("recipe", {}))),
        ("code", _code(a), _code(b)),
        ("software", a.record.get("software") or {}, b.record.get("software") or {}),
    ):
        for key in sorted(left.keys() | right.keys()):
            if key not in left or key not in right or left[key] != right[key]:
                yield Difference(aspect, key, left.get(key, ABSENT), right.get(key, ABSENT))


def _code(node: Node) -> dict[str, str]:
    return (node.record.get("code") or {}).get("files") or {}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested dicts and lists as one dict with dotted keys; empty ones and plain values are leaves."""
    if isinstance(value, dict) and value:
        parts = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        parts = [(f"{path}[{number}]", item) for number, item in enumerate(value)]
    else:
        return {path: value}
    return {key: leaf for name, item in parts for key, leaf in flat(item, name).items()}


def _changed_inputs(a: Node, b: Node, differences: list[Difference]) -> Iterator[tuple[str, Item, Item]]:
    """Yield (name, a's input, b's input) where contents differ; inputs of one side only go to `differences`."""
    if a.rule != b.rule:
        return
    narrowed = a.record.get("contents") or {}, b.record.get("contents") or {}
    names = dict.fromkeys(item["name"] for node in (a, b) for item in node.inputs)
    for name in names:
        if name in narrowed[0] and narrowed[0][name] == narrowed[1].get(name):
            continue  # the job counts a part of the file only, and that part is the same
        mine, theirs = ([item for item in node.inputs if item["name"] == name] for node in (a, b))
        compared = _match(mine, theirs)
        differences.extend(compared.alone)
        yield from ((name, *pair) for pair in compared.changed)


def _match(mine: list[Item], theirs: list[Item]) -> Compared:
    """Pair up inputs of one name: the same content first, then the same path, then what is left in order."""
    result = Compared()
    for key in ("sha256", "path"):
        for item in list(mine):
            other = next((one for one in theirs if one[key] == item[key]), None)
            if other is not None:
                mine.remove(item)
                theirs.remove(other)
                if key == "path":
                    result.changed.append((item, other))
    if len(mine) == len(theirs):
        result.changed.extend(zip(mine, theirs, strict=True))
        return result
    for items, sides in ((mine, lambda sha256: (sha256, ABSENT)), (theirs, lambda sha256: (ABSENT, sha256))):
        for item in items:
            result.alone.append(Difference("input", f"{item['name']} {item['path']}", *sides(item["sha256"])))
    return result
