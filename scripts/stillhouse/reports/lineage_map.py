"""The map of a study: groups of artefacts as boxes in layers, what was made from what as lines between them.

A layered layout after Sugiyama, Tagawa and Toda (1981): layers by longest path, places in a layer by the mean place of
the neighbours. Lines that cross a layer get a place in it, so that they do not run behind boxes; all that come from one
box share it.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from stillhouse.provenance.lineage import Node

PARTS = ("held-out", "responses", "judgements", "report")
"""Parts of an evaluation."""
STAGES = ("models", "prompts", "answers", "generations", "datasets", "adapters", "exports", *PARTS)
MOST_GROUPS = 60
"""With more, whole stages stand for their groups."""
WIDTH, HEIGHT, GAP_X, GAP_Y, LANE = 120, 44, 30, 12, 8
"""Box, space between boxes, and height of a line's place, in pixels."""
SWEEPS = 8
LETTERS = 12
"""Letters of a name that fit into a box."""


@dataclass
class Group:
    """Artefacts that are shown as one box; `target` is the fragment that the box links to."""

    name: str
    stage: str
    label: str
    files: list[str] = field(default_factory=list)
    target: str = ""
    x: float = 0
    y: float = 0

    @property
    def short(self) -> str:
        """The label as far as it fits."""
        return self.label if len(self.label) <= LETTERS else f"{self.label[: LETTERS - 1]}…"

    @property
    def note(self) -> str:
        """Stage and number of files."""
        return f"{self.stage} · {len(self.files)}"


@dataclass(frozen=True)
class Line:
    """From one group (by its place in the list) to another that was made from it, with the path of the SVG line."""

    start: int
    end: int
    path: str


@dataclass(frozen=True)
class StudyMap:
    """Everything that the template draws; sizes in pixels."""

    groups: list[Group]
    lines: list[Line]
    width: float
    height: float


def study_map(nodes: list[Node]) -> StudyMap:
    """The map of all artefacts of `nodes`, parents first."""
    groups = grouped(nodes, by_stage=False)
    if len(groups) > MOST_GROUPS:
        groups = grouped(nodes, by_stage=True)
    order = list(groups.values())
    place = {path: number for number, group in enumerate(order) for path in group.files}
    pairs = {
        (place[item["path"]], place[made])
        for node in nodes
        for item in node.inputs
        if item["path"] in place
        for made in node.artefacts
    }
    edges = sorted((start, end) for start, end in pairs if start != end)
    return _Layout(order, edges).drawn()


def grouped(nodes: list[Node], *, by_stage: bool) -> dict[str, Group]:
    """Groups by name, in the order of the stages."""
    groups: dict[str, Group] = {}
    for path in (path for node in nodes for path in node.artefacts):
        name, stage, label = _place(path, by_stage=by_stage)
        groups.setdefault(name, Group(name, stage, label)).files.append(path)
    inside = Counter(folder for group in groups.values() for path in group.files for folder in _folders(path))
    for group in groups.values():
        own = inside[group.name] == len(group.files) > 1
        group.target = f"{group.name}/" if own else group.files[-1]
    return dict(sorted(groups.items(), key=lambda item: (_rank(item[1].stage), item[1].label, item[0])))


def _folders(path: str) -> list[str]:
    """All folders that a file lies in."""
    return list(accumulate(path.split("/")[:-1], "{}/{}".format))


