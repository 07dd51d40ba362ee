"""Geometry of the page's plots: rows of marks with intervals, and bars. Positions are percent of the axis."""

from dataclasses import dataclass, replace
from typing import Any

from stillhouse.reports import report_links as links
from stillhouse.reports.view import components, interval, number, percent, sets, subjects

Report = dict[str, Any]

MARGIN = 2.0
"""Percent of the axis left free on both sides, so that a mark at its end is whole."""
STEPS = (4, 3, 5)
"""Numbers of steps that an axis may have; the first that gives whole numbers is taken."""


@dataclass(frozen=True)
class Mark:
    """A value with its interval. `kind` is what it is drawn as: student, other, side, win, flip."""

    place: float
    low: float | None
    high: float | None
    kind: str


@dataclass(frozen=True)
class Line:
    """One row of a plot; `href` leads to what is behind it."""

    label: str
    told: str
    note: str
    href: str
    marks: list[Mark]


@dataclass(frozen=True)
class Group:
    """Rows under one heading (an empty one where there is a single group)."""

    title: str
    lines: list[Line]


@dataclass(frozen=True)
class Plot:
    """Groups of rows over one axis. `ticks` are (position, text), `reference` is where a line to compare with stands."""

    groups: list[Group]
    ticks: list[tuple[float, str]]
    reference: float | None = None


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: heights and places in percent, `count` answers with `label` markers."""

    x: float
    width: float
    height: float
    label: str
    count: int
    href: str


@dataclass(frozen=True)
class Histogram:
    """How many answers of a subject to a set hold 0, 1, 2 ... markers."""

    subject: str
    set: str
    role: str
    n: int
    bars: list[Bar]


@dataclass(frozen=True)
class Axis:
    """From `low` to `high` in the unit of the values."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where `value` stands, in percent; values beyond the ends stand at the ends."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(MARGIN + (100 - 2 * MARGIN) * min(max(share, 0.0), 1.0), 2)

    def mark(self, value: float, bounds: list[float] | None, kind: str) -> Mark:
        """A mark with its interval."""
        low, high = (self.place(bounds[0]), self.place(bounds[1])) if bounds else (None, None)
        return Mark(self.place(value), low, high, kind)

    def ticks(self, show: Any) -> list[tuple[float, str]]:
        """Evenly spaced positions with their labels."""
        width = self.high - self.low
        steps = next((number for number in STEPS if width % number == 0), STEPS[0])
        values = [self.low + width * step / steps for step in range(steps + 1)]
        return [(self.place(value), show(value)) for value in values]


SHARES = Axis(0.0, 1.0)


def _kind(subject: Report) -> str:
    return "student" if subject["condition"] == "student" else "other"


def scores_by_category(report: Report) -> Plot | None:
    """Recomputed rubric scores by category with their intervals; None without a rubric or categories."""
    judged = [(name, item, item["rubric"]["recomputed"]) for name, item in subjects(report) if item["rubric"]]
    axis = Axis(*map(float, report["rubric"]["scale"])) if report["rubric"] else SHARES
    named = [category for _, _, found in judged for category in found["by_category"]]
    groups = []
    for category in dict.fromkeys([*report["categories"], *sorted(set(named))]):
        lines = []
        for name, item, found in judged:
            value = found["by_category"].get(category)
            if value is not None:
                bounds, count = (
                    found["intervals"]["by_category"].get(category),
                    found["counts"]["by_category"][category],
                )
                told = f"{number(value)}{_ci(bounds)}"
                href = links.answers(subject=name, category=category, status="scored")
                lines.append(Line(name, told, f"n {count}", href, [axis.mark(value, bounds, _kind(item))]))
        groups += [Group(category.replace("_", " "), lines)] if lines else []
    return Plot(_flat(groups), axis.ticks(lambda value: f"{value:g}")) if groups else None


def markers_by_category(report: Report) -> Plot | None:
    """Capped marker scores by category on target sets, one group a category of each set."""
    groups = []
    for key, about in sets(report):
        if about["role"] != "target":
            continue
        for category in about["categories"]:
            lines = []
            for name, item in subjects(report):
                found = item["markers"].get(key, {"by_category": {}})["by_category"].get(category)
                if found:
                    href = links.answers(subject=name, set=key, category=category)
                    marks = [SHARES.mark(found["capped"], found["capped_interval"], _kind(item))]
                    lines.append(Line(name, number(found["capped"]), f"n {found['n']}", href, marks))
            groups += [Group(f"{category.replace('_', ' ')} · {key}", lines)] if lines else []
    return Plot(_flat(groups), SHARES.ticks(number)) if groups else None


