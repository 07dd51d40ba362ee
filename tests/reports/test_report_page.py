"""report.html and report.md as texts: self-contained, whole, deterministic, and harmless whatever a model wrote."""

import base64
import gzip
import hashlib
import json
import random
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyarrow.parquet import read_schema

from stillhouse.evaluation.pairs import usable
from stillhouse.provenance.files import read_json, read_parquet_rows, write_parquet
from stillhouse.reports import report_links as links
from stillhouse.reports.pages import cell
from stillhouse.reports.report_blocks import MOST_CHARACTERS, MOST_ITEMS, pack, pack_pages
from stillhouse.reports.report_plots import Axis, histograms, scores_by_category, win_rates
from stillhouse.reports.report_rows import Standing, excerpt, index, read_rows, standings
from stillhouse.reports.view import chance, short, visible
from stillhouse.reports.write import SCRIPTS, render_html, render_markdown, write_report

ORDERS = ["first_second", "second_first"]
NASTY = (
    "<script>window.harmed = 1; fetch('https://example.org/')</script><img src=x onerror='window.harmed = 2'>"
    "</script></p></article></main></textarea><!-- <style>body{display:none}</style>\x1b[31mred\x07\x00 \u202egnirts \u2066 "
    "{{ 7 * 7 }} {% raw %} " + "x" * 3000
)
BLOCK = re.compile(r'<script type="text/plain" id="block-([a-z0-9-]+)">([^<]*)</script>')


@pytest.fixture
def made(synthetic: ModuleType, tmp_path: Path) -> Path:
    """The folder of a whole evaluation with nasty answers and judges."""
    size = synthetic.Size(texts={("student", "plans-1"): NASTY}, added=f" {NASTY}")
    synthetic.build(tmp_path, size)
    return tmp_path


def written(folder: Path, **files: Any) -> str:
    """report.html of `folder`, as `write_report` makes it."""
    write_report(folder / "report.json", folder / "report.html", folder / "report.md", **files)
    return (folder / "report.html").read_text(encoding="utf-8")


def unpacked(html: str) -> dict[str, Any]:
    return {name: json.loads(gzip.decompress(base64.b64decode(text))) for name, text in BLOCK.findall(html)}


def changed(folder: Path, **parts: Any) -> dict[str, Any]:
    """The report of `folder` with other parts; it is written there as well."""
    report = {**read_json(folder / "report.json"), **parts}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return report


def bare(folder: Path) -> dict[str, Any]:
    """A report with nothing that can be missing."""
    report = read_json(folder / "report.json")
    for item in report["subjects"].values():
        item.update(markers={}, rubric=None, breaks=None, checks=None)
    empty = {"differences": [], "pairwise": {}, "judges": {}, "examples": [], "serving": []}
    none = {"markers": None, "rubric": None, "ratings": None, "panel": None, "agreement": None}
    untrained = {"checked": False, "trained": {}, "words": "Nothing here was trained."}
    gates = {"passed": None, "checks": []}
    return changed(
        folder, subjects=report["subjects"], **empty, **none, contamination=untrained, gates=gates, categories=[]
    )


# what stands in the page


def test_models_words_are_escaped_or_packed(made: Path, synthetic: ModuleType) -> None:
    html = written(made, **synthetic.inputs(made))
    assert html.count("<script") == html.count("</script>") == 1 + len(SCRIPTS) + len(BLOCK.findall(html))
    assert "<img" not in html
    assert html.count("<style>") == 1
    assert "<!--" not in html
    assert "{{ 7 * 7 }}" in html
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2066]", html)
    assert unpacked(html)["answers-0"][19]["answer"] == NASTY


def test_nothing_external_and_a_policy_that_names_every_script(made: Path, synthetic: ModuleType) -> None:
    changed(made, examples=[])
    html = written(made, **synthetic.inputs(made))
    assert not re.search(
        r"(?:src|action)=|@import|url\(|\bfetch\(|XMLHttp|innerHTML|outerHTML|insertAdjacent|eval\(", html
    )
    assert "http" not in re.sub('http-equiv="Content-Security-Policy"', "", BLOCK.sub("", html))
    policy = html.split('Content-Security-Policy" content="')[1].split('"')[0].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert f"script-src {allowed};" in policy
    assert "unsafe" not in policy


