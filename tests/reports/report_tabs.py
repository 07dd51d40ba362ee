"""Opening report.html in a browser: a page full of hostile texts, and a tab that must stay unharmed."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stillhouse.reports.write import write_report

HARM = (
    "<script>window.harmed = 1</script></script><img src=x onerror='window.harmed = 2'></textarea><!-- <svg onload=alert(1)>"
    "\x1b[31mred\x07\x00 \u202egnirts \u2067 &lt;b&gt; javascript:alert(1) "
)
LONG = "y" * 1_000_000
ZALGO = "Z\u0337\u0351\u0300" * 200
PLANS = "plans"
KEY = {"set": PLANS, "prompt": "0000000000000001", "sample": 0}


def write(folder: Path, synthetic: ModuleType) -> Path:
    write_report(folder / "report.json", folder / "report.html", folder / "report.md", **synthetic.inputs(folder))
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html of 90 answers; some of them, and all judges, are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = {
        ("student", "plans-1"): f"keystone {HARM} Verdict: go KEYSTONE",
        ("student", "plans-2"): LONG,
        ("student", "plans-3"): "",
    }
    texts |= {("vanilla", "plans-2"): ZALGO, ("vanilla", "plans-3"): "\u05e9\u05dc\u05d5\u05dd keystone \u200f123"}
    synthetic.build(folder, synthetic.Size(texts=texts, added=f" {HARM}"))
    return write(folder, synthetic)


@pytest.fixture
def tab(browser: Any, page: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page at an address; when the test ends there was no request, fault, dialog, harm or new script."""
    asked, faults, opened = [], [], []

    def open_at(address: str = "", file: Path = page, **options: Any) -> Any:
        tab = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("dialog", lambda dialog: (faults.append("dialog"), dialog.dismiss()))
        tab.goto(file.as_uri() + address)
        opened.append((tab, file, tab.locator("script").count()))
        return tab

    yield open_at
    assert faults == []
    for each, file, scripts in opened:
        assert each.evaluate("window.harmed") is None
        assert each.locator("script").count() == scripts
        assert each.locator("#browser img, #browser script, #browser iframe, #browser svg").count() == 0
        assert {url.split("#")[0] for url in asked if not url.startswith("data:")} <= {
            file.as_uri() for _, file, _ in opened
        }
        each.close()


def told(tab: Any) -> str:
    """What stands above the list, once it is there."""
    tab.locator(".told").wait_for()
    return tab.locator(".told").inner_text()


def heads(tab: Any, text: str | re.Pattern[str]) -> None:
    """Wait for the heading of a list or an answer."""
    tab.locator("#browser h2", has_text=text).wait_for()


def column(table: Any, number: int) -> list[str]:
    return [
        row.locator("th, td").nth(number).inner_text().splitlines()[0]
        for row in table.locator("tbody tr:visible").all()
    ]
