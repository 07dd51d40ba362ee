"""Every key of the study is described, and is read by something besides its own section."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from stillhouse.study.base import Section
from stillhouse.study.study import Study

ROOT = Path(__file__).parents[2]
FILES = (
    "base",
    "excludes",
    "guards",
    "models",
    "prompt_sets",
    "answers",
    "generations",
    "external_check",
    "quality",
    "filters",
    "datasets",
    "adapters",
    "gates",
    "evaluations",
)


def sections() -> list[type[Section]]:
    modules = [importlib.import_module(f"stillhouse.study.{name}") for name in FILES]
    found = {c for m in modules for _, c in inspect.getmembers(m, inspect.isclass) if issubclass(c, Section)}
    return sorted(found - {Section} | {Study}, key=lambda c: c.__name__)


KEYS = [(section, key) for section in sections() for key in section.model_fields]
IDS = [f"{section.__name__}.{key}" for section, key in KEYS]


def read_names() -> dict[str, set[Path]]:
    """Attributes and texts that the code outside the sections uses, with the files that do."""
    found: dict[str, set[Path]] = {}
    own = {ROOT / f"scripts/stillhouse/study/{name}.py" for name in (*FILES, "docs")}
    for file in [*(ROOT / "scripts").rglob("*.py"), *(ROOT / "rules").glob("*.smk")]:
        if file in own:
            continue
        if file.suffix == ".smk":
            for word in file.read_text().replace(".", " ").replace("[", " ").split():
                found.setdefault(word.strip('",()]'), set()).add(file)
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            name = (
                node.attr if isinstance(node, ast.Attribute) else node.value if isinstance(node, ast.Constant) else None
            )
            if isinstance(name, str):
                found.setdefault(name, set()).add(file)
    return found


READ = read_names()


@pytest.mark.parametrize(("section", "key"), KEYS, ids=IDS)
def test_a_key_is_described(section: type[Section], key: str) -> None:
    description = section.model_fields[key].description
    assert description
    assert len(description) >= 4


@pytest.mark.parametrize(("section", "key"), KEYS, ids=IDS)
def test_a_key_is_read(section: type[Section], key: str) -> None:
    if key == "version":
        return
    assert READ.get(key), f"{section.__name__}.{key} is read nowhere"


def test_no_section_can_carry_a_key_of_an_api() -> None:
    assert not [
        name
        for name in IDS
        if "api_key" in name and not name.endswith("api_key_env") or "token" in name.replace("tokens", "")
    ]
