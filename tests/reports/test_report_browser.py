"""report.html in a browser: tables, lists and answers with clicks and keys, and hostile texts in all of them."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest
from report_tabs import KEY, column, heads, page, tab, told, write

from stillhouse.reports import report_links as links

pytestmark = pytest.mark.slow

__all__ = ["page", "tab"]  # fixtures of this module, too


# tables of the report


def test_tables_sort_by_click_and_by_key(tab: Callable[..., Any]) -> None:
    opened = tab()
    table = opened.locator("#pairwise table").first
    head = table.get_by_role("button", name="Win", exact=True)
    head.click()
    wins = [int(text) for text in column(table, 3)]
    assert wins == sorted(wins, reverse=True)
    assert len(set(wins)) > 1
    assert table.locator("th[aria-sort]").count() == 1
    assert table.locator("th[aria-sort=descending]").inner_text().startswith("Win")
    head.focus()
    opened.keyboard.press("Enter")
    assert [int(text) for text in column(table, 3)] == sorted(wins)
    assert table.locator("th[aria-sort=ascending]").count() == 1
    table.get_by_role("button", name="Pair").focus()
    opened.keyboard.press("Space")
    assert column(table, 0) == sorted(column(table, 0))


def test_rows_without_a_number_stay_last(tab: Callable[..., Any]) -> None:
    opened = tab()
    table = opened.locator("#subjects table")
    table.locator("tbody tr").first.locator("td").first.evaluate(
        "cell => { delete cell.dataset.v; cell.textContent = '–'; }"
    )
    button = table.locator("thead button").nth(1)
    for _ in range(2):
        button.click()
        assert column(table, 1)[-1] == "–"


def test_the_filter_of_all_tables(tab: Callable[..., Any]) -> None:
    opened = tab()
    opened.keyboard.press("/")
    assert opened.evaluate("document.activeElement.id") == "rows"
    opened.keyboard.type("ablation ADAPTER")
    assert re.fullmatch(r"\d+ of \d+ rows", opened.locator("#sifted").inner_text())
    assert column(opened.locator("#subjects table"), 0) == ["ablation"]
    assert all("ablation" in name for name in column(opened.locator("#differences table"), 0))
    opened.keyboard.press("Escape")
    assert opened.locator("#rows").input_value() == ""
    assert opened.locator("#subjects tbody tr:visible").count() == 5


# every number leads to what is behind it


def test_every_count_is_what_its_list_tells(tab: Callable[..., Any]) -> None:
    opened = tab()
    cells = opened.evaluate("""[...document.querySelectorAll('section:not(#judges) td.n > a.go')].map(a => {
        const cell = a.closest('td');
        return [a.getAttribute('href'), a.textContent, cell.closest('table').tHead.rows[0].cells[cell.cellIndex].innerText];
    })""")  # the figures on judges are invented
    seen = 0
    for address, text, head in {tuple(cell) for cell in cells}:
        if not re.fullmatch(r"\d+", text) or "?" not in address:
            continue
        opened.evaluate("address => { location.hash = address; }", address)
        opened.wait_for_function("address => document.querySelector('#browser').dataset.at === address", arg=address)
        figures = re.findall(r"[\d,]+", told(opened))
        # verdicts come before the comparisons or answers that they are on
        of_prompts = head.startswith("Prompts") or head == "Critical failures"
        assert figures[-1 if of_prompts else 0].replace(",", "") == text, (address, head)
        seen += 1
    assert seen > 100


def test_a_cell_opens_the_list_and_the_list_an_answer(tab: Callable[..., Any]) -> None:
    opened = tab()
    row = opened.locator("#pairwise table").first.locator("tbody tr").filter(has_text="against ablation")
    wins = row.locator("td").nth(2)
    wins.locator("a").scroll_into_view_if_needed()
    scrolled = opened.evaluate("window.scrollY")
    count = wins.inner_text()
    wins.locator("a").click()
    heads(opened, "Comparisons")
    assert told(opened).startswith(f"{count} verdicts on ")
    assert opened.evaluate("document.activeElement.tagName") == "H2"
    assert opened.locator("#report").is_hidden()
    assert opened.locator("select[name=verdict]").input_value() == "win"
    opened.locator(".list tbody a").first.click()
    heads(opened, re.compile("^plans-0$"))
    assert opened.locator(".sides h3 bdi").all_inner_texts() == ["student", "ablation"]
    opened.go_back()
    heads(opened, "Comparisons")
    opened.go_back()
    opened.locator("#report").wait_for()
    assert abs(opened.evaluate("window.scrollY") - scrolled) < 5
    assert opened.evaluate("document.activeElement.getAttribute('href')") == wins.locator("a").get_attribute("href")
    opened.go_forward()
    heads(opened, "Comparisons")


def test_filters_change_the_address_but_not_the_way_back(tab: Callable[..., Any]) -> None:
    opened = tab()
    opened.get_by_role("link", name="All answers").click()
    assert told(opened) == "90 answers"
    opened.locator("select[name=subject]").select_option("student")
    opened.locator("select[name=set]").select_option("everyday")
    assert told(opened) == "6 answers"
    assert opened.evaluate("location.hash") == "#answers?subject=student&set=everyday"
    opened.keyboard.press("/")
    opened.keyboard.type("everyday-3")
    opened.locator(".told", has_text="1 answer").wait_for()
    assert opened.evaluate("document.activeElement.type") == "search"
    assert column(opened.locator(".list"), 0) == ["everyday-3"]
    opened.reload()
    assert told(opened) == "1 answer"
    opened.locator("input[type=search]:visible").focus()
    opened.keyboard.press("Escape")
    opened.locator(".told", has_text="6 answers").wait_for()
    opened.locator("select[name=subject]").focus()
    opened.keyboard.press("Escape")
    opened.locator("#report").wait_for()


def test_a_list_sorts_all_its_pages(tab: Callable[..., Any]) -> None:
    opened = tab("#answers?")
    assert opened.locator(".list tbody tr").count() == 50
    opened.locator(".list").get_by_role("button", name="Words").click()
    opened.locator(".list th[aria-sort=descending]").wait_for()
    first = [int(text) for text in column(opened.locator(".list"), 7)]
    opened.get_by_role("link", name="later →").click()
    opened.get_by_text("51 to 90 of 90").wait_for()
    rest = [int(text) for text in column(opened.locator(".list"), 7)]
    assert first + rest == sorted(first + rest, reverse=True)
    opened.get_by_role("button", name="Words").click()
    opened.locator(".list th[aria-sort=ascending]").wait_for()
    assert int(column(opened.locator(".list"), 7)[0]) == 0


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("#answers?subject=nobody", "0 answers"),
        ("#answers?subject=__proto__&only=constructor&status=toString", "0 rubric verdicts on 0 answers"),
        ("#answers?page=99999", "90 answers"),
        ("#answers?page=-3&sort=nothing", "90 answers"),
        ("#pairs?verdict=hasOwnProperty", "240 verdicts on 60 comparisons"),
        ("#answers?find=%E4%", "0 answers"),
    ],
)
def test_addresses_that_name_nothing(tab: Callable[..., Any], address: str, words: str) -> None:
    assert told(tab(address)) == words


@pytest.mark.parametrize(
    "address",
    ["#constructor", "#__proto__?a=b", "#<img src=x onerror=alert(1)>", "#answer?", "#answer?subject=student"],
)
def test_addresses_of_no_view(tab: Callable[..., Any], address: str) -> None:
    opened = tab(address)
    if address.startswith("#answer?"):
        heads(opened, "No such answer")
        opened.keyboard.press("Escape")
    opened.locator("#report h1").wait_for()


# answers


def test_an_answer_shows_all_that_is_known_of_it(tab: Callable[..., Any]) -> None:
    opened = tab(links.answer(subject="student", **KEY))
    heads(opened, "plans-1")
    article = opened.locator(".sides article")
    assert article.locator("mark").all_inner_texts() == ["keystone", "KEYSTONE"]
    assert "Markers: 1" in article.inner_text()
    for part in ("Checks", "Character", "Rubric", "Where it comes from"):
        assert article.get_by_role("heading", name=part).count() == 1
    assert article.get_by_text("judge-a", exact=True).count() == article.get_by_text("judge-b", exact=True).count() == 1
    article.get_by_text("the judge's reply as it came").first.click()
    assert article.locator("details[open] .said").first.inner_text().startswith("{")
    assert (
        "python scripts/trace.py --row 0000000000000001 --in 'results/evaluations/framework/responses/student.parquet'"
        in article.inner_text()
    )
    assert re.search(r"scripts/trace.py --call [0-9a-f]{64}", article.inner_text())
    link = article.get_by_role("link", name="The file in the study's lineage").get_attribute("href")
    assert link == "../../provenance/lineage.html#results/evaluations/framework/responses/student.parquet"
    contests = opened.locator(".contest")
    assert re.match(r"student against \w+ \d won, \d tied, \d lost", contests.first.inner_text())
    assert contests.count() == 3
    assert opened.locator(".contest .judged").count() == 3 * 2 * 2


def test_side_by_side_and_on_to_the_next(tab: Callable[..., Any]) -> None:
    opened = tab("#answers?subject=student&set=plans")
    opened.get_by_role("link", name="plans-1", exact=True).click()
    heads(opened, re.compile("^plans-1$"))
    opened.get_by_label("Beside it").select_option("gold")
    opened.locator(".sides article").nth(1).wait_for()
    assert opened.locator(".sides h3 bdi").all_inner_texts() == ["student", "gold"]
    left, right = (opened.locator(".sides article").nth(n).bounding_box() for n in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert opened.locator(".contest").count() == 1
    opened.keyboard.press("j")
    heads(opened, re.compile("^plans-2$"))
    opened.keyboard.press("k")
    heads(opened, re.compile("^plans-1$"))
    opened.keyboard.press("Escape")
    assert told(opened) == "12 answers"
    opened.keyboard.press("Escape")
    opened.locator("#report h1").wait_for()


def test_hostile_texts_stand_there_as_text(tab: Callable[..., Any]) -> None:
    opened = tab(links.answer(subject="student", beside="vanilla", **KEY))
    heads(opened, "plans-1")
    opened.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    shown = opened.locator(".sides .said").first.inner_text()
    assert "<script>window.harmed = 1</script></script><img src=x onerror='window.harmed = 2'></textarea><!--" in shown
    assert "␛[31mred␇␀ \\u202egnirts \\u2067 &lt;b&gt;" in shown
    assert opened.locator(".prompt .said").inner_text().count("<script>") == 1
    assert not re.search("[\x00\x1b\u202e\u2067]", opened.locator("#browser").inner_text())
    opened.goto(opened.url.split("#")[0] + "#answers?find=onerror")
    heads(opened, "Answers")
    opened.goto(opened.url.split("#")[0])
    opened.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")


def test_long_lines_are_cut_until_asked_for(tab: Callable[..., Any]) -> None:
    opened = tab("#answers?find=plans-2")
    key = {**KEY, "prompt": "0000000000000002"}
    started = time.monotonic()
    opened.evaluate("address => { location.hash = address; }", links.answer(subject="student", beside="vanilla", **key))
    heads(opened, re.compile("^plans-2$"))
    assert time.monotonic() - started < 3
    box = opened.locator(".sides .said").first
    assert len(box.inner_text()) == 4000
    assert opened.evaluate("document.documentElement.scrollWidth") == 1280
    opened.get_by_role("button", name="Show all 1,000,000 characters").click()
    assert len(box.text_content()) == 1_000_000
    assert opened.evaluate("document.activeElement.getAttribute('aria-label')") == "answer of student"
    assert opened.evaluate("document.documentElement.scrollWidth") == 1280
    assert opened.get_by_role("button", name="Show all").count() == 0


def test_texts_from_right_to_left_move_nothing_else(tab: Callable[..., Any]) -> None:
    opened = tab(links.answer(subject="vanilla", **{**KEY, "prompt": "0000000000000003"}))
    heads(opened, "plans-3")
    box = opened.locator(".sides .said").first
    assert box.get_attribute("dir") == "auto"
    assert "\\u200f123" in box.inner_text()
    opened.goto(opened.url.split("#")[0] + links.answer(subject="student", **{**KEY, "prompt": "0000000000000003"}))
    opened.get_by_text("(empty)").first.wait_for()


def test_odd_names_of_subjects(tab: Callable[..., Any], synthetic: ModuleType, tmp_path: Path) -> None:
    odd = "pl/a'i\"n <b>&#?% \u202eä"
    report = json.loads(synthetic.build(tmp_path, synthetic.Size()).read_text())
    rename = lambda value: odd if value == "plain" else value  # noqa: E731
    report["order"] = [*map(rename, report["order"])]
    report["subjects"][odd] = report["subjects"].pop("plain")
    report["pairwise"][f"{odd}_vs_vanilla"] = {
        **report["pairwise"].pop("plain_vs_vanilla"),
        "candidate": odd,
        "first": odd,
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    for file in [*tmp_path.glob("responses/*.parquet"), *tmp_path.glob("judgements/*.parquet")]:
        table = pq.read_table(file)
        rows = [{k: rename(v) if k in ("subject", "first") else v for k, v in row.items()} for row in table.to_pylist()]
        pq.write_table(table.from_pylist(rows, schema=table.schema), file)
    opened = tab(file=write(tmp_path, synthetic))
    row = opened.locator("#subjects tbody tr").nth(2)
    assert "pl/a'i\"n <b>&#?% \\u202eä" in row.inner_text()
    row.locator("td a").last.click()
    assert told(opened) == "18 answers"
    opened.locator("select[name=subject]").select_option("student")
    assert told(opened) == "18 answers"
    opened.locator("select[name=subject]").select_option(odd)
    opened.locator(".list tbody a").first.click()
    heads(opened, "plans-0")
    opened.get_by_label("Beside it").select_option("vanilla")
    opened.locator(".sides article").nth(1).wait_for()
    assert opened.locator(".contest").count() == 1
    opened.keyboard.press("Escape")
    heads(opened, "Answers")
