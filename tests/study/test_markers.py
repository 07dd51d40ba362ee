"""Marker files: what matches, what is refused, and the published scores."""

import json
from pathlib import Path
from statistics import mean

import pytest

from stillhouse.errors import InputError
from stillhouse.study.markers import load_markers

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "hammerstein-v3a"


def write(folder: Path, text: str) -> Path:
    path = folder / "markers.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_texts_and_patterns_each_once_in_file_order(tmp_path):
    markers = load_markers(write(tmp_path, "markers: [Trade-Off, {pattern: 'risks?:'}, scope]"))
    assert markers.cap == 4
    assert markers.hits("RISK: one. Risks: two. Out of SCOPE, scope.") == ["risks?:", "scope"]
    assert markers.hits("a trade-off") == ["Trade-Off"]
    assert markers.hits("") == []


def test_pattern_ignores_case_and_may_use_lines(tmp_path):
    markers = load_markers(write(tmp_path, "cap: 2\nmarkers: [{pattern: '(?m)^verdict: (stop|hold)'}]"))
    assert markers.cap == 2
    assert markers.hits("So.\nVerdict: Stop") and not markers.hits("The verdict: stop")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("markers: [one, {pattern: '(('}]", "marker 2: bad regex"),
        ("markers: [{pattern: 'x*'}]", "marker 1: regex 'x*' matches the empty text"),
        ("markers: [one, 404]", "marker 2: expected a text"),
        ("markers: [one, '  ']", "marker 2: expected a text"),
        ("markers: [one, two, {patern: x}]", "marker 3: expected a text"),
        ("markers: [Scope, scope]", "marker 2: 'scope' stands there already as marker 1"),
        ("markers: []", "markers: "),
        ("cap: 0\nmarkers: [one]", "cap: "),
        ("markers: [one]\nmarker: [two]", "marker: "),
        ("just words", "expected {cap: 4, markers: [...]}"),
        ("", "expected {cap: 4, markers: [...]}"),
    ],
)
def test_faults_name_file_and_marker(tmp_path, text, told):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        load_markers(path)
    assert str(error.value).startswith(str(path)) and told in str(error.value)


def test_broken_yaml_names_the_line(tmp_path):
    path = write(tmp_path, "cap: 4\nmarkers:\n  - one\n - two\n")
    with pytest.raises(InputError, match=r"markers\.yaml:4: not YAML"):
        load_markers(path)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is no such markers file"):
        load_markers(tmp_path / "none.yaml")


def test_shipped_markers_load():
    shipped = Path(__file__).parents[2] / "data" / "framework" / "markers.yaml"
    markers = load_markers(shipped)
    assert len(markers.names) >= markers.cap


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published answers of shared/data are not here")
def test_published_scores(tmp_path):
    expected = json.loads((PUBLISHED / "expected.json").read_text())
    wanted = {"cap": expected["cap"], "markers": expected["markers"]}
    markers = load_markers(write(tmp_path, json.dumps(wanted)))
    for condition, sets in expected["conditions"].items():
        rows = [json.loads(line) for line in (PUBLISHED / f"{condition}.jsonl").read_text().splitlines()]
        for name, scores in sets.items():
            own = [row for row in rows if (row["category"] == "forgetting") == (name == "forgetting")]
            hits = [len(markers.hits(row["response"])) for row in own]
            assert len(hits) == scores["n"]
            assert mean(hits) == pytest.approx(scores["raw"], abs=5e-5)
            assert mean(min(hit / markers.cap, 1.0) for hit in hits) == pytest.approx(scores["capped"], abs=5e-5)
