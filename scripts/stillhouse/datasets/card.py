"""The dataset card: README.md with the YAML front matter by which the hub and `load_dataset` find the splits.

A job of its own writes it: a corrected licence must not build the dataset again.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.datasets.card_plots import plot_lengths, plot_mix, shares_of
from stillhouse.datasets.formats import FORMATS
from stillhouse.datasets.settings import CardSettings
from stillhouse.datasets.split import SPLITS
from stillhouse.provenance.cards import render_card
from stillhouse.provenance.files import read_json, write_text
from stillhouse.study.datasets import OtherAnswers

TEMPLATE = "data/cards/dataset_card.md.j2"

# The hub's name of the middle split is "validation"; the file keeps the study's word.
HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
TAGS = {"preference": ["dpo", "orpo"]}
"""Tags of a format, beside its name."""
LISTED = 20
"""Categories that the card lists by name; the others are summed up."""
_SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
)  # fmt: skip


def write_dataset_card(settings: CardSettings, report: Path, target: Path, lengths: Path, mix: Path) -> dict[str, Any]:
    """Write the card to `target` and its plots to `lengths` and `mix` (SVG), from the dataset's report.json.

    Facts: rows and licence.
    """
    told = read_json(report)
    plot_lengths(told, lengths)
    plot_mix(told, mix)
    write_text(target, render_dataset_card(settings, told))
    return {"rows": told["rows"], "license": settings.front["license"]}


def front_matter(settings: CardSettings, splits: Mapping[str, int]) -> dict[str, Any]:
    """The card's metadata in the keys that the hub reads; `splits` are the rows of each split.

    Empty splits are left out: `load_dataset` (datasets 5.2) refuses a split without rows, and all others with it,
    whatever the file looks like. The conversions are no configurations: all of a repository are read by one reader.
    """
    rows, form = sum(splits.values()), settings.dataset.format
    told = [name for name in SPLITS if splits[name]] or ["train"]
    files = [{"split": HUB_SPLITS[name], "path": f"{name}.parquet"} for name in told]
    return {
        "pretty_name": settings.name,
        **settings.front,
        "task_categories": ["text-generation"],
        "size_categories": [next((name for bound, name in _SIZES if rows < bound), "10B<n<100B")],
        "tags": ["stillhouse", "trl", form, *TAGS.get(form, []), "synthetic"],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def render_dataset_card(settings: CardSettings, report: dict[str, Any]) -> str:
    """The card as markdown; `report` is what report.json holds."""
    drops, form = _drops(report["flow"]), FORMATS[settings.dataset.format]
    values = {
        "name": settings.name,
        "dataset": settings.dataset,
        "report": report,
        "flow": report["flow"],
        "columns": form.schema().names,
        "unit": form.unit,
        "parties": settings.parties,
        "outputs": settings.outputs,
        "drops": drops,
        "categories": _categories(report["categories"]),
        "words": _words(report["lengths"]),
        "tokens": report["tokens"],
        "token_rows": _token_rows(report["tokens"]),
        "near": report["near_duplicates"],
        "leaked": sum(one["count"] for one in drops if one["stage"] == "decontamination"),
        "mix": _mix(report),
        "rejected": [_place(one) for one in settings.dataset.pairs.order],
    }
    return render_card(TEMPLATE, front_matter(settings, report["splits"]), values)


def _drops(flow: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was dropped over all sources: stage, unit, reason and count, in the order of the stages."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for step in flow:
        for reason, count in step["dropped"].items():
            counts[step["stage"], step["unit"], reason] += count
    return [dict(zip(("stage", "unit", "reason", "count"), (*key, n), strict=True)) for key, n in counts.items()]


def _categories(found: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Rows of each category by split, the largest first; beyond `LISTED` as one line."""
    ordered = sorted(found.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    rows = [{"category": name or "(none)", **_by_split([counts])} for name, counts in ordered[:LISTED]]
    rest = [counts for _, counts in ordered[LISTED:]]
    return [*rows, {"category": f"({len(rest)} others)", **_by_split(rest)}] if rest else rows


def _by_split(counts: list[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(one.get(name, 0) for one in counts) for name in SPLITS}


def _words(lengths: Mapping[str, Any]) -> list[dict[str, int]]:
    """The bins of the histogram up to the last one that is not empty."""
    bins = list(zip(*(lengths[key] for key in ("edges", "prompt", "answer")), strict=True))
    full = [number for number, (_, prompts, answers) in enumerate(bins) if prompts or answers]
    return [dict(zip(("edge", "prompt", "answer"), one, strict=True)) for one in bins[: max(full, default=-1) + 1]]


def _token_rows(tokens: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The lengths in tokens of each split and of all together; `none` where there are no rows."""
    if tokens is None:
        return []
    told = [(HUB_SPLITS[name], tokens["splits"][name]) for name in SPLITS if name in tokens["splits"]]
    keys = ("rows", "tokens", "mean", "median", "p95", "longest", "truncated")
    return [
        {"split": split, **{key: one.get(key, "none") for key in keys}}
        for split, one in [*told, ("all", tokens["all"])]
    ]


def _mix(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Shares of the sources as texts: wanted, and realised by rows and by tokens where those were counted."""
    nothing = {"share": "the rest", "rows": "none", "tokens": "not counted"}
    return [
        {key: nothing[key] if one[key] is None else f"{one[key]:.3f}" for key in nothing} for one in shares_of(report)
    ]


def _place(place: str | OtherAnswers) -> str:
    """Where a rejected answer may come from, in words."""
    if isinstance(place, OtherAnswers):
        return f"the answer of generation {place.generation} to the same prompt, rejected against the final answer"
    if place == "draft":
        return "the first draft, rejected against the final answer"
    return "each candidate of a round, rejected against the round's winner"
