"""Arranges report.json for the templates: order, labels and geometry, no measuring."""

from dataclasses import dataclass
from typing import Any

Report = dict[str, Any]

GATES = {
    "student_over_gold": "student's capped score as a share of gold's, target sets",
    "leakage": "student's capped score on forgetting sets",
}


@dataclass(frozen=True)
class Figure:
    """One key figure on the first screen."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Dot:
    """One point of the dot plot; positions are percent of the axis."""

    name: str
    role: str
    mean: float
    low: float | None
    high: float | None


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


def students(report: Report) -> list[str]:
    """Subjects of condition student."""
    return [name for name, subject in subjects(report) if subject["condition"] == "student"]


def figures(report: Report) -> list[Figure]:
    """Key figures of the first student, as far as they were measured."""
    names = students(report)
    if not names:
        return []
    name = names[0]
    return [*_scores(report, name), *_signals(report, name), *_shares(report, name)]


def _scores(report: Report, name: str) -> list[Figure]:
    found = []
    for key, about in sets(report):
        score = report["subjects"][name]["markers"].get(key)
        if score:
            label = f"{name} on {key}" if about["role"] == "target" else f"{name} leaks on {key}"
            note = f"capped marker score, n {score['n']}, {_ci(interval(score['capped_interval']))}"
            found.append(Figure(label, number(score["capped"]), note))
    return found


def _ci(bounds: str) -> str:
    return f"95\N{NO-BREAK SPACE}% interval {bounds}"


def _signals(report: Report, name: str) -> list[Figure]:
    return [
        Figure(
            f"{item['kind']} on {item['set']}",
            signed(item["raw"]["mean"]),
            f"raw markers, {name} minus {item['baseline']}, {_ci(interval(item['raw']['interval'], plus=True))}",
        )
        for item in report["differences"]
        if item["candidate"] == name and item["role"] == "target" and item["raw"]["n"]
    ]


def _shares(report: Report, name: str) -> list[Figure]:
    return [
        Figure(f"{name} over gold", percent(check["observed"]), f"bound {percent(check['bound'])}")
        for check in report["gates"]["checks"]
        if check["gate"] == "student_over_gold" and check["subject"] == name and check["observed"] is not None
    ]


def dots(report: Report, subject: dict[str, Any]) -> list[Dot]:
    """The dot plot's points of one subject: its capped score on every set, with the interval."""
    found = []
    for name, about in sets(report):
        if name in subject["markers"]:
            score = subject["markers"][name]
            low, high = score["capped_interval"] or (None, None)
            found.append(Dot(name, about["role"], score["capped"], low, high))
    return found


def found_markers(report: Report, name: str) -> list[tuple[str, list[float | None]]]:
    """For each marker, the share of each subject's answers to set `name` that hold it."""
    table = []
    for marker in (report["markers"] or {"names": []})["names"]:
        shares: list[float | None] = []
        for _, subject in subjects(report):
            score = subject["markers"].get(name)
            shares.append(score["found"].get(marker, 0) / score["n"] if score else None)
        table.append((marker, shares))
    return table


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


def position(value: float) -> str:
    """A share of the axis as an SVG percentage, inside a margin of 2 % on both sides."""
    return f"{2 + 96 * min(max(value, 0.0), 1.0):.2f}%"


def visible(text: str) -> str:
    """Text without control characters that a terminal or browser would obey: shown as their symbols."""
    return "".join(_symbol(character) for character in text)


def _symbol(character: str) -> str:
    code = ord(character)
    if code < 32 and character not in "\n\t":
        return chr(0x2400 + code)
    return "␡" if code == 127 else "�" if 0xD800 <= code <= 0xDFFF or 128 <= code < 160 else character
