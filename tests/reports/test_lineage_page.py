"""lineage.html: small, self-contained, harmless whatever a record holds, and usable with mouse, keyboard and address."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.provenance.digests import digest_text
from stillhouse.provenance.lineage import Node
from stillhouse.provenance.records import write_record
from stillhouse.provenance.study_records import study_nodes
from stillhouse.reports.lineage_data import LONGEST, page_data, shortened
from stillhouse.reports.lineage_map import HEIGHT, MOST_GROUPS, WIDTH, study_map
from stillhouse.reports.lineage_page import fragment, render_lineage, write_lineage_page

NASTY = (
    "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'><!-- <script>"
    "</pre></main></textarea><style>body{display:none}</style>\x1b[31mred\x07 \u202egnirts {{ 7 * 7 }} &lt; \u2028 \\u003c"
)
ODD = "results/generations/g'\"<b>#%20 ä€\u202e/answers.parquet"
GGUF, ANSWERS, WEIGHTS = (
    "results/exports/mixed/mixed-Q4_K_M.gguf",
    "results/generations/plans/answers.parquet",
    "results/adapters/mixed/adapter_model.safetensors",
)
RUN = {
    "started": "2026-07-01T10:00:00+00:00", "finished": "2026-07-01T10:00:05+00:00", "seconds": 5.0, "host": "machine",
    "python": "3.11.7", "threads": 2, "workflow": {"commit": "c" * 40, "dirty": True}, "slurm_job": None,
}  # fmt: skip
USAGE = {
    "calls_made": 30, "calls_replayed": 2, "calls_without_price": 0, "prompt_tokens": 4000, "completion_tokens": 1234,
    "usd": 0.5,
}  # fmt: skip


def read(path: str, name: str = "read", version: str = "") -> dict[str, Any]:
    return {"name": name, "path": path, "sha256": digest_text(path + version), "size": 1234}


def job(rule: str, inputs: list[Any], outputs: list[str], **further: Any) -> Path:
    """Write the record of a job below the working directory; its path is returned."""
    items = [item if isinstance(item, dict) else read(item) for item in inputs]
    file = Path(f"{outputs[0]}.record.json")
    record = {
        "artefacts": [{"path": path, "sha256": digest_text(path), "size": 98_362_432} for path in outputs],
        "inputs": items,
        "key": digest_text(f"key {outputs[0]}"),
        "contents": {},
        "rule": rule,
        "wildcards": {"name": outputs[0].split("/")[2]},
        "recipe": {"sampling": {"seed": 7}},
        "seeds": {"sampling.seed": 7},
        "code": {"digest": digest_text(rule), "files": {f"scripts/{rule}.py": digest_text(f"code {rule}")}},
        "software": {"pyarrow": "26.0.1"},
        "models": [],
        "usage": None,
        "facts": {"rows": 3},
        "reused": False,
        "origin": None,
        "accepted": [],
        "study": {"name": "demo", "digest": "0" * 64},
        "run": RUN,
        **further,
    }
    write_record(file, record)
    return file


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    """A study of every stage, with hostile texts, an odd name, a reused job and an input that was made anew."""
    monkeypatch.chdir(tmp_path)
    prompts = "results/prompts/plans.parquet"
    held = "results/evaluations/framework/prompts/plans.parquet"
    train, report = "results/datasets/mixed/train.parquet", "results/evaluations/framework/report.json"
    response = "results/evaluations/framework/responses/packed.parquet"
    shards = [f"results/generations/plans/shards/{number}.parquet" for number in range(3)]
    hostile = {"recipe": {"system": NASTY, NASTY: [NASTY]}, "facts": {"note": NASTY}, "models": [{"name": NASTY}]}
    records = [
        job("collect_prompts", ["data/prompts.jsonl"], [prompts]),
        job("collect_evaluation_prompts", ["data/eval.jsonl"], [held]),
        *(job("answer_shard", [prompts, "data/system.md"], [shard], usage=USAGE, **hostile) for shard in shards),
        job("merge_generation", shards, [ANSWERS, "results/generations/plans/failures.parquet"]),
        job("merge_generation", [prompts], [ODD], wildcards={"name": NASTY}),
        job("build_dataset", [ANSWERS, ODD, held, "data/system.md"], [train, "results/datasets/mixed/report.json"]),
        job("train_adapter", [train], [WEIGHTS], reused=True, origin={**RUN, "seconds": 7200.0, "host": "elsewhere"}),
        job("quantize_gguf", [read(WEIGHTS, version=" older")], [GGUF, "results/exports/mixed/digests/Q4_K_M.json"]),
        job("answer_subject", [GGUF, held], [response], usage={**USAGE, "usd": None, "calls_without_price": 32}),
        job("summarise_evaluation", [response], [report], accepted=[{"reason": "renamed"}]),
    ]
    return study_nodes(Path(), records)


@pytest.fixture
def page(nodes: list[Node], tmp_path: Path) -> Path:
    target = tmp_path / "results/provenance/lineage.html"
    write_lineage_page(nodes, "demo", target)
    return target


def embedded(html: str) -> dict[str, Any]:
    """The data in the page, found as a browser finds it: up to the first end of a script."""
    return json.loads(html.split('<script type="application/json" id="data">')[1].split("</script>")[0])


# what goes into the page


def test_texts_of_records_are_data_and_nothing_else(nodes: list[Node]) -> None:
    html = render_lineage(nodes, "demo")
    assert html.count("<script") == 2
    assert html.count("</script") == 2
    assert "<img" not in html
    assert "<!-- " not in html
    assert html.count("<style>") == 1
    assert "\x1b" not in html
    assert "\u202e" not in html
    shard = next(job for job in embedded(html)["jobs"] if job["rule"] == "answer_shard")
    assert shard["recipe"] == {"system": NASTY, NASTY: [NASTY]}


def test_nothing_is_asked_from_anywhere(nodes: list[Node]) -> None:
    html = render_lineage(nodes, "demo")
    head = html.split("<body>")[0].replace("&#39;", "'")
    assert "default-src 'none'" in head
    assert "script-src 'sha256-" in head
    assert not re.search(r"(?:src|href|action)=.?(?:https?:)?//", html)
    assert not re.search(
        r"<(iframe|object|embed|link rel=\"stylesheet\")|@import|url\(|\bfetch\(|XMLHttp|innerHTML|eval\(", html
    )


def test_the_same_records_give_the_same_page(nodes: list[Node]) -> None:
    assert render_lineage(nodes, "demo") == render_lineage(nodes, "demo")


def test_the_data_hold_every_file_once_and_who_read_it(nodes: list[Node]) -> None:
    data = page_data(nodes)
    paths = [file["path"] for file in data["files"]]
    assert len(set(paths)) == len(paths) == 15 + 3
    assert paths[-3:] == ["data/eval.jsonl", "data/prompts.jsonl", "data/system.md"]
    quantised = next(job for job in data["jobs"] if job["rule"] == "quantize_gguf")
    assert quantised["inputs"] == [["read", paths.index(WEIGHTS), digest_text(f"{WEIGHTS} older")]]
    assert [paths[number] for number in quantised["outputs"]] == [GGUF, "results/exports/mixed/digests/Q4_K_M.json"]


def test_records_of_schema_1_have_a_page_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = job("answer_shard", ["data/a"], ["results/generations/g/shards/0.parquet"])
    old = json.loads(file.read_text())
    for name in ("models", "usage", "seeds", "contents", "origin", "accepted", "seal"):
        del old[name]
    facts = {**USAGE, "answered": 3}
    write_record(file, {**old, "schema": 1, "facts": facts})
    data = embedded(render_lineage(study_nodes(Path(), [file]), "demo"))
    assert data["jobs"][0]["usage"] == USAGE
    assert data["jobs"][0]["facts"] == {"answered": 3}


@pytest.mark.slow
@pytest.mark.parametrize("text", ["x", "\x00", "</script>"])
def test_a_page_of_500_artefacts_stays_below_5_mb(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    big = {f"{text}{number}": text * (2000 // len(text)) for number in range(5)}
    files = {f"scripts/stillhouse/package/module_{number}.py": digest_text(str(number)) for number in range(40)}
    records, before = [], "data/prompts.jsonl"
    for number in range(500):
        path = f"results/generations/a-generation-{number // 50}/shards/{number}.parquet"
        code = {"digest": digest_text(str(number % 25)), "files": files}
        further = {"recipe": big, "facts": big, "models": [big], "usage": USAGE, "code": code}
        inputs = [before, *(f"data/source-{each}.md" for each in range(20))]
        records.append(job("answer_shard", inputs, [path], **further))
        before = path
    html = render_lineage(study_nodes(Path(), records), "demo")
    assert len(html.encode()) < 5_000_000
    assert html.count(".parquet</a>") == 500


def test_what_is_shortened_says_so() -> None:
    assert shortened({"a": [1, "b", None, True]}, 100) == {"a": [1, "b", None, True]}
    text = shortened("x" * (LONGEST + 5), 10**6)
    assert re.fullmatch(r"x{590,600}… \((\d+) more characters in the record\)", text)
    assert text.count("x") + int(re.search(r"\d+", text)[0]) == LONGEST + 5
    assert shortened("x" * LONGEST, 10**6) == "x" * LONGEST
    cut = shortened({"first": "y" * 30, "second": 1, "third": 2}, 40)
    assert cut == {"first": "y" * 30, "…": "2 more in the record"}
    assert shortened(list(range(1000)), 30)[-1].endswith("more in the record")
    deep = shortened({"a": {"b": {"c": "z" * 500, "d": "gone"}}}, 100)
    assert "d" not in deep["a"]["b"]


# the map


def test_boxes_do_not_overlap_and_lines_lead_from_left_to_right(nodes: list[Node]) -> None:
    drawn = study_map(nodes)
    assert {group.stage for group in drawn.groups} == {
        "prompts", "held-out", "generations", "datasets", "adapters", "exports", "responses", "report"
    }  # fmt: skip
    for number, one in enumerate(drawn.groups):
        assert 0 <= one.x <= drawn.width - WIDTH
        assert 0 <= one.y <= drawn.height - HEIGHT
        for other in drawn.groups[number + 1 :]:
            assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT, (one.name, other.name)
    for line in drawn.lines:
        start, end = drawn.groups[line.start], drawn.groups[line.end]
        assert start.x < end.x
        assert line.path.startswith(f"M{start.x + WIDTH:.0f} {start.y + HEIGHT / 2:.1f}")
        assert line.path.endswith(f"{end.x:.0f} {end.y + HEIGHT / 2:.1f}")


def test_groups_that_depend_on_one_another_in_a_circle_are_drawn(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, two, three = "results/exports/x/a.gguf", "results/datasets/d/b.parquet", "results/exports/x/c.gguf"
    records = [job("r", [], [one]), job("r", [one], [two]), job("r", [two], [three])]
    drawn = study_map(study_nodes(Path(), records))
    assert [(drawn.groups[line.start].stage, drawn.groups[line.end].stage) for line in drawn.lines] in (
        [("datasets", "exports")],
        [("exports", "datasets")],
    )


def test_a_map_of_too_many_groups_shows_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = []
    for number in range(MOST_GROUPS):
        prompts = f"results/prompts/p{number}.parquet"
        answers = [f"results/generations/g{number}/{name}.parquet" for name in ("answers", "failures")]
        responses = f"results/evaluations/e{number}/responses/s.parquet"
        records += [job("a", [], [prompts]), job("b", [prompts], answers), job("c", answers, [responses])]
    nodes = study_nodes(Path(), records)
    drawn = study_map(nodes)
    assert [(group.stage, len(group.files)) for group in drawn.groups] == [
        ("prompts", MOST_GROUPS), ("generations", 2 * MOST_GROUPS), ("responses", MOST_GROUPS)
    ]  # fmt: skip
    assert len(drawn.lines) == 2
    boxes = {file["path"]: file["box"] for file in embedded(render_lineage(nodes, "d"))["files"]}
    assert boxes["results/evaluations/e7/responses/s.parquet"] == 2


# in a browser


@pytest.fixture
def tab(browser: Any, page: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page at a fragment; no request, no fault and no harm is left when the test ends."""
    requests, faults, opened = [], [], []

    def open_at(address: str = "", **options: Any) -> Any:
        tab = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.goto(page.as_uri() + address)
        opened.append(tab)
        return tab

    yield open_at
    assert faults == []
    assert {url.split("#")[0] for url in requests if not url.startswith("data:")} <= {page.as_uri()}
    for each in opened:
        assert each.evaluate("window.harmed") is None
        each.close()


