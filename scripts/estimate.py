"""Rule estimate: prints the calls and tokens that the study would need; makes no call."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stillhouse.provenance.files import read_parquet_rows
from stillhouse.tournament.estimate import (
    ANSWER_SHARE,
    Estimate,
    estimate_check,
    estimate_evaluation,
    estimate_generation,
    estimate_quality,
    mean_answer_tokens,
)

FREE = {"input": 0.0, "output": 0.0}


def estimates(recipe: dict, prompts: list[Path], answers: list[Path], held_out: list[Path]) -> list[Estimate]:
    """One estimate for each generation, each part of an evaluation, and each set of scores."""
    prices = {name: FREE for name in recipe["models"] if name not in recipe["api_models"]}
    prices.update(recipe["prices"])
    sets = {file.stem: read_parquet_rows(file) for file in prompts}
    found = []
    for name, item in recipe["generations"].items():
        rows = sets[item["prompts"]]
        found += [estimate_generation(name, item, rows, prices), estimate_check(name, item, rows, prices)]
        if item["quality"]:
            answered, length = rows * item["samples"], item["sampling"]["max_tokens"] * ANSWER_SHARE
            found.append(estimate_quality(f"generation {name}", item["quality"], answered, prices, length))
    for file in answers:
        name, rows = file.parent.name, read_parquet_rows(file, ["messages", "answer"])
        found.append(
            estimate_quality(f"answers {name}", recipe["answers"][name], rows, prices, mean_answer_tokens(rows))
        )
    for name, item in recipe["evaluations"].items():
        rows = [row for file in held_out if file.parts[-3] == name for row in read_parquet_rows(file)]
        found += estimate_evaluation(name, item, rows, prices)
    return [item for item in found if item is not None]


def show(found: list[Estimate]) -> None:
    """Print a table; USD is `unknown` where a price is."""
    table = Table(title="Before any call: an estimate (4 characters a token, answers at 60 % of max_tokens)")
    for heading in ("part", "calls", "at most", "prompt tokens", "answer tokens", "USD"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for item in found:
        table.add_row(item.part, *_cells(item))
    total = Estimate("total", usd=0.0)
    for item in found:
        total.calls += item.calls
        total.most += item.most
        total.prompt_tokens += item.prompt_tokens
        total.completion_tokens += item.completion_tokens
        total.usd = None if total.usd is None or item.usd is None else total.usd + item.usd
    table.add_row(total.part, *_cells(total), style="bold")
    Console(width=110).print(table)


def _cells(item: Estimate) -> list[str]:
    usd = "unknown" if item.usd is None else f"{item.usd:.2f}"
    counts = (item.calls, item.most, item.prompt_tokens, item.completion_tokens)
    return [*(f"{count:,}" for count in counts), usd]


if __name__ == "__main__":
    job = globals()["snakemake"]
    recipe = json.loads(str(job.params.recipe).removeprefix("recipe "))
    prompts, answers, held_out = (
        [Path(file) for file in getattr(job.input, name)] for name in ("prompts", "answers", "held_out")
    )
    show(estimates(recipe, prompts, answers, held_out))
