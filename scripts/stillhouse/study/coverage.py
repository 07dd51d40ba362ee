"""Checks while planning that every category which a report guards or must show has prompts.

A guard on a category that no prompt has would compare nothing with nothing: a regression to zero that never happened,
or one that happened and was never seen.
"""

import json
from collections.abc import Iterator

from stillhouse.study.evaluations import Evaluation, EvaluationSet
from stillhouse.study.files import StudyFiles
from stillhouse.study.study import Study


def uncovered_categories(study: Study, files: StudyFiles) -> list[str]:
    """A line for every guarded or reported category of an evaluation that none of its prompts has."""
    return [
        fault for name, item in study.evaluations.items() for fault in _uncovered(f"evaluations.{name}", item, files)
    ]


def _uncovered(path: str, evaluation: Evaluation, files: StudyFiles) -> Iterator[str]:
    wanted = [(f"{path}.categories", evaluation.categories, "every")]
    wanted += [
        (
            f"{path}.gates.guards[{number}].categories",
            guard.categories,
            "target" if guard.metric == "rubric" else "every",
        )
        for number, guard in enumerate(evaluation.gates.guards)
    ]
    if not any(categories for _, categories, _ in wanted):
        return
    found = [(item.role, category) for item in _sets(evaluation) for category in _categories(item, files)]
    for key, categories, role in wanted:
        present = {category for own, category in found if role in ("every", own)}
        missing = [category for category in categories if category not in present]
        if missing:
            where = "prompt of a target set" if role == "target" else "prompt of the evaluation"
            yield (
                f"{key}: no {where} has category {', '.join(map(repr, missing))}; "
                f"there are {', '.join(sorted(present)) or 'no categories'}"
            )


def _sets(evaluation: Evaluation) -> list[EvaluationSet]:
    """The prompt sets, and the recorded judgements of subjects that have no answers here."""
    recorded = evaluation.rubric.recorded if evaluation.rubric else {}
    alone = [file for name, file in recorded.items() if name not in evaluation.subjects]
    return [*evaluation.sets.values(), *(EvaluationSet(file=file) for file in dict.fromkeys(alone))]


def _categories(item: EvaluationSet, files: StudyFiles) -> Iterator[str]:
    """Categories in a prompt file; lines that cannot be read are the prompts job's to refuse."""
    with open(files.working / files.find(item.file), encoding="utf-8-sig", errors="replace") as lines:
        for line in lines:
            try:
                category = json.loads(line).get("category")
            except (ValueError, AttributeError):
                continue
            taken = item.categories is None or str(category) in item.categories
            if category is not None and taken and str(category) not in item.except_categories:
                yield str(category)
