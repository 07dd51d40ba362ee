"""report.html and report.md: self-contained, readable, and harmless whatever a model wrote."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from stillhouse.reports.pages import cell
from stillhouse.reports.view import visible
from stillhouse.reports.write import render_html, render_markdown, write_report

NASTY = (
    "<script>window.harmed = 1; fetch('https://example.org/')</script><img src=x onerror='window.harmed = 2'>"
    "</p></article></main></textarea><style>body{display:none}</style>\x1b[31mred\x07 \u202egnirts {{ 7 * 7 }} "
    + "x"
    * 3000
)


def estimate(mean: float) -> dict[str, Any]:
    return {"mean": mean, "interval": [mean - 0.1, mean + 0.1], "n": 12, "prompts": 12}


def subject(condition: str, target: float, leak: float, judged: bool) -> dict[str, Any]:
    marks = {
        name: {
            "role": role,
            "raw": 4 * capped,
            "raw_interval": [3 * capped, 5 * capped],
            "capped": capped,
            "capped_interval": [max(capped - 0.15, 0), min(capped + 0.15, 1)],
            "n": 12,
            "any": capped,
            "found": {"keystone": round(12 * capped)},
        }
        for name, role, capped in (("plans", "target", target), ("everyday", "forgetting", leak))
    }
    recomputed = {
        "overall": 6.5,
        "interval": [6.0, 7.1],
        "n": 11,
        "prompts": 11,
        "unscored": 1,
        "critical_failures": 2,
        "by_category": {"software": 6.0, "household_long_name": 7.0},
        "by_difficulty": {"easy": 7.0},
        "by_component": {"load_bearing_risk": 6.0, "voice": 7.0},
    }
    answers = {"n": 12, "truncated": 0.25, "tokens": 80.5, "distinct": 1.0, "empty": 1}
    return {
        "condition": condition,
        "system": condition == "gold",
        "described": {"adapter": "mixed", "serve": "peft"},
        "answers": {"plans": answers, "everyday": answers},
        "markers": marks,
        "rubric": {"recomputed": recomputed, "judge": {"overall": 8.0, "n": 11}, "bias": 1.5} if judged else None,
    }


def full_report() -> dict[str, Any]:
    names = {
        "gold": (1.0, 0),
        "student": (0.9, 0.05),
        "a-subject-with-a-rather-long-name": (0.8, 0.6),
        "vanilla": (0, 0),
    }
    subjects = {name: subject(name, *shares, name != "vanilla") for name, shares in names.items()}
    difference = {"candidate": "student", "baseline": "vanilla", "kind": "over vanilla"}
    check = {"subject": "student", "direction": "at least", "bound": 0.8, "reason": None}
    pair = {"win": 10, "tie": 4, "loss": 6, "n": 20, "prompts": 10, "rate": 0.6, "interval": [0.45, 0.75]}
    example = {"id": "p-1", "category": "money", "difficulty": None, "prompt_id": "0" * 16, "set": "plans"}
    answer = {"truncated": False, "matched": ["keystone"], "rubric": 6.5, "calls": ["ab" * 32]}
    return {
        "format": 1,
        "study": "demo",
        "evaluation": "framework",
        "sets": {
            "plans": {"role": "target", "place": 0, "prompts": 12},
            "everyday": {"role": "forgetting", "place": 1, "prompts": 12},
        },
        "order": list(names),
        "subjects": subjects,
        "markers": {"cap": 4, "names": ["keystone", "(?m)^verdict: <b>"]},
        "rubric": {
            "scale": [1, 10],
            "components": {
                "voice": {"share": 0.4, "place": 1, "description": "Dry."},
                "load_bearing_risk": {"share": 0.6, "place": 0, "description": "One."},
            },
            "critical_failures": ["No verdict."],
        },
        "differences": [
            {**difference, "set": "plans", "role": "target", "raw": estimate(3.5), "capped": estimate(0.9)}
        ],
        "pairwise": {
            "student_vs_vanilla": {
                **pair, "first": "student", "second": "vanilla", "flip_rate": 0.3, "incomplete": 0, "by_judge": {}
            }
        },
        "judges": {
            "smollm2": {
                "sentences": ["It picked the first answer shown: treat its preferences as noise."],
                "pairwise": {
                    "n": 20, "unscored": 0, "unscored_share": 0.0, "ties": 4, "decided": 16, "comparisons": 10,
                    "first_shown_share": 0.8, "flip_rate": 0.3, "marker_agreement": 0.5, "marker_agreement_n": 12,
                },
                "rubric": {
                    "n": 33, "unscored": 3, "unscored_share": 0.1, "reasons": {"truncated": 3}, "mean": 6.5,
                    "deviation": 0.2, "distinct": 4, "bias": 1.5, "marker_correlation": None,
                },
            }
        },
        "gates": {
            "passed": False,
            "checks": [
                {**check, "gate": "student_over_gold", "observed": 0.9, "passed": True},
                {**check, "gate": "leakage", "direction": "at most", "bound": 0.15, "observed": 0.2, "passed": False},
            ],
        },
        "examples": [
            {
                **example,
                "role": "target",
                "prompt": f"Review this plan. {NASTY}",
                "answers": [{**answer, "subject": name, "answer": NASTY} for name in names],
            }
        ],
        "files": {
            "responses": ["responses/gold.parquet"],
            "judgements": {"markers": "judgements/markers.parquet"},
        },
    }  # fmt: skip


def bare_report() -> dict[str, Any]:
    report = full_report()
    for item in report["subjects"].values():
        item.update(markers={}, rubric=None)
    empty = {"differences": [], "pairwise": {}, "judges": {}, "examples": [], "markers": None, "rubric": None}
    return {**report, **empty, "gates": {"passed": None, "checks": []}}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """report.html of a full report with nasty answers."""
    (tmp_path / "report.json").write_text(json.dumps(full_report()), encoding="utf-8")
    write_report(tmp_path / "report.json", tmp_path / "report.html", tmp_path / "report.md")
    return tmp_path / "report.html"


def test_models_words_are_escaped() -> None:
    html = render_html(full_report())
    assert "<script" not in html
    assert "<img" not in html
    assert "onerror=&#39;" in html
    assert "{{ 7 * 7 }}" in html
    assert "\x1b" not in html
    assert html.count("<style>") == 1


def test_nothing_external_in_the_page() -> None:
    html = render_html({**full_report(), "examples": []})
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")
    assert "default-src 'none'" in html.replace("&#39;", "'")
    assert not re.search(r"<(script|iframe|object|embed|link rel=\"stylesheet\")", html)


def test_same_report_same_bytes_and_the_input_is_left_alone() -> None:
    report = full_report()
    before = copy.deepcopy(report)
    assert (render_html(report), render_markdown(report)) == (render_html(before), render_markdown(before))
    assert report == before


def test_a_bare_report_renders() -> None:
    html, markdown = render_html(bare_report()), render_markdown(bare_report())
    assert "no gates set" in html
    assert "no gates set" in markdown
    assert "Rubric" not in markdown


def test_markdown_tables_are_whole_and_hold_no_model_text() -> None:
    markdown = render_markdown(full_report())
    assert "script" not in markdown.replace("scripts/trace.py", "")
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_cells_and_visible_signs() -> None:
    assert cell("a|b\n<c>_d_") == r"a\|b \<c\>\_d\_"
    assert visible("a\x1b[1m\x00\n\tb\x7f") == "a␛[1m␀\n\tb␡"
    assert visible("caf\u00e9 \U0001f375") == "caf\u00e9 \U0001f375"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_in_a_browser(browser: Any, page: Path, width: int, scheme: str, tmp_path: Path) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    requests, faults = [], []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda message: faults.append(message.text))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto(page.as_uri())
    for summary in tab.query_selector_all("summary"):
        summary.click()
        summary.click()
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
    assert faults == []
    assert tab.evaluate("window.harmed") is None
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(245, 246, 246)" if scheme == "light" else "rgb(16, 20, 22)"
    )
    tab.screenshot(path=tmp_path / f"report-{width}-{scheme}.png", full_page=True)


@pytest.mark.slow
def test_page_without_javascript_has_names_for_everything(browser: Any, page: Path) -> None:
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(page.as_uri())
    assert tab.locator("h1").count() == 1
    assert tab.locator("svg:not([aria-hidden]):not([aria-label])").count() == 0
    assert tab.locator(".scroll:not([aria-label])").count() == 0
    assert tab.locator("section:not([aria-labelledby])").count() == 0
    assert tab.get_by_text("treat its preferences as noise").is_visible()
    for target in [link.get_attribute("href") for link in tab.locator("nav a").all()]:
        assert tab.locator(target).count() == 1
