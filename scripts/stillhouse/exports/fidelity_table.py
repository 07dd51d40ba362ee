"""The fidelity of an export as a table for readers."""

from collections.abc import Mapping
from typing import Any


def fidelity_table(report: Mapping[str, Any]) -> str:
    """The report as markdown: a line for each file, the control, and the warnings."""
    rows = [(one["quant"], one) for one in report["files"]]
    rows += [("the base alone", report["control"])] if report["control"] else []
    lines = [
        "| file | size in bytes | KL in nats a token | same top token | perplexity | shift kept | noise |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in rows:
        shares = (one["kl"], one["top1"], one["perplexity"], one["kept"], one["noise"])
        cells = ["none" if value is None else f"{value:.4f}" for value in shares]
        lines.append(f"| {name} | {one['size']} | {' | '.join(cells)} |")
    reference, splits = report["reference"], ", ".join(f"{count} of {name}" for name, count in report["rows"].items())
    lines += [
        "",
        f"Measured on {report['places']} tokens of answers (rows: {splits}) against the adapter on its base in "
        f"{reference['dtype']}, whose perplexity is {reference['perplexity_adapter']:.4f}; that of the base is "
        f"{reference['perplexity_base']:.4f}.",
        *(["", *(f"- Warning: {words}" for words in report["warnings"])] if report["warnings"] else []),
    ]
    return "\n".join(lines) + "\n"