def test_the_same_files_give_the_same_bytes(made: Path, synthetic: ModuleType) -> None:
    files = synthetic.inputs(made)
    first = written(made, **files), (made / "report.md").read_bytes()
    turned = {"responses": files["responses"][::-1], "judgements": dict(reversed(files["judgements"].items()))}
    assert (written(made, **turned), (made / "report.md").read_bytes()) == first
    assert str(made) not in first[0]


def test_a_report_with_nothing_but_answers(made: Path, synthetic: ModuleType) -> None:
    report = bare(made)
    html = written(made, responses=synthetic.inputs(made)["responses"], judgements={})
    assert "no gates set" in html
    for missing in ("pairwise", "rubric", "markers", "differences", "held", "serving", "judges", "ratings", "examples"):
        assert f'id="{missing}"' not in html
        assert f'href="#{missing}"' not in html
    found = unpacked(html)
    assert len(found["index"]["answers"]["subject"]) == 90
    assert found["index"]["pairs"] == found["index"]["scores"] == {}
    assert found["answers-0"][0]["markers"] is None
    markdown = render_markdown(report)
    assert "Rubric" not in markdown
    assert "Marker" not in markdown


def test_a_report_without_any_rows(made: Path) -> None:
    html = written(made, responses=[], judgements={})
    assert unpacked(html)["index"]["answers"] == {}
    assert 'id="pairwise"' in html


@pytest.mark.parametrize("kind", ["pairwise", "rubric"])
def test_recorded_judgements_without_answers(made: Path, synthetic: ModuleType, kind: str) -> None:
    files = {"responses": [], "judgements": {kind: synthetic.inputs(made)["judgements"][kind]}}
    found = unpacked(written(made, **files))
    assert {row["answer"] for name, page in found.items() if name.startswith("answers-") for row in page} == {None}
    assert found["prompts-0"] == [None] * 12
    assert len(found["index"]["answers"]["subject"]) == 5 * 12
    table = "verdicts" if kind == "pairwise" else "scores"
    assert len(found["index"][table]["judge"]) == (5 * 12 * 2 * 2 if kind == "pairwise" else 5 * 12 * 2)


def test_an_invalid_report_says_so_first(made: Path) -> None:
    report = changed(made, valid=False, invalid_reasons=["judge <b> leaves 40 % unscored"])
    html = render_html(report, [], {})
    assert html.index("This report is not valid") < html.index("student against vanilla: win rate")
    assert "judge &lt;b&gt; leaves 40 % unscored" in html
    assert "**This report is not valid.**" in render_markdown(report)


def test_empty_figures_render(made: Path) -> None:
    report = read_json(made / "report.json")
    nothing = {"win": 0, "tie": 0, "loss": 0, "n": 0, "rate": None, "interval": None, "flip_rate": None, "flip_n": 0}
    for pair in report["pairwise"].values():
        pair.update(nothing, length_controlled=None, p=None, p_holm=None, word=None, mde=None, prompts_needed=None)
        pair.update(by_judge={}, by_category={}, axes=None, without_judge=None)
    for item in report["subjects"].values():
        for block in (item["rubric"]["recorded"], item["rubric"]["recomputed"]):
            block.update(
                overall=None,
                interval=None,
                n=0,
                by_category={},
                by_difficulty={},
                counts={"by_category": {}, "by_difficulty": {}},
            )
        item["rubric"].update(bias=None, strongest=None, weakest=None, by_judge={})
        item["rubric"]["recomputed"].update(by_component={}, intervals=None)
        item["checks"].update(rate=None, n=0, by_kind={}, by_category={})
    assert win_rates(report) is None
    assert scores_by_category(report) is None
    assert "against vanilla" in render_html(report, [], {})
    assert "– (–)" in render_markdown(report)


def test_lone_surrogates_and_odd_names_in_the_summary(made: Path) -> None:
    text = (
        (made / "report.json")
        .read_text()
        .replace("Judge judge-a", r"\ud800 \u202e judge-a")
        .replace('"software"', '"a\\ud800/b"')
    )
    (made / "report.json").write_text(text)
    html = written(made, responses=[], judgements={})
    assert "� \\u202e judge-a" in html
    assert "a�/b" in html
    assert "category=a%3F%2Fb" in html


