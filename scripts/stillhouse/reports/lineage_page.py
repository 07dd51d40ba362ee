"""Renders the records of a study as one self-contained HTML page to click through."""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template

from stillhouse.provenance.files import write_text
from stillhouse.provenance.lineage import Node
from stillhouse.provenance.study_records import usage_of
from stillhouse.reports.lineage_data import page_data
from stillhouse.reports.lineage_map import PARTS, STAGES, grouped, study_map

WORKFLOW = Path(__file__).resolve().parents[3]
HTML, SCRIPT = "data/reports/lineage.html.j2", "data/reports/lineage.js"
STYLES = ("data/reports/report.css.j2", "data/reports/lineage.css")
OPEN_UP_TO = 60
"""With more artefacts, the groups of the list start closed."""
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control signs, invisible ones, and those that turn the direction of what follows."""


@dataclass(frozen=True)
class Figure:
    """One key figure on the first screen."""

    label: str
    value: str
    note: str


def write_lineage_page(nodes: list[Node], study: str, target: Path) -> None:
    """Write the page on the jobs `nodes`, parents first: the same records give the same bytes.

    The page holds its data, style and script, and a policy that forbids every request.
    """
    write_text(target, render_lineage(nodes, study))


def render_lineage(nodes: list[Node], study: str) -> str:
    """The page. Everything out of a record is escaped or goes into the page as data, never as markup."""
    style = "\n".join(_read(name) for name in STYLES)
    script = _read(SCRIPT)
    policy = (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    drawn, data = study_map(nodes), page_data(nodes)
    boxes = {path: box for box, group in enumerate(drawn.groups) for path in group.files}
    for file in data["files"][: len(boxes)]:
        file["box"] = boxes[file["path"]]
    groups = list(grouped(nodes, by_stage=False).values())
    made = sum(len(group.files) for group in groups)
    sources = [file["path"] for file in data["files"][made:]]
    return _template().render(
        study=study,
        data=data,
        map=drawn,
        groups=groups,
        sources=sources,
        unfolded=made <= OPEN_UP_TO,
        figures=_figures(nodes, made, len(sources)),
        stages=[stage for stage in STAGES if stage not in PARTS],
        style=style,
        script=script,
        policy=policy,
    )


def _template() -> Template:
    environment = Environment(
        undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    # the tojson filter writes <, >, & and ' as escapes, so that no text ends the script element
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    environment.filters.update(visible=visible, fragment=fragment)
    return environment.from_string(_read(HTML))


def visible(text: str) -> str:
    """Text whose signs a reader can all see; lineage.js does the same."""
    return _HIDDEN.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


def fragment(path: str) -> str:
    """A path as the part of an address behind #."""
    return quote(path.encode("utf-8", "surrogatepass"), safe="/")


def _figures(nodes: list[Node], artefacts: int, sources: int) -> list[Figure]:
    usage = [used for used in map(usage_of, nodes) if used]
    made, replayed = _sum(usage, "calls_made"), _sum(usage, "calls_replayed")
    tokens = _sum(usage, "prompt_tokens") + _sum(usage, "completion_tokens")
    unpriced = _sum(usage, "calls_without_price")
    reused = sum(bool(node.record["reused"]) for node in nodes)
    return [
        Figure("artefacts", f"{artefacts:,}", f"from {sources:,} source file{'s' if sources != 1 else ''}"),
        Figure("jobs", f"{len(nodes):,}", f"{reused:,} reused from the store"),
        Figure("calls", f"{made + replayed:,}", f"{made:,} made, {replayed:,} replayed"),
        Figure("tokens", f"{tokens:,}", "of prompts and answers"),
        Figure(
            "USD",
            f"{_sum(usage, 'usd'):,.2f}" if made + replayed > unpriced else "–",
            f"{unpriced:,} calls without price" if unpriced else "at the study's prices",
        ),
    ]


def _sum(usage: list[dict[str, Any]], name: str) -> Any:
    return sum(job.get(name) or 0 for job in usage)


def _source(text: str) -> str:
    """How a policy names one inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return (WORKFLOW / name).read_text(encoding="utf-8")
