"""What the report pages share: templates with filters, a policy against every request, cells of markdown tables."""

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from stillhouse.reports import view

WORKFLOW = Path(__file__).resolve().parents[3]

_MARKDOWN_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~])")


def environment(*, escape: bool, parts: dict[str, str] | None = None) -> Environment:
    """Templates with the filters of reports; with `escape` everything that is not marked as safe is escaped.

    `parts` are further templates that the first one may include, file by name; signs that a reader would not see are
    shown in a page that has them.
    """
    made = Environment(
        undefined=StrictUndefined,
        autoescape=escape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=DictLoader({name: read_template(file) for name, file in (parts or {}).items()}),
        finalize=_shown if parts else None,
    )
    # the tojson filter writes <, >, & and ' as escapes, so that no text ends the script element
    made.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    filters = {
        "number": view.number,
        "signed": view.signed,
        "percent": view.percent,
        "interval": view.interval,
        "chance": view.chance,
        "reasons": view.reasons,
        "short": view.short,
        "visible": view.visible,
        "words": lambda name: str(name).replace("_", " "),
        "cell": cell,
    }
    made.filters.update(filters)
    return made


def _shown(value: object) -> object:
    """What a template writes: texts with all their signs visible, markup as it is."""
    return view.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def cell(value: object) -> str:
    """Text for a markdown table: one line, its signs taken literally."""
    return _MARKDOWN_SIGNS.sub(r"\\\1", " ".join(view.visible(str(value)).split()))


def policy(style: str, scripts: Sequence[str] = ()) -> str:
    """A content security policy that allows the inline `style` and `scripts` and forbids every request."""
    allowed = " ".join(f"'sha256-{_sha256_base64(script)}'" for script in scripts)
    return (
        f"default-src 'none'; style-src 'sha256-{_sha256_base64(style)}'; "
        f"{f'script-src {allowed}; ' if scripts else ''}img-src data:; base-uri 'none'; form-action 'none'"
    )


def read_template(name: str) -> str:
    """Text of a file below the workflow's folder."""
    return (WORKFLOW / name).read_text(encoding="utf-8")


def _sha256_base64(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
