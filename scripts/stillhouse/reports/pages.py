"""What the report pages share: templates with filters, a policy that forbids every request, cells of markdown tables."""

import base64
import hashlib
import re
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from stillhouse.reports import view

WORKFLOW = Path(__file__).resolve().parents[3]

_MARKDOWN_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~])")


def environment(*, escape: bool) -> Environment:
    """Templates with the filters of reports; with `escape` everything that is not marked as safe is escaped."""
    made = Environment(
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
    made.filters.update(filters)
    return made


def cell(value: object) -> str:
    """Text for a markdown table: one line, its signs taken literally."""
    return _MARKDOWN_SIGNS.sub(r"\\\1", " ".join(view.visible(str(value)).split()))


def policy(style: str) -> str:
    """A content security policy that allows the inline style `style` and forbids every request."""
    return (
        f"default-src 'none'; style-src 'sha256-{_sha256_base64(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def read_template(name: str) -> str:
    """Text of a file below the workflow's folder."""
    return (WORKFLOW / name).read_text(encoding="utf-8")


def _sha256_base64(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
