"""Renders a generation's report.json as one self-contained HTML file and as GitHub-flavoured markdown."""

from pathlib import Path
from typing import Any

from stillhouse.provenance.files import read_json, write_text
from stillhouse.reports import generation_view
from stillhouse.reports.pages import environment, policy, read_template

HTML, MARKDOWN = "data/reports/generation.html.j2", "data/reports/generation.md.j2"
STYLES = ("data/reports/report.css.j2", "data/reports/generation.css")


def write_generation_report(summary_json: Path, html: Path, markdown: Path) -> None:
    """Write `html` and `markdown` from report.json alone: the same summary gives the same bytes.

    The HTML holds its style, has no script, and a policy that forbids every request.
    """
    report = read_json(summary_json)
    write_text(html, render_generation_html(report))
    write_text(markdown, render_generation_markdown(report))


def render_generation_html(report: dict[str, Any]) -> str:
    """The page. Everything out of the report is escaped, models' words above all."""
    style = "\n".join(read_template(name) for name in STYLES)
    page = environment(escape=True).from_string(read_template(HTML))
    return page.render(r=report, g=generation_view, style=style, policy=policy(style))


def render_generation_markdown(report: dict[str, Any]) -> str:
    """The figures as tables; no models' words stand in it."""
    return environment(escape=False).from_string(read_template(MARKDOWN)).render(r=report, g=generation_view)
