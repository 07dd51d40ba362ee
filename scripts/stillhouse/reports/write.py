"""Renders an evaluation's report.json, and the rows behind it, as one self-contained HTML file and as markdown."""

from pathlib import Path
from typing import Any

from stillhouse.provenance.files import read_json, write_text
from stillhouse.reports import report_links, report_plots, view
from stillhouse.reports.pages import environment, policy, read_template
from stillhouse.reports.report_blocks import Block
from stillhouse.reports.report_rows import packed, read_rows

Report = dict[str, Any]

HTML, MARKDOWN = "data/reports/report.html.j2", "data/reports/report.md.j2"
PARTS = {
    "report.macros.j2": "data/reports/report.macros.j2",
    "report.judged.j2": "data/reports/report.judged.j2",
    "report.measured.j2": "data/reports/report.measured.j2",
}
STYLES = ("data/reports/report.css.j2", "data/reports/report.page.css")
SCRIPTS = (
    "data/reports/report.js",
    "data/reports/report.find.js",
    "data/reports/report.lists.js",
    "data/reports/report.answer.js",
)


def write_report(
    summary_json: Path,
    html: Path,
    markdown: Path,
    *,
    responses: list[Path],
    judgements: dict[str, Path],
) -> None:
    """Write `html` and `markdown` from report.json, the page with the answers and verdicts behind its numbers.

    `responses` are the subjects' parquet files, `judgements` those of markers, breaks, checks, rubric and pairwise, by
    kind, as far as they are there. The same files give the same bytes. The HTML holds its style, scripts and rows, and
    a policy that forbids every request.
    """
    report = read_json(summary_json)
    rows = read_rows(report, responses, judgements)
    write_text(html, render_html(report, *packed(rows)))
    write_text(markdown, render_markdown(report))


def render_html(report: Report, blocks: list[Block], starts: dict[str, list[int]]) -> str:
    """The page. Everything out of the report is escaped, models' words above all; rows stand in it as packed data."""
    style, scripts = "\n".join(map(read_template, STYLES)), [read_template(name) for name in SCRIPTS]
    page = environment(escape=True, parts=PARTS).from_string(read_template(HTML))
    return page.render(
        r=report,
        v=view,
        plots=report_plots,
        link=report_links,
        style=style,
        scripts=scripts,
        policy=policy(style, scripts),
        data={"evaluation": report["evaluation"], "starts": starts, **_known(report)},
        blocks=blocks,
    )


def _known(report: Report) -> Report:
    """What the scripts need of the report."""
    return {
        "roles": {name: about["role"] for name, about in report["sets"].items()},
        "pairs": {
            name: {"first": pair["candidate"], "second": pair["baseline"]} for name, pair in report["pairwise"].items()
        },
        "conditions": {name: subject["condition"] for name, subject in report["subjects"].items()},
        "components": [name for name, _ in view.components(report)],
    }


def render_markdown(report: Report) -> str:
    """Tables to paste into a model card; no models' words stand in it."""
    return environment(escape=False).from_string(read_template(MARKDOWN)).render(r=report, v=view, plots=report_plots)