def _flat(groups: list[Group]) -> list[Group]:
    """One group of all rows, named by their headings, where every group is about one and the same subject."""
    if len({line.label for group in groups for line in group.lines}) > 1 or any(
        len(group.lines) > 1 for group in groups
    ):
        return groups
    return [Group("", [replace(line, label=group.title) for group in groups for line in group.lines])]


def capped_scores(report: Report) -> Plot | None:
    """Capped marker score of every subject on every set, with intervals."""
    groups = []
    for key, about in sets(report):
        lines = []
        for name, item in subjects(report):
            found = item["markers"].get(key)
            if found and found["capped"] is not None:
                told = f"{number(found['capped'])}{_ci(found['capped_interval'])}"
                mark = SHARES.mark(found["capped"], found["capped_interval"], _kind(item))
                lines.append(Line(name, told, f"n {found['n']}", links.answers(subject=name, set=key), [mark]))
        groups += [Group(f"{key} ({about['role']})", lines)] if lines else []
    return Plot(groups, SHARES.ticks(number)) if groups else None


def win_rates(report: Report) -> Plot | None:
    """Win rate of each pair with its interval, the length-controlled one below it."""
    lines = []
    for name, pair in report["pairwise"].items():
        if pair["rate"] is None:
            continue
        marks = [SHARES.mark(pair["rate"], pair["interval"], "student")]
        held = pair["length_controlled"]
        if held and held["rate"] is not None:
            marks.append(SHARES.mark(held["rate"], held["interval"], "side"))
        told = f"{number(pair['rate'])}{_ci(pair['interval'])}"
        lines.append(Line(vs(pair), told, f"n {pair['n']}", links.pairs(pair=name, verdict="counted"), marks))
    return Plot([Group("", lines)], SHARES.ticks(percent), SHARES.place(0.5)) if lines else None


def flip_rates(report: Report) -> Plot | None:
    """Share of comparisons whose two orders contradict each other, by pair and judge."""
    groups = []
    for name, pair in report["pairwise"].items():
        lines = []
        for judge, found in pair["by_judge"].items():
            if found["flip_rate"] is not None:
                mark = SHARES.mark(found["flip_rate"], None, "flip")
                href = links.pairs(pair=name, judge=judge, verdict="flips")
                lines.append(Line(judge, percent(found["flip_rate"]), "", href, [mark]))
        groups += [Group(vs(pair), lines)] if lines else []
    return Plot(groups, SHARES.ticks(percent), SHARES.place(0.5)) if groups else None


def ladder(report: Report) -> Plot | None:
    """Bradley-Terry ratings from the best to the last."""
    ratings = report["ratings"]
    if not ratings:
        return None
    found = [(name, ratings["subjects"][name]) for name in ratings["order"]]
    ends = [end for _, item in found for end in (item["interval"] or [item["rating"]])]
    axis = Axis(50 * (min(ends) // 50), 50 * (max(ends) // 50 + 1))
    lines = []
    for name, item in found:
        kind = _kind(report["subjects"].get(name, {"condition": None}))
        told = f"{number(item['rating'], 0)}{_ci(item['interval'], 0)}"
        mark = axis.mark(item["rating"], item["interval"], kind)
        lines.append(Line(f"{item['place']}. {name}", told, "", links.answers(subject=name), [mark]))
    return Plot([Group("", lines)], axis.ticks(lambda value: number(value, 0)))


def histograms(report: Report) -> list[Histogram]:
    """One for each set and subject that was scored by markers."""
    found = []
    for key, about in sets(report):
        for name, item in subjects(report):
            score = item["markers"].get(key)
            if score and score["histogram"]:
                found.append(Histogram(name, key, about["role"], score["n"], _bars(name, key, score["histogram"])))
    return found


def _bars(subject: str, key: str, counts: list[int]) -> list[Bar]:
    step, most = 100 / len(counts), max(counts) or 1
    return [
        Bar(
            round(place * step + 0.08 * step, 2), round(0.84 * step, 2), round(100 * count / most, 2),
            str(place), count, links.answers(subject=subject, set=key, raw=place),
        )
        for place, count in enumerate(counts)
    ]  # fmt: skip


def strongest(report: Report, found: Report) -> str:
    """A subject's strongest and weakest component in words."""
    if len(components(report)) < 2 or not found["strongest"]:
        return ""
    return f"strongest {found['strongest'].replace('_', ' ')}, weakest {found['weakest'].replace('_', ' ')}"


def vs(pair: Report) -> str:
    """A pair in words."""
    return f"{pair['candidate']} against {pair['baseline']}"


def _ci(bounds: list[float] | None, digits: int = 2) -> str:
    return f" ({interval(bounds, digits)})" if bounds else ""
