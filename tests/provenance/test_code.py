"""The code digest counts logic, all of it in reach, and nothing else; two Python versions agree on it."""

import ast
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stillhouse.provenance import code

ROOT = Path(__file__).parents[2]

BEFORE = '''
"""Module text."""
import math

LIMIT = 3
"""Text below a name."""


class Thing:
    """Class text."""

    size: int = 1

    def grow(self, by=1):
        """Function text."""
        # a comment
        return self.size + by * math.pi if by else None
'''
SAME = {
    "comments": BEFORE.replace("# a comment", "# another one\n        # and more"),
    "docstrings": BEFORE.replace("text", "words"),
    "no docstrings": BEFORE.replace('"""Function text."""', "")
    .replace('"""Module text."""', "")
    .replace('"""Class text."""', ""),
    "text below a name": BEFORE.replace('"""Text below a name."""', ""),
    "formatting": BEFORE.replace(
        "self.size + by * math.pi", "(\n            self.size\n            + (by * math.pi)\n        )"
    ),
    "quotes": BEFORE.replace('"""Class text."""', "'Class text.'"),
    "line ends": BEFORE.replace("\n", "\r\n"),
}
OTHER = {
    "constant": BEFORE.replace("LIMIT = 3", "LIMIT = 4"),
    "type of a constant": BEFORE.replace("LIMIT = 3", "LIMIT = 3.0"),
    "text constant": BEFORE.replace("LIMIT = 3", 'LIMIT = "3"'),
    "operator": BEFORE.replace("self.size +", "self.size -"),
    "default": BEFORE.replace("by=1", "by=True"),
    "name": BEFORE.replace("LIMIT", "MOST"),
    "annotation": BEFORE.replace("size: int", "size: float"),
    "none": BEFORE.replace("else None", "else ..."),
    "order": BEFORE.replace("self.size + by * math.pi", "by * math.pi + self.size"),
    "star": BEFORE.replace("by=1", "*, by=1"),
    "import": BEFORE.replace("import math", "import cmath as math"),
    "decorator": BEFORE.replace("    def grow", "    @property\n    def grow"),
    "async": BEFORE.replace("def grow", "async def grow"),
}


def tree(source: str) -> str:
    return repr(code.canonical_tree(ast.parse(source)))


@pytest.mark.parametrize("change", SAME)
def test_what_does_not_run_does_not_count(change: str) -> None:
    assert SAME[change] != BEFORE
    assert tree(SAME[change]) == tree(BEFORE)