def shows(tab: Any, *names: str) -> None:
    """Wait until the detail is about one of `names`: an address takes effect a moment after a click."""
    from playwright.sync_api import expect

    expect(tab.locator("#title")).to_have_text(re.compile(f"^({'|'.join(map(re.escape, names))})$"))


def section(tab: Any, name: str) -> Any:
    return tab.locator("#detail section").filter(has=tab.locator("h3", has_text=re.compile(f"^{name}$")))


@pytest.mark.slow
def test_a_click_shows_where_an_artefact_comes_from_and_leads_on(tab: Callable[..., Any], nodes: list[Node]) -> None:
    opened = tab()
    shows(opened, "The whole study")
    assert opened.get_by_text("needs JavaScript").count() == 0
    opened.locator("#list").get_by_role("link", name="mixed-Q4_K_M.gguf").click()
    shows(opened, "mixed-Q4_K_M.gguf")
    assert opened.evaluate("decodeURIComponent(location.hash.slice(1))") == GGUF
    assert digest_text(GGUF) in section(opened, "File").inner_text()
    made_from = section(opened, "Made from")
    assert "another version was read" in made_from.inner_text()
    assert section(opened, "Used for").get_by_role("link").all_inner_texts() == [
        "results/evaluations/framework/responses/packed.parquet"
    ]
    made_from.get_by_role("link", name=WEIGHTS).click()
    shows(opened, "adapter_model.safetensors")
    assert opened.get_by_text("reused from the store", exact=True).is_visible()
    told = section(opened, "Run").inner_text()
    assert "120 min" in told.replace("2 h 0 min", "120 min")
    assert "elsewhere" in told
    section(opened, "Made from").get_by_role("link", name="train.parquet").click()
    section(opened, "Made from").get_by_role("link", name=ANSWERS).click()
    section(opened, "Made from").get_by_role("link", name="shards/1.parquet").click()
    section(opened, "Made from").get_by_role("link", name="data/system.md").click()
    shows(opened, "system.md")
    assert opened.get_by_text("source file", exact=True).first.is_visible()
    assert section(opened, "Used for").get_by_role("link").count() == 4


