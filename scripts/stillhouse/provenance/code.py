"""Digest of the code behind a script: the syntax trees of its import closure and the data files that it names.

Comments, docstrings, formatting and positions do not count; logic does. The walk is our own and skips empty
fields, so that two Python versions agree (`ast.dump` differs between them).
"""

import ast
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import digest_file, digest_json
from stillhouse.provenance.parsed import Parsed

ROOT_PACKAGE = "stillhouse"
LIBRARY = Path(__file__).resolve().parents[1]
WORKFLOW = LIBRARY.parents[1]

SERVING = LIBRARY / "llm" / "serving.py"
"""What opens trained models. `llm.factory` imports it by name, where a job asks one: its closure holds the training stack,
and no other job depends on that."""

# What records, logs or shows progress never decides an artefact's bytes (a test holds this).
OUTSIDE = frozenset(
    f"stillhouse.provenance.{name}"
    for name in ("job", "logs", "progress", "records", "store", "code", "parsed", "software", "guards")
)


@dataclass(frozen=True)
class CodeDigest:
    """`digest` over everything in `files`: path below the workflow's folder -> digest of its tree or bytes."""

    digest: str
    files: dict[str, str]
    imports: frozenset[str]


@dataclass(frozen=True)
class Module:
    """What one source file contributes."""

    digest: str
    library: tuple[str, ...]
    foreign: frozenset[str]
    data: tuple[str, ...]


def _is_text(node: object) -> bool:
    """Whether a statement is a bare text: a docstring of a module, class or function, or one below a name."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def canonical_tree(node: object) -> object:
    """A syntax tree as nested lists of plain values, without docstrings, positions and empty fields."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name in ("type_comment", "kind", "type_ignores"):
                continue
            if isinstance(value, list):
                value = [item for item in value if not _is_text(item)]
            if value is None and not isinstance(node, ast.Constant) or value == []:
                continue
            fields.append([name, canonical_tree(value)])
        return [type(node).__name__, *sorted(fields, key=lambda field: field[0])]
    if isinstance(node, list):
        return [canonical_tree(item) for item in node]
    return f"{type(node).__name__}:{node!a}"  # which characters `repr` shows as they are differs between Pythons


def _module_file(name: str) -> Path | None:
    """File of a library module, None when `name` is a package or nothing."""
    file = LIBRARY.parent / (name.replace(".", "/") + ".py")
    return file if file.is_file() else None


def _imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def parse(source: bytes, name: str) -> dict[str, Any]:
    """What a source file says whatever lies beside it: the digest of its tree, imported names, texts like a data file's.

    Raises `SyntaxError` when it is not Python.
    """
    tree = ast.parse(source, filename=name)
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {
        "digest": hashlib.sha256(repr(canonical_tree(tree)).encode()).hexdigest(),
        "names": sorted(_imported(tree)),
        "data": sorted(text for text in strings if text.startswith("data/")),
    }


@lru_cache(maxsize=1)
def _parsed() -> Parsed:
    return Parsed(Path(__file__))


@lru_cache(maxsize=1024)
def read_module(file: Path) -> Module:
    """Parse one source file, or take what parsing the same bytes told before; raises `SyntaxError`."""
    source = file.read_bytes()
    key = hashlib.sha256(source).hexdigest()
    found = _parsed().get(key)
    if found is None:
        found = parse(source, str(file))
        _parsed().put(key, found)
    names = found["names"]
    library = [n for n in names if n.startswith(ROOT_PACKAGE + ".") and n not in OUTSIDE and _module_file(n)]
    foreign = frozenset(n.split(".")[0] for n in names) - {ROOT_PACKAGE}
    data = [text for text in found["data"] if (WORKFLOW / text).is_file()]
    return Module(found["digest"], tuple(library), foreign, tuple(data))


@lru_cache(maxsize=1024)
def _data_digest(path: str) -> str:
    return digest_file(WORKFLOW / path)


def asks_trained(recipe: dict[str, Any]) -> bool:
    """Whether a job of this recipe asks a model that the study trains: only those have a way to be served."""
    return any(isinstance(model, dict) and "serve" in model for model in recipe.get("models", []))


@lru_cache(maxsize=256)
def code_digest(script: Path, *, serving: bool = False) -> CodeDigest:
    """Digest of `script`, every library module that it reaches by imports, and the data files that they name.

    With `serving` also of what opens trained models (`asks_trained`).
    """
    files: dict[str, str] = {}
    foreign: set[str] = set()
    waiting = [Path(script).resolve(), *([SERVING] if serving else [])]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(WORKFLOW).as_posix()
        if name in files:
            continue
        module = read_module(file)
        files[name] = module.digest
        foreign |= module.foreign
        if not file.is_relative_to(LIBRARY / "study"):  # what a study names reaches jobs as inputs, and counts as such
            files.update({path: _data_digest(path) for path in module.data})
        waiting.extend(found for found in map(_module_file, module.library) if found)
    ordered = dict(sorted(files.items()))
    return CodeDigest(digest_json(ordered), ordered, frozenset(foreign))
