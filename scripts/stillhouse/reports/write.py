"""Renders report.json as one self-contained HTML file and as GitHub-flavoured markdown."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from stillhouse.provenance.files import read_json, write_text
from stillhouse.reports import view

WORKFLOW = Path(__file__).resolve().parents[3]
HTML, CSS, MARKDOWN = "data/reports/report.html.j2", "data/reports/report.css.j2", "data/reports/report.md.j2"

_MARKDOWN_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~])")


def write_report(summary_json: Path, html: Path, markdown: Path) -> None:
    """Write `html` and `markdown` from report.json alone: the same summary gives the same bytes.

    The HTML holds its style, has no script, and a policy that forbids every request.
    """
    report = read_json(summary_json)
    write_text(html, render_html(report))
    write_text(markdown, render_markdown(report))


def render_html(report: dict[str, Any]) -> str:
    """The page. Everything out of the report is escaped, models' words above all."""
    style = (WORKFLOW / CSS).read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src 'sha256-{_sha256_base64(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return _environment(escape=True).from_string(_read(HTML)).render(r=report, v=view, style=style, policy=policy)


def render_markdown(report: dict[str, Any]) -> str:
    """Tables to paste into a model card; no models' words stand in it."""
    return _environment(escape=False).from_string(_read(MARKDOWN)).render(r=report, v=view)


def _environment(*, escape: bool) -> Environment:
    environment = Environment(
        undefined=StrictUndefined, autoescape=escape, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    filters = {
        "number": view.number,
        "signed": view.signed,
        "percent": view.percent,
        "interval": view.interval,
        "position": view.position,
        "visible": view.visible,
        "words": lambda name: str(name).replace("_", " "),
        "cell": cell,
    }
    environment.filters.update(filters)
    return environment


def cell(value: object) -> str:
    """Text for a markdown table: one line, its signs taken literally."""
    return _MARKDOWN_SIGNS.sub(r"\\\1", " ".join(view.visible(str(value)).split()))


def _read(template: str) -> str:
    return (WORKFLOW / template).read_text(encoding="utf-8")


def _sha256_base64(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