@pytest.mark.parametrize("change", OTHER)
def test_logic_counts(change: str) -> None:
    assert OTHER[change] != BEFORE
    assert tree(OTHER[change]) != tree(BEFORE)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workflow folder with a library of its own that the digests are taken of."""
    files = {
        "scripts/stillhouse/__init__.py": "",
        "scripts/stillhouse/near/__init__.py": "",
        "scripts/stillhouse/near/a.py": "from stillhouse.near.b import f\nimport torch.nn\n",
        "scripts/stillhouse/near/b.py": 'import numpy as np\nf = 1\nFILE = "data/table.csv"\nNO = "data/none.csv"\n',
        "scripts/stillhouse/near/inside.py": "g = 1\n",
        "scripts/stillhouse/near/stranger.py": "s = 1\n",
        "scripts/stillhouse/near/package.py": "from stillhouse.near import circle\n",
        "scripts/stillhouse/near/circle.py": "import stillhouse.near.package\n",
        "scripts/stillhouse/provenance/__init__.py": "",
        "scripts/stillhouse/provenance/logs.py": "import rich\n",
        "scripts/job.py": "from stillhouse.near.a import f\nimport stillhouse.provenance.logs\n"
        "def main():\n    from stillhouse.near.inside import g\n    from stillhouse.near import package\n    return f, g\n",
        "data/table.csv": "1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code, "WORKFLOW", tmp_path)
    monkeypatch.setattr(code, "LIBRARY", tmp_path / "scripts/stillhouse")
    return tmp_path


def digest(house: Path) -> code.CodeDigest:
    for cached in (code.read_module, code._data_digest, code.code_digest):
        cached.cache_clear()
    return code.code_digest(house / "scripts/job.py")


def test_the_closure_takes_imports_of_imports_and_in_functions_and_data_files(house: Path) -> None:
    found = digest(house)
    near = [f"scripts/stillhouse/near/{name}.py" for name in ("a", "b", "circle", "inside", "package")]
    assert sorted(found.files) == sorted(["scripts/job.py", "data/table.csv", *near])
    assert found.imports == {"torch", "numpy"}


@pytest.mark.parametrize(
    ("file", "text", "counts"),
    [
        ("scripts/job.py", "\nx = 1\n", True),
        ("scripts/stillhouse/near/a.py", "\nx = 1\n", True),
        ("scripts/stillhouse/near/b.py", "\nx = 1\n", True),
        ("scripts/stillhouse/near/inside.py", "\nx = 1\n", True),
        ("scripts/stillhouse/near/circle.py", "\nx = 1\n", True),
        ("data/table.csv", "2\n", True),
        ("scripts/stillhouse/near/b.py", "\n# a comment\n", False),
        ("scripts/stillhouse/near/stranger.py", "\nx = 1\n", False),
        ("scripts/stillhouse/provenance/logs.py", "\nx = 1\n", False),
    ],
)
def test_exactly_what_is_in_reach_counts(house: Path, file: str, text: str, counts: bool) -> None:
    before = digest(house).digest
    (house / file).write_text((house / file).read_text() + text)
    assert (digest(house).digest != before) is counts
    os.utime(house / file)
    assert (digest(house).digest != before) is counts


def test_a_default_of_a_study_key_is_an_input_and_no_code(house: Path) -> None:
    (house / "scripts/stillhouse/study").mkdir()
    (house / "scripts/stillhouse/study/keys.py").write_text('DEFAULT = "data/default.j2"\n')
    (house / "data/default.j2").write_text("Score it.")
    (house / "scripts/job.py").write_text("import stillhouse.study.keys\n")
    before = digest(house)
    assert "scripts/stillhouse/study/keys.py" in before.files and "data/default.j2" not in before.files
    (house / "data/default.j2").write_text("Give it a score.")
    assert digest(house) == before


def test_a_copy_elsewhere_has_the_same_digest(house: Path, tmp_path_factory, monkeypatch) -> None:
    before = digest(house)
    other = tmp_path_factory.mktemp("elsewhere") / "house"
    shutil.copytree(house, other)
    monkeypatch.setattr(code, "WORKFLOW", other)
    monkeypatch.setattr(code, "LIBRARY", other / "scripts/stillhouse")
    assert digest(other) == before


def test_what_stands_outside_exists_and_every_script_has_a_digest() -> None:
    for name in code.OUTSIDE:
        assert (ROOT / "scripts" / f"{name.replace('.', '/')}.py").is_file()
    for cached in (code.read_module, code._data_digest, code.code_digest):
        cached.cache_clear()
    for script in sorted((ROOT / "scripts").glob("*.py")):
        found = code.code_digest(script)
        assert f"scripts/{script.name}" in found.files
        assert not {f"scripts/{name.replace('.', '/')}.py" for name in code.OUTSIDE} & set(found.files)


OTHER_PYTHON = """
import ast, hashlib, json, sys
namespace = {"ast": ast}
source = ast.parse(open(sys.argv[1]).read())
wanted = [n for n in source.body if getattr(n, "name", "") in ("_is_text", "canonical_tree")]
exec(compile(ast.Module(wanted, []), "code", "exec"), namespace)
print(json.dumps({f: hashlib.sha256(repr(namespace["canonical_tree"](ast.parse(open(f, "rb").read()))).encode()).hexdigest() for f in sys.argv[2:]}))
"""


def pythons() -> list[Path]:
    return [
        p for p in sorted(Path.home().glob(".pyenv/versions/3.1*/bin/python")) if int(p.parts[-3].split(".")[1]) >= 11
    ]


def test_other_python_versions_agree() -> None:
    others = [python for python in pythons() if not python.parts[-3].startswith("3.11")]
    if not others:
        pytest.skip("no other Python version is installed")
    files = [str(file) for file in sorted((ROOT / "scripts").rglob("*.py"))]
    here = {file: code.read_module(Path(file)).digest for file in files}
    for python in others:
        command = [str(python), "-I", "-c", OTHER_PYTHON, code.__file__, *files]
        assert json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == here, python
