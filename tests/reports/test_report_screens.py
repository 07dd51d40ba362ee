"""report.html on every screen, by keyboard, printed, without scripts, and with 100,000 verdicts."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from report_tabs import KEY, heads, page, tab, told, write

from stillhouse.reports import report_links as links

pytestmark = pytest.mark.slow

__all__ = ["page", "tab"]  # fixtures of this module, too


# screens

CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = (top, below) => { const a = top[3] ?? 1; return [0, 1, 2].map((n) => top[n] * a + below[n] * (1 - a)); };
  const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      layers.push(parse(getComputedStyle(each).backgroundColor));
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest('script, style, noscript, .sign.left')) continue;
    const style = getComputedStyle(element);
    const ink = element.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const back = ground(element);
    const [one, other] = [light(over(parse(ink), back)), light(back)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) found.push([element.tagName, `${element.className}`, element.textContent.slice(0, 30), ratio]);
  }
  return found;
}"""
ADDRESSES = ["", "#answers?", "#pairs?", links.answer(subject="student", beside="vanilla", **KEY)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_every_screen_and_can_be_read(
    tab: Callable[..., Any], width: int, scheme: str, address: str, tmp_path: Path
) -> None:
    opened = tab(address, viewport={"width": width, "height": 900}, color_scheme=scheme)
    if address:
        opened.locator("#browser h2").wait_for()
    opened.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(245, 246, 246)" if scheme == "light" else "rgb(16, 20, 22)"
    )
    assert opened.evaluate(CONTRAST) == []
    opened.screenshot(path=tmp_path / f"report-{width}-{scheme}.png", full_page=True)


def test_the_keyboard_reaches_everything(tab: Callable[..., Any]) -> None:
    opened = tab()
    assert opened.locator("a:not([href])").count() == 0
    assert opened.locator("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").count() == 0
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "1 of 2 gates failed"
    for _ in range(25):
        opened.keyboard.press("Tab")
        style = opened.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement); return [document.activeElement.tagName, s.outlineStyle, s.outlineWidth]; })()"
        )
        assert style[0] != "BODY"
        assert style[1] != "none", style
    opened.locator("a.prow").first.focus()
    opened.keyboard.press("Enter")
    heads(opened, re.compile("Answers|Comparisons"))


def test_every_part_has_a_name(tab: Callable[..., Any]) -> None:
    opened = tab()
    assert opened.locator("h1").count() == 1
    for missing in (
        "svg:not([aria-hidden]):not([aria-label])",
        ".scroll:not([aria-label])",
        "section:not([aria-labelledby])",
        "th:not([scope])",
    ):
        assert opened.locator(f"#report {missing}").count() == 0, missing
    ids = opened.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    for target in opened.evaluate(
        "[...document.querySelectorAll('#report a[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1)).filter(t => !t.includes('?'))"
    ):
        assert target in ids


def test_it_can_be_printed(tab: Callable[..., Any]) -> None:
    opened = tab()
    assert opened.pdf(format="A4").startswith(b"%PDF")
    opened.emulate_media(media="print")
    assert opened.locator("#sift").is_hidden()
    assert opened.locator("#pairwise table").first.is_visible()


def test_without_scripts_everything_that_matters_stands_there(browser: Any, page: Path) -> None:
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(page.as_uri())
    assert tab.get_by_text("stands here without scripts").is_visible()
    assert tab.locator(".headline").inner_text().startswith("student against vanilla: win rate")
    assert tab.locator("#sift").is_hidden()
    assert tab.locator("table").count() > 10
    assert tab.locator("figure.plot").count() >= 4
    assert tab.locator("#examples .said").first.is_visible()
    tab.context.close()


# size


@pytest.fixture(scope="module")
def vast(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html of 100,000 verdicts on 10,000 answers."""
    folder = tmp_path_factory.mktemp("vast")
    synthetic.build(folder, synthetic.Size(prompts=2000, few=0, panel=4, graders=2))
    return write(folder, synthetic)


def test_100_000_verdicts_open_at_once_and_unpack_when_asked_for(tab: Callable[..., Any], vast: Path) -> None:
    assert vast.stat().st_size < 30_000_000
    opened = tab(file=vast)
    paint = opened.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint < 3000
    unpacked = "[...document.querySelectorAll('[data-unpacked]')].map(e => e.id)"
    assert opened.evaluate(unpacked) == []
    assert opened.locator("[id^=block-]").count() > 80
    started = time.monotonic()
    opened.locator("#pairwise table").first.locator("tbody tr").last.locator("td a").first.click()
    assert re.fullmatch(r"1\d,\d{3} verdicts on [12],?\d{3} comparisons", told(opened))
    assert time.monotonic() - started < 3
    assert opened.evaluate(unpacked) == ["block-index"]
    opened.locator(".list tbody a").first.click()
    heads(opened, re.compile("^plans-"))
    parts = opened.evaluate(unpacked)
    assert parts[0] == "block-index"
    assert 4 <= len(parts) <= 5
    assert {name.split("-")[1] for name in parts} == {"index", "prompts", "answers", "pairs"}