@pytest.mark.slow
def test_calls_cost_code_and_settings_of_a_job(tab: Callable[..., Any]) -> None:
    opened = tab(f"#{fragment('results/generations/plans/shards/1.parquet')}")
    rows = section(opened, "Calls and cost").locator("tbody tr").all_inner_texts()
    assert rows[0].split("\t") == ["this job", "1", "32", "5,234", "0.50 USD", "5 s"]
    assert rows[1].split("\t") == ["with all before it", "2", "32", "5,234", "0.50 USD", "10 s"]
    made = section(opened, "How it was made")
    for summary in made.locator("summary").all():
        summary.click()
    told = made.inner_text()
    assert "scripts/answer_shard.py" in told
    assert digest_text("code answer_shard") in told
    assert "pyarrow" in told
    assert "</script><script>window.harmed = 1</script><img src=x" in told
    assert "\\u001b[31mred" in told
    assert "sampling.seed" in told
    opened.goto(opened.url.split("#")[0] + f"#{fragment(ANSWERS)}")
    shows(opened, "answers.parquet")
    rows = section(opened, "Calls and cost").locator("tbody tr").all_inner_texts()
    assert rows[1].split("\t") == ["with all before it", "5", "96", "15,702", "1.50 USD", "25 s"]


@pytest.mark.slow
def test_addresses_work_on_load_and_back_and_forward(tab: Callable[..., Any]) -> None:
    opened = tab(f"#{GGUF}")
    shows(opened, "mixed-Q4_K_M.gguf")
    assert opened.locator("#list a[aria-current=true]").inner_text() == "mixed-Q4_K_M.gguf"
    assert opened.locator("#title").bounding_box()["y"] < 900
    section(opened, "Made from").get_by_role("link").first.click()
    shows(opened, "adapter_model.safetensors")
    opened.go_back()
    shows(opened, "mixed-Q4_K_M.gguf")
    opened.go_forward()
    shows(opened, "adapter_model.safetensors")
    opened.reload()
    shows(opened, "adapter_model.safetensors")
    opened.get_by_role("link", name="Lineage").click()
    shows(opened, "The whole study")


