"""Addresses inside the page: which answers or comparisons stand behind a number. report.js reads them."""

from typing import Any
from urllib.parse import quote

Row = dict[str, Any]


def answers(**filters: Any) -> str:
    """The list of answers, narrowed by `filters`: subject, set, role, category, judge, status, marker ..."""
    return _address("answers", filters)


def pairs(**filters: Any) -> str:
    """The list of comparisons, narrowed by `filters`: pair, judge, verdict, category, set."""
    return _address("pairs", filters)


def answer(**key: Any) -> str:
    """One answer: subject, set, prompt (its prompt_id), sample; `beside` names a subject to show next to it."""
    return _address("answer", key)


def gate(report: Row, check: Row) -> str:
    """What a gate looked at: comparisons of its pair, or answers of its subject."""
    if check["subject"] in report["pairwise"]:
        return pairs(pair=check["subject"], category=check["category"], verdict="counted")
    roles = {"leakage": "forgetting", "student_over_gold": "target", "adapter_signal": "target"}
    status = "judged" if check["gate"] == "rubric" else None
    return answers(subject=check["subject"], category=check["category"], role=roles.get(check["gate"]), status=status)


def difference(report: Row, item: Row) -> str:
    """The candidate's answers that a difference is about."""
    status = "scored" if item["metric"] == "rubric" else None
    return answers(subject=item["candidate"], set=item["set"], status=status, beside=item["baseline"])


def _address(view: str, filters: Row) -> str:
    given = {name: str(value) for name, value in filters.items() if value is not None}
    text = "&".join(f"{name}={quote(value.encode('utf-8', 'replace'), safe='')}" for name, value in given.items())
    return f"#{view}?{text}"