def test_markdown_tables_are_whole_and_hold_no_model_text(made: Path) -> None:
    markdown = render_markdown(read_json(made / "report.json"))
    assert "script" not in markdown.replace("scripts/trace.py", "")
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    assert len(tables) == 6
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table
    student = next(line for line in markdown.splitlines() if line.startswith("| student against vanilla"))
    pair = read_json(made / "report.json")["pairwise"]["student_vs_vanilla"]
    assert [part.strip() for part in student.split("|")[2:6]] == [
        str(pair[name]) for name in ("win", "tie", "loss", "n")
    ]


def test_the_evaluations_of_these_tests_have_the_shape_of_real_ones(made: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = read_json(Path(__file__).resolve().parents[2] / "docs/report.schema.json")
    jsonschema.Draft202012Validator(schema).validate(read_json(made / "report.json"))


# parts


def test_cells_and_visible_signs() -> None:
    assert cell("a|b\n<c>_d_") == r"a\|b \<c\>\_d\_"
    assert visible("a\x1b[1m\x00\n\tb\x7f\u202e\u2066\ud800") == "a␛[1m␀\n\tb␡\\u202e\\u2066�"
    assert visible("caf\u00e9 \U0001f375 \u05d0\u200d") == "caf\u00e9 \U0001f375 \u05d0\u200d"
    assert visible(visible("\u202e\x1b")) == visible("\u202e\x1b")


def test_numbers_in_words() -> None:
    assert [chance(p) for p in (None, 0.0, 0.0009, 0.001, 0.04, 1.0)] == [
        "–",
        "< 0.001",
        "< 0.001",
        "0.001",
        "0.040",
        "1.000",
    ]
    assert short("abc", 3) == "abc"
    assert short("x" * 2003, 3) == "xxx… (2,000 more characters)"
    assert excerpt(" a\n\n b ") == "a b"
    assert excerpt(None) is None
    assert excerpt("x" * 1_000_000) == "x" * 140 + "…"
    assert excerpt("a" + " " * 10_000 + "b") == "a…"


def test_blocks_are_small_and_carry_no_time() -> None:
    one = pack("n", {"a": ["\ud800", "\u2028", 1]})
    data = base64.b64decode(one.text)
    assert data[4:8] == b"\0\0\0\0"
    assert json.loads(gzip.decompress(data)) == {"a": ["\ud800", "\u2028", 1]}
    blocks, starts = pack_pages("n", ["x"] * (2 * MOST_ITEMS + 1))
    assert ([block.name for block in blocks], starts) == (["n-0", "n-1", "n-2"], [0, MOST_ITEMS, 2 * MOST_ITEMS])
    long = {"answer": ["x" * MOST_CHARACTERS]}
    assert pack_pages("n", [long, long, "y"])[1] == [0, 1, 2]
    assert pack_pages("n", []) == ([], [])


def row(judge: str, order: str, verdict: str | None) -> dict[str, Any]:
    return {"id": "x", "judge": judge, "repeat": 0, "order": order, "verdict": verdict}


def test_which_verdicts_count_and_flip() -> None:
    rows = [
        row("a", "first_second", "first"), row("a", "second_first", "second"), row("b", "first_second", "first"),
        row("b", "second_first", None), row("c", "second_first", "tie"), row("d", "first_second", "tie"), row("d", "second_first", "first"),
    ]  # fmt: skip
    assert [one.counts for one in standings(rows)] == [True, True, False, False, True, True, True]
    assert [one.flips for one in standings(rows)] == [True, True, False, False, False, True, True]
    again = [row("a", "first_second", "first"), row("a", "first_second", "tie"), row("a", "second_first", "first")]
    assert standings(again) == [Standing(True, False), Standing(False, False), Standing(True, False)]
    again[1]["repeat"] = 1  # as recorded lines are numbered
    assert standings(again) == [Standing(True, False), Standing(False, False), Standing(True, False)]
    lines = [row("a", "first_second", "first"), {**row("a", "second_first", "second"), "id": "y"}]
    assert standings(lines) == [Standing(True, False), Standing(True, False)]


def test_verdicts_stand_by_the_rule_of_the_summary() -> None:
    draw = random.Random(5)
    for _ in range(200):
        rows = [
            {
                **{"first": "a", "second": "b", "set": "s", "prompt_id": "p", "sample": 0, "id": draw.choice("xy")},
                **{"judge": draw.choice("jk"), "repeat": draw.randrange(2)},
                **{"order": draw.choice(ORDERS), "verdict": draw.choice(["first", "second", "tie", None])},
            }
            for _ in range(draw.randrange(8))
        ]
        found, told = usable(rows), standings(rows)
        assert sum(one.counts for one in told) == len(found.rows)
        assert sum(one.flips for one in told) == 2 * sum(found.flips)


def test_a_control_shows_its_second_sample(made: Path, synthetic: ModuleType) -> None:
    files = synthetic.inputs(made)["judgements"]
    kept = read_parquet_rows(files["pairwise"])[0]
    write_parquet(
        made / "control.parquet",
        [{**kept, "second": kept["first"], "second_sample": 1}],
        read_schema(files["pairwise"]),
    )
    rows = read_rows(read_json(made / "report.json"), [], {"pairwise": made / "control.parquet"})
    found = index(rows)
    assert [found["answers"]["sample"][found["pairs"][side][0]] for side in ("first", "second")] == [0, 1]


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        ([], None),
        ([(None, False)], 0),
        ([(None, True), ("a", False)], 1),
        ([(None, False), ("a", True), ("b", False)], 0),
        ([(None, False), ("a", True), ("b", None)], 1),
        ([("a", None)], -1),
    ],
)
def test_which_answers_broke_character(
    made: Path, synthetic: ModuleType, found: list[tuple[str | None, bool | None]], broken: int | None
) -> None:
    rows = read_rows(read_json(made / "report.json"), synthetic.inputs(made)["responses"], {})
    first = next(iter(rows.answers.values()))
    first["breaks"] = [{"judge": judge, "broken": said, "matched": ["I am a program"]} for judge, said in found]
    assert index(rows)["answers"]["broken"][0] == broken


