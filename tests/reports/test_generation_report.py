"""report.html and report.md of a generation: self-contained, readable, and harmless whatever a model wrote."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from stillhouse.reports.generation_page import (
    render_generation_html,
    render_generation_markdown,
    write_generation_report,
)
from stillhouse.reports.generation_view import OUTCOMES, say_check, say_votes, stacked, verdict

NASTY = (
    "<script>window.harmed = 1; fetch('https://example.org/')</script><img src=x onerror='window.harmed = 2'>"
    "</p></article></main></textarea><style>body{display:none}</style>\x1b[31mred\x07 \u202egnirts {{ 7 * 7 }} "
    + "x"
    * 3000
)
MODEL = "m" * 80  # the longest name that a study takes
LONG = "a-category-with-a-rather-long-name"


def counted(win: int, tie: int, loss: int, interval: list[float] | None) -> dict[str, Any]:
    total = win + tie + loss
    return {
        "win": win,
        "tie": tie,
        "loss": loss,
        "rate": (win + tie / 2) / total if total else None,
        "interval": interval,
        "sign_test": 0.01 if total else None,
    }


def check(win: int = 12, tie: int = 20, loss: int = 8, interval: tuple[float, float] = (0.47, 0.63)) -> dict[str, Any]:
    whole = {
        "prompts": win + tie + loss, "identical": 10, "unjudged": 1, **counted(win, tie, loss, list(interval)),
        "changed": counted(win, tie - 10, loss, list(interval)), "comparisons": 30, "flips": 9, "flip_rate": 0.3,
        "incomplete": 2,
    }  # fmt: skip
    judge = {**whole, "decided": 55, "first_shown_share": 0.6}
    return {
        **whole,
        "by_judge": {"outsider": judge, MODEL: {**judge, "flip_rate": 0.5}},
        "categories": [{"category": name, **whole} for name in ("software", LONG, None)],
    }


def part() -> dict[str, Any]:
    growth = {"n": 40, "words_before": 900, "words_after": 1300, "median": 1.25, "mean": 1.5, "longer": 0.75}
    outcomes = {"no_flaws": 10, "equal": 2, "unread": 3, "A": 20, "AB": 15, "B": 12}
    return {
        "prompts": 42, "rows": 42, "answered": 40, "failed": 2, "failed_by_stage": {"judge": 1, "critic": 1}, "truncated": 3,
        "words": 88.4,
        "calls": {
            "all": 1234, "by_role": {"teacher": 40, "critic": 62, "author": 52, "synthesizer": 52, "judge": 150},
            "second_attempts": 12, "failed_prompts": 8, "saved": 6, "per_prompt": 29.4,
        },
        "rounds": [{"rounds": 1, "prompts": 18}, {"rounds": 2, "prompts": 22}], "converged": 25, "not_converged": 15,
        "unchanged": 10, "critiques": 62, "no_flaws": 10, "outcomes": outcomes,
        "by_round": [{**outcomes, "equal": 0}, {**dict.fromkeys(OUTCOMES, 0), "equal": 2}],
        "votes": {"asked": 150, "read": 141}, "judged_rounds": 47, "tied_rounds": 5, "longest": {"rounds": 40, "won": 22},
        "growth": growth, "growth_by_winner": {"AB": growth, "B": {**growth, "n": 0, "median": None, "mean": None}},
    }  # fmt: skip


def full_report() -> dict[str, Any]:
    place = {
        "labels": 3, "votes": 120, "first": {"X1": 90, "X2": 18, "X3": 12}, "x1": 0.75, "x1_interval": [0.66, 0.82],
        "fair": 0.333333,
    }  # fmt: skip
    agreement = {"pairs": 140, "same_first": 0.4, "tau": 0.05, "rounds": 47, "unanimous": 0.2}
    example = {"prompt_id": "0" * 16, "id": NASTY[:80], "category": LONG, "winners": ["AB", "A"], "truncated": True}
    return {
        "format": 1, "study": "demo", "generation": "contested", "prompts": "plans", "method": "tournament",
        "model": "teacher", "roles": {"critic": "critic-7b", "judges": [MODEL, "two"]},
        "tournament": {"judges": 3, "max_rounds": 2, "convergence": 2}, "external_judges": ["outsider", MODEL],
        "all": part(), "categories": [{"category": name, **part()} for name in ("software", LONG, None)],
        "judges": {"agreement": agreement, "by_model": {MODEL: {"asked": 150, "read": 141, "places": [place]}}},
        "check": check(),
        "examples": [
            {**example, "prompt": f"Review this plan. {NASTY}", "draft": NASTY, "answer": f"Better. {NASTY}"},
            {**example, "prompt": "Short?", "draft": "same", "answer": "same", "truncated": False, "category": None},
        ],
        "files": ["answers.parquet", "failures.parquet", "check.parquet"],
    }  # fmt: skip


def single_report() -> dict[str, Any]:
    names = ("prompts", "rows", "answered", "failed", "failed_by_stage", "truncated", "words")
    small = {name: part()[name] for name in names}
    calls = {**part()["calls"], "by_role": {"teacher": 40}}
    whole = {
        "all": {**small, "calls": calls},
        "categories": [{"category": None, **small, "calls": calls}],
        "judges": {},
        "check": None,
    }
    return {**full_report(), **whole, "method": "single", "tournament": None, "roles": {}, "external_judges": []}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """report.html of a full report with nasty texts."""
    (tmp_path / "report.json").write_text(json.dumps(full_report()), encoding="utf-8")
    write_generation_report(tmp_path / "report.json", tmp_path / "report.html", tmp_path / "report.md")
    return tmp_path / "report.html"


def test_models_words_are_escaped() -> None:
    html = render_generation_html(full_report())
    assert "<script" not in html
    assert "<img" not in html
    assert "onerror=&#39;" in html
    assert "{{ 7 * 7 }}" in html
    assert "\x1b" not in html
    assert html.count("<style>") == 1


@pytest.mark.parametrize("report", [full_report, single_report])
def test_nothing_external_in_the_page(report: Any) -> None:
    html = render_generation_html({**report(), "examples": []})
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")
    assert "default-src 'none'" in html.replace("&#39;", "'")
    assert not re.search(r"<(script|iframe|object|embed|link rel=\"stylesheet\")", html)


def test_same_report_same_bytes_and_the_input_is_left_alone() -> None:
    report = full_report()
    before = copy.deepcopy(report)
    for render in (render_generation_html, render_generation_markdown):
        assert render(report) == render(before)
    assert report == before


def test_a_report_without_a_check_says_how_to_get_one() -> None:
    html = render_generation_html({**full_report(), "check": None, "external_judges": []})
    assert "external_check: {judges: [MODEL]}" in html
    assert "no external check" in html
    assert "does the tournament beat" not in render_generation_markdown({**full_report(), "check": None}).lower()


def test_a_single_pass_has_no_word_of_rounds() -> None:
    html, markdown = render_generation_html(single_report()), render_generation_markdown(single_report())
    for text in (html, markdown):
        assert "single pass" in text
        assert not re.search(r"round|vote|final over draft|converged", text.split("</style>")[-1], re.IGNORECASE)


def test_a_generation_of_nothing_renders() -> None:
    growth = {"n": 0, "words_before": 0, "words_after": 0, "median": None, "mean": None, "longer": None}
    empty = {
        **part(), "prompts": 0, "rows": 0, "answered": 0, "failed": 0, "failed_by_stage": {}, "words": None, "rounds": [],
        "outcomes": dict.fromkeys(OUTCOMES, 0), "by_round": [], "growth": growth, "growth_by_winner": {},
        "calls": {**part()["calls"], "by_role": {}, "per_prompt": None},
    }  # fmt: skip
    nobody = {"pairs": 0, "same_first": None, "tau": None, "rounds": 0, "unanimous": None}
    bare = {**counted(0, 0, 0, None), "prompts": 0, "identical": 0, "unjudged": 0, "comparisons": 0, "flips": 0}
    checked = {**bare, "flip_rate": None, "incomplete": 0, "changed": counted(0, 0, 0, None), "by_judge": {}}
    report = {
        **full_report(), "all": empty, "categories": [], "examples": [],
        "judges": {"agreement": nobody, "by_model": {}}, "check": {**checked, "categories": []},
    }  # fmt: skip
    assert "too few verdicts" in render_generation_html(report)
    assert "too few votes" in render_generation_markdown(report)


def test_markdown_tables_are_whole_and_hold_no_model_text() -> None:
    markdown = render_generation_markdown(full_report())
    assert "fetch" not in markdown
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ((0.51, 0.7), "beats the first draft"),
        ((0.5, 0.7), "no difference shown"),
        ((0.2, 0.49), "loses to the first draft"),
    ],
)
def test_the_verdict_hangs_on_the_interval(interval: tuple[float, float], outcome: str) -> None:
    assert verdict({**full_report(), "check": check(interval=interval)})[1] == outcome


def test_a_few_prompts_prove_nothing() -> None:
    few = {**check(win=4, tie=0, loss=0, interval=(1.0, 1.0)), "sign_test": 0.125}
    report = {**full_report(), "check": few}
    assert verdict(report) == ("none", "no difference shown")
    assert "No difference is shown (sign test over prompts: p 0.125)." in say_check(report)


def test_sentences_tell_what_figures_are_worth() -> None:
    told = say_check(full_report())
    assert told[0].startswith("12 of 40 prompts went to the final answer, 8 to the draft, 20 were ties (10 because")
    assert any(MODEL in line and "treat its preferences as noise" in line for line in told)
    assert any("outsider" in line and "only a wide margin" in line for line in told)
    taste = full_report()
    taste["check"]["by_judge"]["outsider"].update(first_shown_share=0.25, flip_rate=0.1)
    assert any("outsider" in line and "noise" in line for line in say_check(taste))
    assert "votes for a place rather than a text" in say_votes(full_report())[0]
    fair = full_report()
    fair["judges"]["by_model"][MODEL]["places"][0].update(x1=0.35, x1_interval=[0.27, 0.44])
    assert "no taste for a place is shown" in say_votes(fair)[0]


def test_bars_fill_their_length() -> None:
    bars = stacked(part()["outcomes"], OUTCOMES)
    assert [bar.kind for bar in bars] == list(OUTCOMES)
    assert bars[-1].start + bars[-1].width == pytest.approx(100)
    assert stacked(dict.fromkeys(OUTCOMES, 0), OUTCOMES) == []


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
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
    assert faults == []
    assert tab.evaluate("window.harmed") is None
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    bars = tab.evaluate("[...document.querySelectorAll('svg.stack')].map(s => s.getBoundingClientRect().width)")
    assert len(bars) == 3
    assert min(bars) > 0.75 * width - 220
    tab.screenshot(path=tmp_path / f"generation-{width}-{scheme}.png", full_page=True)


@pytest.mark.slow
def test_page_without_javascript_has_names_for_everything(browser: Any, page: Path) -> None:
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(page.as_uri())
    assert tab.locator("h1").count() == 1
    assert tab.locator("svg:not([aria-hidden]):not([aria-label])").count() == 0
    assert tab.locator(".scroll:not([aria-label])").count() == 0
    assert tab.locator("section:not([aria-labelledby])").count() == 0
    assert tab.get_by_text("votes for a place rather than a text").is_visible()
    for target in [link.get_attribute("href") for link in tab.locator("nav a").all()]:
        assert tab.locator(target).count() == 1