@pytest.mark.slow
@pytest.mark.parametrize(
    "address", ["results/none", "%", "%E4%", "</script><img src=x onerror=alert(1)>", "constructor", "__proto__"]
)
def test_an_address_that_names_nothing_says_so(tab: Callable[..., Any], address: str) -> None:
    opened = tab(f"#{address}")
    assert opened.get_by_text("not in this study").is_visible()
    assert opened.locator("#detail img").count() == 0


@pytest.mark.slow
def test_odd_names_can_be_clicked_and_linked(tab: Callable[..., Any]) -> None:
    from playwright.sync_api import expect

    opened = tab(f"#{fragment(ODD)}")
    shows(opened, "answers.parquet")
    assert "g'\"<b>#%20 ä€\\u202e" in opened.locator("#detail .over").inner_text()
    opened.locator("#detail .over a").click()
    expect(opened.locator(".pills")).to_contain_text("1 artefact")
    section(opened, "Artefacts").get_by_role("link").click()
    shows(opened, "answers.parquet")
    assert opened.locator("#list a[aria-current=true]").count() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("q4_k_m", {GGUF, "results/exports/mixed/digests/Q4_K_M.json"}),
        ("TRAIN_adapter", {WEIGHTS}),
        ("merge_generation failures", {"results/generations/plans/failures.parquet"}),
        (digest_text(GGUF)[:9], {GGUF}),
        (digest_text(f"key {WEIGHTS}")[:9], {WEIGHTS}),
        (digest_text("data/system.md"), {"data/system.md"}),
        (digest_text(GGUF)[1:10], set()),
        ("source file", {"data/eval.jsonl", "data/prompts.jsonl", "data/system.md"}),
        ("no such thing", set()),
    ],
)
def test_search(tab: Callable[..., Any], typed: str, found: set[str]) -> None:
    opened = tab()
    opened.get_by_label("Search").fill(typed)
    links = [each for each in opened.locator("#list li a").all() if each.is_visible()]
    assert {each.evaluate("a => decodeURIComponent(a.hash.slice(1))") for each in links} == found
    assert opened.get_by_text("Nothing matches.").is_visible() is (not found)
    assert opened.locator("#found").inner_text() == f"{len(found)} file{'' if len(found) == 1 else 's'} of 18"