def test_addresses() -> None:
    assert links.answers(subject="a b&c", set=None, raw=0) == "#answers?subject=a%20b%26c&raw=0"
    assert links.pairs() == "#pairs?"
    assert links.answer(subject="\ud800", prompt="x/#?") == "#answer?subject=%3F&prompt=x%2F%23%3F"


def test_index_codes_follow_the_report(made: Path, synthetic: ModuleType) -> None:
    report = read_json(made / "report.json")
    found = index(read_rows(report, **synthetic.inputs(made)))
    assert found["names"]["subjects"] == report["order"]
    assert found["names"]["sets"] == ["plans", "everyday"]
    assert found["names"]["pairs"] == list(report["pairwise"])
    assert found["answers"]["subject"] == sorted(found["answers"]["subject"])
    for name, item in report["subjects"].items():
        code = found["names"]["subjects"].index(name)
        raws = [
            raw
            for subject, raw in zip(found["answers"]["subject"], found["answers"]["raw"], strict=True)
            if subject == code
        ]
        assert sum(raws) == pytest.approx(
            sum(score["raw"] * score["n"] for score in item["markers"].values()), abs=1e-3
        )


def test_plots_stay_on_their_axis(made: Path) -> None:
    report = read_json(made / "report.json")
    report["pairwise"]["student_vs_vanilla"].update(rate=0.98, interval=[-0.2, 1.4])
    line = next(line for line in win_rates(report).groups[0].lines if line.label == "student against vanilla")
    assert (line.marks[0].low, line.marks[0].high) == (2.0, 98.0)
    assert [text for _, text in scores_by_category(report).ticks] == ["1", "4", "7", "10"]
    assert Axis(3.0, 3.0).place(3.0) == 2.0
    for drawn in histograms(report):
        assert sum(bar.count for bar in drawn.bars) == drawn.n
        assert all(bar.x >= 0 and bar.x + bar.width <= 100.01 and 0 <= bar.height <= 100 for bar in drawn.bars)
