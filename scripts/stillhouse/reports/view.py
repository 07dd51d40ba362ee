"""Arranges report.json for the templates: order, labels and geometry, no measuring."""

import re
from dataclasses import dataclass
from typing import Any

Report = dict[str, Any]

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


@dataclass(frozen=True)
class Figure:
    """One key figure on the first screen."""

    label: str
    value: str
    note: str


def sets(report: Report) -> list[tuple[str, dict[str, Any]]]:
    """Prompt sets in the study's order."""
    return sorted(report["sets"].items(), key=lambda item: item[1]["place"])


def subjects(report: Report) -> list[tuple[str, dict[str, Any]]]:
    """Subjects in the study's order."""
    return [(name, report["subjects"][name]) for name in report["order"]]


def components(report: Report) -> list[tuple[str, dict[str, Any]]]:
    """Rubric components in the file's order."""
    rubric = report["rubric"] or {"components": {}}
    return sorted(rubric["components"].items(), key=lambda item: item[1]["place"])


def described(subject: dict[str, Any]) -> str:
    """Who a subject is, in a few words: its model, adapter or export, how it is served, what it is given."""
    told = subject["described"]
    kind = next((k for k in ("model", "adapter", "export", "recorded") if told.get(k)), None)
    words = [f"{kind} {told[kind]}"] if kind else []
    words += [str(told["serve"])] if told.get("serve") else []
    words += ["system prompt" if subject["system"] else "no system prompt"]
    words += ["grammar"] if told.get("grammar") else []
    return ", ".join(words)


def verdict(report: Report) -> tuple[str, str]:
    """(class, words) of the gates' outcome."""
    passed, checks = report["gates"]["passed"], report["gates"]["checks"]
    if passed is None:
        return "none", "no gates set"
    missed = sum(not check["passed"] for check in checks)
    gates = "1 gate" if len(checks) == 1 else f"{len(checks)} gates"
    return ("pass", f"{gates} passed") if passed else ("fail", f"{missed} of {gates} failed")


def number(value: float | None, digits: int = 2) -> str:
    """A number with `digits` behind the point, a dash for none."""
    return "–" if value is None else f"{value + 0.0:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """The same with its sign."""
    return "–" if value is None else f"{value + 0.0:+.{digits}f}".replace("-", "−")


def percent(value: float | None) -> str:
    """A share in percent."""
    return "–" if value is None else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


def interval(bounds: list[float] | None, digits: int = 2, plus: bool = False) -> str:
    """An interval as "0.67 to 1.00"."""
    if bounds is None:
        return "–"
    show = signed if plus else number
    return f"{show(bounds[0], digits)} to {show(bounds[1], digits)}"


def chance(p: float | None) -> str:
    """A p-value; below a thousandth it is not told more exactly."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def reasons(counts: dict[str, int]) -> str:
    """Why verdicts are missing, the most frequent reason first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ordered)


def short(text: str, most: int) -> str:
    """The start of a text, with how much was left out."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def visible(text: str) -> str:
    """Text whose signs a reader can all see: those that a terminal or browser would obey, or show as nothing, stand
    there as their symbol or code (signs that turn the direction of what follows among them). report.js does the same.
    """
    return _HIDDEN.sub(lambda sign: _symbol(ord(sign[0])), text)


def _symbol(code: int) -> str:
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "␡"
    return "�" if 128 <= code < 160 or 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"
