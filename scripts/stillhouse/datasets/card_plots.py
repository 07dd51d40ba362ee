"""A dataset's plots as SVG, the same bytes for the same report: how long its rows are, and where they come from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.provenance.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"prompt": "#8a9ba8", "answer": "#1f6f8b", "rejected": "#c8553d", "wanted": "#d9c9a3", "tokens": "#c8553d"}
MOST_SOURCES = 20
"""Bars that stay readable; the smallest sources beyond are one bar."""
MOST_LETTERS = 32


def plot_lengths(report: Mapping[str, Any], target: Path) -> None:
    """Draw how many prompts and answers have how many words, and rows how many tokens where those were counted."""
    lengths, tokens = report["lengths"], report["tokens"]
    with _figure(target, 2 if tokens else 1, 3.4) as axes:
        _bars(axes[0], lengths["edges"], {name: lengths[name] for name in ("prompt", "answer")}, "words")
        if tokens:
            histogram = tokens["histogram"]
            splits = [counts for name, counts in histogram.items() if name != "edges"]
            whole = [sum(counts) for counts in zip(*splits, strict=True)]
            _bars(axes[1], histogram["edges"], {"answer": whole}, "tokens of prompt and answer")
            if tokens["max_length"] is not None:
                _limit(axes[1], histogram["edges"], tokens["max_length"])


def _bars(axis: "Axes", edges: list[int], series: Mapping[str, list[int]], unit: str) -> None:
    """Bars of equal width for bins that are not; empty bins behind the last full one are left out."""
    axis.set(xlabel=unit, ylabel="rows")
    last = max((place for counts in series.values() for place, count in enumerate(counts) if count), default=None)
    if last is None:
        axis.text(0.5, 0.5, "no rows", ha="center", va="center", transform=axis.transAxes)
        axis.set(xticks=[], yticks=[])
        return
    width = 0.8 / len(series)
    for number, (name, counts) in enumerate(series.items()):
        places = [place + width * (number + 0.5) for place in range(last + 1)]
        label = name if len(series) > 1 else None
        axis.bar(places, counts[: last + 1], width=width, color=COLOURS[name], label=label)
    step = max(1, (last + 1) // 12)
    labels = [f"{edge:,}" for edge in edges[: last + 1 : step]]
    axis.set_xticks(range(0, last + 1, step), labels, rotation=45, ha="right", rotation_mode="anchor")
    if len(series) > 1:
        axis.legend(frameon=False)


def _limit(axis: "Axes", edges: list[int], limit: int) -> None:
    """A line at the length beyond which rows are cut, in the place that it has within its bin."""
    number = max(place for place, edge in enumerate(edges) if edge <= limit)
    end = edges[number + 1] if number + 1 < len(edges) else 2 * edges[number]
    place = number + 0.8 * (limit - edges[number]) / max(end - edges[number], 1)
    if place <= axis.get_xlim()[1]:
        axis.axvline(place, color=COLOURS["rejected"], linestyle="--", label=f"max_length {limit:,}")
        axis.legend(frameon=False)


def plot_mix(report: Mapping[str, Any], target: Path) -> None:
    """Draw each source's share: as wanted, and as realised by rows and, where they were counted, by tokens."""
    sources = _largest(shares_of(report))
    kinds = {"share": "wanted", "rows": "answer", "tokens": "tokens"}
    labels = {"share": "wanted", "rows": "realised, of rows", "tokens": "realised, of tokens"}
    shown = [key for key in kinds if any(one[key] is not None for one in sources)]
    with _figure(target, 1, 1.2 + 0.45 * len(sources)) as (axis,):
        height = 0.8 / max(len(shown), 1)
        for number, key in enumerate(shown):
            places = [place + height * (number + 0.5) - 0.4 for place in range(len(sources))]
            values = [100 * (one[key] or 0) for one in sources]
            axis.barh(places, values, height=height, color=COLOURS[kinds[key]], label=labels[key])
        axis.set_yticks(range(len(sources)), [_short(one["generation"]) for one in sources])
        axis.invert_yaxis()
        axis.set(xlabel="per cent of the dataset", xlim=(0, 100))
        if shown:
            axis.legend(frameon=False)


def shares_of(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each source's share as wanted (null: the rest), and as realised by rows and by tokens (null: not counted)."""
    return report["mix"]["sources"]


def _largest(sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sources in the study's order; of more than `MOST_SOURCES` the smallest as one."""
    if len(sources) <= MOST_SOURCES:
        return sources
    by_size = sorted(range(len(sources)), key=lambda n: (-(sources[n]["rows"] or 0), n))
    kept, rest = sorted(by_size[: MOST_SOURCES - 1]), [sources[n] for n in by_size[MOST_SOURCES - 1 :]]
    summed = {key: sum(one[key] or 0 for one in rest) for key in ("share", "rows", "tokens")}
    known = {key: value if any(one[key] is not None for one in rest) else None for key, value in summed.items()}
    return [*(sources[n] for n in kept), {"generation": f"{len(rest)} others", **known}]


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}\u2026"


@contextmanager
def _figure(target: Path, panels: int, height: float) -> Iterator[list["Axes"]]:
    """Axes side by side, saved to `target` in a form that holds no date and no random names."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"svg.hashsalt": "stillhouse", "svg.fonttype": "none", "font.size": 10}):
        figure, axes = plt.subplots(1, panels, figsize=(3.2 + 4 * panels, height), layout="constrained", squeeze=False)
        for axis in axes[0]:
            axis.spines[["top", "right"]].set_visible(False)
        yield list(axes[0])
        with atomic_path(target) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