def _rank(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


def _place(path: str, *, by_stage: bool) -> tuple[str, str, str]:
    """Group, stage and label of an artefact; the parts of an evaluation stand before and after what is evaluated."""
    parts = path.split("/")
    stage = parts[1] if len(parts) > 2 else "other"
    if stage == "evaluations" and len(parts) > 3:
        part = parts[3] if len(parts) > 4 else "report"
        part = "held-out" if part == "prompts" else part
        folder = "/".join(parts[: 4 if len(parts) > 4 else 3])
        return (f"results/{stage}/*/{part}", part, "all") if by_stage else (folder, part, parts[2])
    if by_stage or len(parts) < 3:
        return f"results/{stage}", stage, "all"
    return "/".join(parts[:3]), stage, parts[2].removesuffix(".parquet")


class _Layout:
    """Places of groups and of the lines between them."""

    def __init__(self, groups: list[Group], edges: list[tuple[int, int]]) -> None:
        self.groups = groups
        self.edges = _without_circles(len(groups), edges)
        self.layer = _layers(len(groups), self.edges)
        self.lanes: dict[tuple[int, int], int] = {}
        self.routes = {edge: self._route(*edge) for edge in self.edges}
        self.rows = self._rows()
        self.above: dict[int, list[int]] = {}
        self.below: dict[int, list[int]] = {}
        pairs = {pair for route in self.routes.values() for pair in pairwise(route)}
        for left, right in sorted(pairs):
            self.below.setdefault(left, []).append(right)
            self.above.setdefault(right, []).append(left)
        self.y: dict[int, float] = {}

    def _route(self, start: int, end: int) -> list[int]:
        """The points that a line passes: its ends, and its lane in every layer between."""
        return [start, *(self._lane(start, layer) for layer in range(self.layer[start] + 1, self.layer[end])), end]

    def _lane(self, start: int, layer: int) -> int:
        if (start, layer) not in self.lanes:
            self.lanes[start, layer] = len(self.layer)
            self.layer.append(layer)
        return self.lanes[start, layer]

    def _rows(self) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for point, layer in enumerate(self.layer):
            rows[layer].append(point)
        return rows

    def _is_box(self, point: int) -> bool:
        return point < len(self.groups)

    def drawn(self) -> StudyMap:
        for sweep in range(SWEEPS):
            rows, neighbours = (self.rows[1:], self.above) if sweep % 2 == 0 else (self.rows[-2::-1], self.below)
            for row in rows:
                self._stack()
                row.sort(key=lambda point, near=neighbours: self._mean(near.get(point, [point])))
        height = self._stack()
        for number, group in enumerate(self.groups):
            group.x, group.y = self._x(number), self.y[number] - HEIGHT / 2
        lines = [Line(start, end, self._path(route)) for (start, end), route in self.routes.items()]
        return StudyMap(self.groups, lines, len(self.rows) * (WIDTH + GAP_X) - GAP_X + 4, height)

    def _stack(self) -> float:
        """Give every point its height on the page; the height of all is returned."""
        sizes = [[HEIGHT if self._is_box(point) else LANE for point in row] for row in self.rows]
        heights = [sum(row) + GAP_Y * (len(row) + 1) for row in sizes]
        most = max(heights, default=0)
        for row, inner, used in zip(self.rows, sizes, heights, strict=True):
            top = (most - used) / 2 + GAP_Y
            for point, size in zip(row, inner, strict=True):
                self.y[point] = top + size / 2
                top += size + GAP_Y
        return most

    def _mean(self, points: list[int]) -> float:
        return sum(self.y[point] for point in points) / len(points)

    def _x(self, point: int) -> float:
        return 2 + self.layer[point] * (WIDTH + GAP_X)

    def _path(self, route: list[int]) -> str:
        """A smooth line from the right side of a box to the left side of another, straight where it passes a layer."""
        x, y = self._x(route[0]) + WIDTH, self.y[route[0]]
        words = [f"M{x:.0f} {y:.1f}"]
        for point in route[1:]:
            left, height = self._x(point), self.y[point]
            middle = (x + left) / 2
            words.append(f"C{middle:.0f} {y:.1f} {middle:.0f} {height:.1f} {left:.0f} {height:.1f}")
            x, y = left, height
            if not self._is_box(point):
                x += WIDTH
                words.append(f"H{x:.0f}")
        return "".join(words)


def _layers(count: int, edges: list[tuple[int, int]]) -> list[int]:
    """The layer of every group: one behind the last of those that it was made from."""
    layers = [0] * count
    for _ in range(count):
        for start, end in edges:
            layers[end] = max(layers[end], layers[start] + 1)
    return layers


def _without_circles(count: int, edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Edges without those that lead back: groups can depend on one another in a circle though artefacts never do."""
    after: dict[int, list[int]] = {}
    for start, end in edges:
        after.setdefault(start, []).append(end)
    kept: list[tuple[int, int]] = []
    on_way, done = set[int](), set[int]()

    def visit(group: int) -> None:
        on_way.add(group)
        for end in after.get(group, []):
            if end not in on_way:
                kept.append((group, end))
                if end not in done:
                    visit(end)
        on_way.remove(group)
        done.add(group)

    for group in range(count):
        if group not in done:
            visit(group)
    return sorted(kept)
