"""Conservation of an evaluation's rows: every prompt answered, every answer measured as often as the study asks.

Recorded judgements and verdicts came from files and are left out of the count; recorded answers are only held to
belong to the prompts.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from stillhouse.provenance.conserved import ORDERS, Row, differences, inputs_of, record_of
from stillhouse.provenance.files import read_parquet_rows

ANSWER = ["subject", "set", "prompt_id", "sample"]
Expected = list[tuple]


def check_responses(root: Path, file: Path) -> Iterator[str]:
    """A subject answers every held-out prompt, as often as the study asks; one that cannot stops its job."""
    record = record_of(file)
    paths = [root / item["path"] for item in inputs_of(record, "prompts")]
    prompts = [(row["set"], row["prompt_id"]) for p in paths for row in read_parquet_rows(p, ["set", "prompt_id"])]
    found = [tuple(row[key] for key in ANSWER[1:]) for row in read_parquet_rows(file, ANSWER)]
    if record["recipe"].get("kind") == "recorded":
        yield from differences((), {place for place in found if place[:2] not in set(prompts)})
        yield from differences(set(found), found)
    else:
        samples = range(record["recipe"]["samples"])
        yield from differences([(*prompt, sample) for prompt in prompts for sample in samples], found)


def check_judgements(root: Path, file: Path) -> Iterator[str]:
    """Every answer that was to be measured has all its measurements, scored or not."""
    record = record_of(file)
    read = [root / item["path"] for item in inputs_of(record, "responses")]
    answers = [row for path in read for row in read_parquet_rows(path, [*ANSWER, "role", "expect"])]
    expectation, keys = _KINDS[file.stem]
    live = file.stem in ("rubric", "pairwise")
    rows = read_parquet_rows(file, [*keys, "source"] if live else keys)
    found = [tuple(row[key] for key in keys) for row in rows if row.get("source") != "recorded"]
    yield from differences(expectation(answers, record["recipe"]), found)


def _marked(answers: list[Row], _: Row) -> Expected:
    return [_answer(row) for row in answers]


def _checked(answers: list[Row], _: Row) -> Expected:
    return [
        (*_answer(row), number) for row in answers if row["expect"] for number in range(len(json.loads(row["expect"])))
    ]


def _broken(answers: list[Row], recipe: Row) -> Expected:
    asked = [(*_answer(row), judge) for row in _first(_targets(answers), recipe["limit"]) for judge in _judges(recipe)]
    return [(*_answer(row), None) for row in answers] + asked


def _scored(answers: list[Row], recipe: Row) -> Expected:
    return [
        (*_answer(row), judge, repeat)
        for row in _first(_targets(answers), recipe["limit"])
        if row["subject"] in recipe["subjects"]
        for judge in _judges(recipe)
        for repeat in range(recipe["repeats"])
    ]


def _compared(answers: list[Row], recipe: Row) -> Expected:
    # each pair of subjects is picked from all answers of the job, as the judges were given them
    picked = {_answer(row) for row in _first(_targets(answers), recipe["limit"])}
    pairs = [
        (first, second, *place)
        for first, second in recipe["pairs"]
        for subject, *place in sorted(picked)
        if subject == first and (second, *place) in picked
    ]
    control = recipe["control"]
    pairs += [(control, *answer) for answer in sorted(picked) if answer[0] == control and answer[3] == 0]
    return [
        (*pair, judge, repeat, order)
        for pair in pairs
        for judge in _judges(recipe)
        for repeat in range(recipe["repeats"])
        for order in ORDERS
    ]


def _answer(row: Row) -> tuple:
    return tuple(row[key] for key in ANSWER)


def _judges(recipe: Row) -> list[str]:
    return sorted(set(recipe["judges"]))


def _targets(answers: list[Row]) -> list[Row]:
    return [row for row in answers if row["role"] == "target"]


def _first(answers: list[Row], limit: int | None) -> list[Row]:
    """Answers to the first prompts of each set by prompt_id; all without a limit."""
    names = {row["set"] for row in answers}
    prompts = {name: sorted({row["prompt_id"] for row in answers if row["set"] == name})[:limit] for name in names}
    kept = {(name, prompt) for name, found in prompts.items() for prompt in found}
    return [row for row in answers if (row["set"], row["prompt_id"]) in kept]


_KINDS = {
    "markers": (_marked, ANSWER),
    "breaks": (_broken, [*ANSWER, "judge"]),
    "checks": (_checked, [*ANSWER, "number"]),
    "rubric": (_scored, [*ANSWER, "judge", "repeat"]),
    "pairwise": (_compared, ["first", "second", *ANSWER[1:], "judge", "repeat", "order"]),
}
"""By kind of judgement: what is expected of the answers, and the columns that tell its rows apart."""
