"""docs/study.md, config/schema.json and the README's study hold what the typed study holds."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from stillhouse.study import docs
from stillhouse.study.base import Section
from stillhouse.study.files import link_workflow
from stillhouse.study.plan import load_plan
from stillhouse.study.study import SECTIONS, Study, load_study

ROOT = Path(__file__).resolve().parents[2]
RENDER = ROOT / "scripts/render_docs.py"
PAGE = (ROOT / "docs/study.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
MARKDOWN = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(text: str) -> list[dict]:
    """The YAML documents of fenced blocks."""
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def joined(parts: list[dict]) -> dict:
    """One study out of snippets that hold different sections."""
    study: dict = {}
    for part in parts:
        assert not set(part) & set(study), f"{sorted(set(part) & set(study))} stands in two snippets"
        study.update(part)
    return study


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(docs.schema())
    return jsonschema.Draft202012Validator(docs.schema())


@pytest.fixture
def default_study() -> dict:
    return yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def subclasses(section: type[Section]) -> set[type[Section]]:
    """All sections that a study can reach, found without the walk of `docs`: by the schema's definitions."""
    names = set(Study.model_json_schema()["$defs"]) | {"Study"}
    found, waiting = set(), [section]
    while waiting:
        for inner in waiting.pop().__subclasses__():
            waiting.append(inner)
            if inner.__name__ in names and inner.__module__.startswith("stillhouse.study."):
                found.add(inner)
    assert {inner.__name__ for inner in found} == names
    return found


# drift


def test_files_equal_the_typed_study() -> None:
    done = subprocess.run([sys.executable, RENDER, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_check_names_the_drifted_file_and_the_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import render_docs

    stale = tmp_path / "docs/study.md"
    stale.parent.mkdir()
    stale.write_text("old")
    monkeypatch.setattr(render_docs, "ROOT", tmp_path)
    monkeypatch.setattr(render_docs, "rendered", lambda: {stale: "new"})
    monkeypatch.setattr(sys, "argv", ["render_docs.py", "--check"])
    assert render_docs.main() == 1
    told = capsys.readouterr().err
    assert "docs/study.md" in told
    assert "make docs" in told
    assert stale.read_text() == "old"
    monkeypatch.setattr(sys, "argv", ["render_docs.py"])
    assert render_docs.main() == 0
    assert stale.read_text() == "new"


def test_no_two_renderings_differ() -> None:
    assert docs.schema() == docs.schema()
    template = ROOT / "docs/templates/study.md.j2"
    assert docs.study_page(template) == docs.study_page(template)


# completeness


def test_every_class_has_a_table_and_every_key_a_row() -> None:
    tables = {docs.heading(place): place for place in docs.places()}
    assert {place.section for place in tables.values()} == subclasses(Section)
    assert len(tables) == len(docs.places()), "two tables have one heading"
    for heading, place in tables.items():
        table = PAGE.split(f"\n### {heading}\n")[1].split("\n#")[0]
        rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
        assert rows == list(place.section.model_fields), heading


def test_every_key_and_every_class_says_what_it_does() -> None:
    for place in docs.places():
        assert (place.section.__doc__ or "").strip(), place.section
        for name, field in place.section.model_fields.items():
            assert (field.description or "").strip(), f"{place.section.__name__}.{name} has no description"


def test_every_top_level_section_has_prose_and_an_example() -> None:
    example = joined(blocks(PAGE))
    for name in Study.model_fields:
        if name != "version":
            assert name in example, f"no example of {name}"
    for name in SECTIONS:
        assert f"\n## {name}\n" in PAGE


def test_types_and_defaults_in_words() -> None:
    assert "| `share` | number, above 0, below 1, or `null` | `null` |" in PAGE
    assert "| `sampling` | [sampling](#sampling-shared) | `{temperature: 0.7, top_p: 0.95}` |" in PAGE
    assert "| `role` | `target` or `forgetting` | `target` |" in PAGE
    assert "| `pairs` | list of `[name, name]` | `[]` |" in PAGE
    assert "| `format` | `sft` or `reasoning` or `preference` or `critic` | `sft` |" in PAGE


# examples


def test_examples_of_the_page_make_one_valid_study(validator: jsonschema.Draft202012Validator) -> None:
    example = joined(blocks(PAGE))
    load_plan(example, ROOT, ROOT)
    assert not list(validator.iter_errors(example))


def test_study_of_the_readme_is_valid(tmp_path: Path, validator: jsonschema.Draft202012Validator) -> None:
    studies = [block for block in blocks(README) if "study" in block]
    assert studies, "the README shows no study"
    for study in studies:
        assert not list(validator.iter_errors(study))
        for file in ("prompts.jsonl", "everyday.jsonl", "held_out.jsonl", "held_out_everyday.jsonl"):
            (tmp_path / file).write_text('{"prompt": "Hello?"}\n')
        (tmp_path / "system.md").write_text("Be brief.")
        (tmp_path / "markers.yaml").write_text("markers: [keystone]\n")
        link_workflow(tmp_path, ROOT)
        load_plan(study, tmp_path, ROOT)


def test_every_yaml_block_of_the_docs_is_yaml() -> None:
    for file in MARKDOWN:
        assert all(isinstance(block, dict) for block in blocks(file.read_text(encoding="utf-8"))), file


# schema


def test_schema_accepts_the_default_study(validator: jsonschema.Draft202012Validator, default_study: dict) -> None:
    assert [error.message for error in validator.iter_errors(default_study)] == []


def test_schema_accepts_an_empty_section_as_the_study_does(validator: jsonschema.Draft202012Validator) -> None:
    study = {"study": "empty", "adapters": None}
    load_study(study)
    assert not list(validator.iter_errors(study))


def _set(study: dict, path: str, value: object) -> dict:
    changed = copy.deepcopy(study)
    *steps, last = path.split(".")
    here = changed
    for step in steps:
        here = here[step]
    here[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("adapter", {}),
        ("study", "../up"),
        ("models.../x", {"backend": "llama_cpp", "weights": "embedded"}),
        ("models.smollm2.backend", "telnet"),
        ("generations.plans.shards", 0),
        ("generations.plans.sampling.temprature", 0.5),
        ("datasets.plain.sources", []),
        ("datasets.plain.sources", [{"generation": "plans", "filters": [{"min_words": 8, "max_words": 9}]}]),
        ("evaluations.framework.prompts.plans", 7),
        ("evaluations.framework.subjects.vanilla.adapter", "mixed"),
        ("evaluations.framework.gates.leakage", 1.5),
        ("exports.mixed.quants", ["Q1"]),
    ],
)
def test_schema_refuses_what_the_study_refuses(
    validator: jsonschema.Draft202012Validator, default_study: dict, path: str, value: object
) -> None:
    if path == "models.../x":
        study = copy.deepcopy(default_study)
        study["models"]["../x"] = value
    else:
        study = _set(default_study, path, value)
    with pytest.raises(Exception, match="the study has"):
        load_study(study)
    assert list(validator.iter_errors(study))


# links


@pytest.mark.parametrize("file", MARKDOWN, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        page = (file.parent / name).resolve() if name else file
        assert page.exists(), f"{file.name}: {target}"
        if fragment and page.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in {docs.anchor(heading) for heading in headings}, f"{file.name}: {target}"