@pytest.mark.slow
def test_the_keyboard_is_enough(tab: Callable[..., Any]) -> None:
    opened = tab()
    opened.keyboard.press("/")
    opened.keyboard.type("gguf")
    opened.keyboard.press("ArrowDown")
    assert opened.evaluate("document.activeElement.textContent") == "mixed-Q4_K_M.gguf"
    opened.keyboard.press("Enter")
    shows(opened, "mixed-Q4_K_M.gguf")
    assert opened.evaluate("document.activeElement.id") == "title"
    opened.keyboard.press("/")
    opened.keyboard.press("Escape")
    assert opened.locator("#list li a").last.is_visible()
    opened.keyboard.type("adapter_model")
    opened.keyboard.press("Enter")
    shows(opened, "adapter_model.safetensors")
    opened.locator(".box").first.focus()
    opened.keyboard.press("Enter")
    assert opened.evaluate("location.hash") != ""
    assert opened.locator("a:not([href])").count() == 0


@pytest.mark.slow
def test_the_map_marks_what_lies_before_and_after(tab: Callable[..., Any]) -> None:
    opened = tab(f"#{WEIGHTS}")
    kinds = {
        box.get_attribute("data-stage") + " " + box.locator("text").first.text_content(): box.get_attribute(
            "class"
        ).split()[1:]
        for box in opened.locator(".box").all()
    }
    assert kinds["adapters mixed"] == ["here"]
    assert kinds["datasets mixed"] == kinds["generations plans"] == kinds["prompts plans"] == ["before"]
    assert kinds["exports mixed"] == ["after"]
    assert opened.locator(".line.before").count() >= 4
    opened.locator(".box.after").first.click()
    shows(opened, "mixed/", "packed.parquet", "report.json")
    opened.goto(opened.url.split("#")[0] + "#results/exports/mixed/")
    shows(opened, "mixed/")
    assert section(opened, "Artefacts").get_by_role("link").count() == 2
    assert section(opened, "Made from").get_by_role("link").all_inner_texts() == [WEIGHTS]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", ["", f"#{GGUF}", f"#{fragment('results/generations/plans/shards/0.parquet')}"])
def test_it_fits_every_screen(tab: Callable[..., Any], width: int, scheme: str, address: str, tmp_path: Path) -> None:
    opened = tab(address, viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(245, 246, 246)" if scheme == "light" else "rgb(16, 20, 22)"
    )
    opened.screenshot(path=tmp_path / f"lineage-{width}-{scheme}.png", full_page=True)


@pytest.mark.slow
def test_it_can_be_printed(tab: Callable[..., Any]) -> None:
    opened = tab(f"#{GGUF}")
    text = opened.pdf(format="A4")
    assert text.startswith(b"%PDF")
    opened.emulate_media(media="print")
    assert not opened.locator("#list").is_visible()
    assert opened.locator("#title").is_visible()


@pytest.mark.slow
def test_without_javascript_the_list_and_the_map_stand(browser: Any, page: Path) -> None:
    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.goto(page.as_uri())
    assert tab.get_by_text("needs JavaScript").is_visible()
    assert not tab.locator("#detail").inner_text()
    assert tab.locator("#list li").count() == 18
    assert tab.locator(".box").count() == 9
    assert tab.locator("svg:not([aria-label]):not([aria-hidden])").count() == 0
