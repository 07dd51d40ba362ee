"""The gates' verdicts out of finished reports: told, and refused where one failed."""

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from stillhouse.errors import EvaluationError

logger = logging.getLogger(__name__)

WIDTH = 120
"""Columns of the table where it goes to a file."""


def gate_verdicts(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The gates of several evaluations' reports (the content of report.json): checks by evaluation, and whether all pass.

    `passed` is None where no evaluation sets a gate.
    """
    found = {report["evaluation"]: report["gates"] for report in reports}
    told = [gates["passed"] for gates in found.values() if gates["passed"] is not None]
    return {
        "passed": all(told) if told else None,
        "evaluations": {name: found[name] for name in sorted(found)},
    }


def refuse_failed(verdicts: Mapping[str, Any]) -> None:
    """Raises `EvaluationError` naming every failed gate of `gate_verdicts`, with what was observed."""
    failed = [
        f"{evaluation}: {gate_line(item)}"
        for evaluation, gates in verdicts["evaluations"].items()
        for item in gates["checks"]
        if not item["passed"]
    ]
    if failed:
        raise EvaluationError(
            "\n".join([f"{len(failed)} gates failed" if len(failed) > 1 else "a gate failed", *failed])
        )


def print_gates(verdicts: Mapping[str, Any]) -> None:
    """Print the checks of `gate_verdicts` as a table to standard error, and line by line to the log."""
    table = Table("evaluation", Column("gate", no_wrap=True), "of", "observed", "bound", "verdict", title="gates")
    for evaluation, gates in verdicts["evaluations"].items():
        for item in gates["checks"]:
            logger.info("%s: %s: %s", evaluation, "passed" if item["passed"] else "FAILED", gate_line(item))
            verdict = Text("passed", "green") if item["passed"] else Text(f"failed: {item['reason']}", "red")
            told = (evaluation, item["gate"], _about(item), _observed(item), f"{item['direction']} {item['bound']:g}")
            table.add_row(*map(Text, told), verdict)
    if table.row_count:
        Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH).print(table)
    else:
        logger.info("the study sets no gate")


def gate_line(item: Mapping[str, Any]) -> str:
    """One check in words: gate, whom it is about, what was observed against which bound, and why it failed."""
    about = f" of {_about(item)}" if _about(item) else ""
    told = f"{item['gate']}{about}: {_observed(item)}, {item['direction']} {item['bound']:g}"
    return told if item["passed"] else f"{told}; {item['reason']}"


def _about(item: Mapping[str, Any]) -> str:
    return ", ".join(part for part in (item["subject"], item["category"]) if part)


def _observed(item: Mapping[str, Any]) -> str:
    if item["observed"] is None:
        return "not measured"
    interval = f" ({item['interval'][0]:.4g} to {item['interval'][1]:.4g})" if item["interval"] else ""
    return f"{item['observed']:.4g}{interval}"
