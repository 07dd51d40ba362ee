"""Reads what a report is made of, once, and groups it so that no table scans all rows again."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stillhouse.evaluation.conditions import TARGET, condition_of
from stillhouse.evaluation.report_settings import ReportSettings
from stillhouse.evaluation.rows import read_responses
from stillhouse.provenance.files import read_parquet_rows

Row = dict[str, Any]
Grouped = dict[tuple[Any, ...], list[Row]]
Place = tuple[str, str, str, int]
"""What tells an answer apart: subject, set, prompt_id, sample."""

_ANSWER = ["subject", "set", "prompt_id", "id", "category", "difficulty", "sample"]
_MARKED = [*_ANSWER, "condition", "role"]
COLUMNS = {
    "markers": [*_MARKED, "raw", "capped", "matched"],
    "breaks": [*_MARKED, "judge", "broken", "matched"],
    "checks": [*_MARKED, "number", "kind", "passed"],
    "rubric": [*_ANSWER, "condition", "judge", "repeat", "source", "status", "reason", "components", "overall"]
    + ["judge_overall", "recorded_overall", "critical_failures"],
    "pairwise": ["first", "second", *_ANSWER[1:], "judge", "repeat", "order", "source", "verdict", "reason", "axes"]
    + ["second_sample", "first_words", "second_words"],
}
"""Columns of each kind of judgement that the report needs. A judge's own words are not among them: they are large."""


def group(rows: Iterable[Row], *columns: str) -> Grouped:
    """Rows by their values in `columns`, in the rows' order."""
    found: Grouped = defaultdict(list)
    for row in rows:
        found[tuple(row[column] for column in columns)].append(row)
    return dict(found)


@dataclass(frozen=True)
class SetFacts:
    """A prompt set: its role, its prompt_ids, and the categories of its prompts."""

    role: str
    prompts: frozenset[str]
    categories: list[str]


@dataclass(frozen=True)
class Evidence:
    """All rows that a report is made of. A list is empty where nothing of that kind was measured."""

    answers: list[Row] = field(default_factory=list)
    markers: list[Row] = field(default_factory=list)
    breaks: list[Row] = field(default_factory=list)
    checks: list[Row] = field(default_factory=list)
    rubric: list[Row] = field(default_factory=list)
    pairwise: list[Row] = field(default_factory=list)
    described: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def of_subjects(self) -> list[Row]:
        """Rows that belong to one subject."""
        return [*self.answers, *self.markers, *self.breaks, *self.checks, *self.rubric]

    @cached_property
    def order(self) -> list[str]:
        """Subjects of all rows as the study orders them; those that it does not describe follow by name."""
        present = {row["subject"] for row in self.of_subjects}
        present |= {row[side] for row in self.pairwise for side in ("first", "second")}
        return [name for name in self.described if name in present] + sorted(present - set(self.described))

    @cached_property
    def conditions(self) -> dict[str, str]:
        """Every subject's condition."""
        first: dict[str, Row] = {}
        for row in self.of_subjects:
            first.setdefault(row["subject"], row)
        return {
            name: condition_of(name, [first[name]] if name in first else [], self.described.get(name, {}))
            for name in self.order
        }

    @cached_property
    def sets(self) -> dict[str, SetFacts]:
        """Prompt sets in the study's order, then those that only rows name (recorded judgements) by name."""
        prompts: dict[str, set[str]] = defaultdict(set)
        categories: dict[str, set[str]] = defaultdict(set)
        roles: dict[str, str] = {}
        for row in [*self.of_subjects, *self.pairwise]:
            prompts[row["set"]].add(row["prompt_id"])
            if row["category"] is not None:
                categories[row["set"]].add(row["category"])
            if row.get("role"):
                roles.setdefault(row["set"], row["role"])
        names = [*self.roles, *sorted(set(prompts) - set(self.roles))]
        return {
            name: SetFacts(
                self.roles.get(name) or roles.get(name, TARGET), frozenset(prompts[name]), sorted(categories[name])
            )
            for name in names
        }

    @cached_property
    def category_prompts(self) -> dict[str, set[str]]:
        """The prompt_ids of each category, over all sets."""
        found: dict[str, set[str]] = defaultdict(set)
        for row in [*self.of_subjects, *self.pairwise]:
            if row["category"] is not None:
                found[row["category"]].add(row["prompt_id"])
        return {name: found[name] for name in sorted(found)}

    @cached_property
    def answers_by(self) -> Grouped:
        """Answers by (subject, set)."""
        return group(self.answers, "subject", "set")

    @cached_property
    def markers_by(self) -> Grouped:
        """Marker rows by (subject, set)."""
        return group(self.markers, "subject", "set")

    @cached_property
    def markers_by_role(self) -> Grouped:
        """Marker rows by (subject, role)."""
        return group(self.markers, "subject", "role")

    @cached_property
    def breaks_by(self) -> Grouped:
        """Rows on character breaks by (subject,)."""
        return group(self.breaks, "subject")

    @cached_property
    def checks_by(self) -> Grouped:
        """Rows of checks by (subject,)."""
        return group(self.checks, "subject")

    @cached_property
    def rubric_by(self) -> Grouped:
        """Rubric verdicts by (subject,)."""
        return group(self.rubric, "subject")

    @cached_property
    def pairs(self) -> Grouped:
        """Comparisons by (first, second), sorted."""
        found = group(self.pairwise, "first", "second")
        return {pair: found[pair] for pair in sorted(found)}


def read_evidence(responses: list[Path], settings: ReportSettings, judgements: Mapping[str, Path | None]) -> Evidence:
    """The rows of responses and of `judgements`: a file by kind, kinds as in `COLUMNS`."""
    rows = {kind: read_parquet_rows(file, COLUMNS[kind]) for kind, file in judgements.items() if file}
    return Evidence(read_responses(responses), **rows, described=settings.subjects, roles=settings.sets)
