"""Who may import whom, what parsing loads, and what no source file may hold."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "scripts/stillhouse"
STAGES = ("prompts", "tournament", "datasets", "training", "exports", "evaluation")
SHARED = ("study", "provenance", "llm")
MODULES = sorted(LIBRARY.rglob("*.py"))
HEAVY = (
    "torch",
    "transformers",
    "pandas",
    "pyarrow",
    "datasets",
    "llama_cpp",
    "openai",
    "trl",
    "peft",
    "scipy",
    "matplotlib",
)

# Words that several stages read are study's own: how a markers file reads is neither datasets' nor evaluation's.
PARSING = """
import sys, time
started = time.perf_counter()
from stillhouse.errors import StillhouseError
from stillhouse.provenance.code import code_digest
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.layout import ADAPTER_FILES, MODEL_FILES, TOKENIZER_FILES
from stillhouse.provenance.planning import begin_run, check_memory, end_run
from stillhouse.provenance.software import software_versions
from stillhouse.provenance.sources import source_digests
from stillhouse.study.files import link_workflow
from stillhouse.study.plan import load_plan
from stillhouse.study.shares import Part, Shares, slots_resource
print(time.perf_counter() - started)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def imports(file: Path) -> set[str]:
    """Dotted names that a file imports, in functions too; not those for type checkers alone."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative imports are not seen by the code digest"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def packages(file: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(file) if name.startswith("stillhouse.")}


@pytest.mark.parametrize("package", [*STAGES, *SHARED, "reports"])
def test_layers(package: str) -> None:
    allowed = {
        **{stage: {"errors", *SHARED, stage} for stage in STAGES},
        "study": {"errors", "study"}, "provenance": {"errors", "provenance"},
        "llm": {"errors", *SHARED}, "reports": {"errors", "reports", "provenance"},
    }[package]  # fmt: skip
    strangers = {
        f"{file.name}: {name}" for file in (LIBRARY / package).rglob("*.py") for name in packages(file) - allowed
    }
    assert strangers == set()


def test_only_study_knows_the_whole_study() -> None:
    for file in MODULES:
        if file.parent.name not in ("study",):
            assert not {"stillhouse.study.study", "stillhouse.study.plan"} & imports(file), file


def test_package_files_are_empty_and_every_folder_has_one() -> None:
    for folder in {file.parent for file in MODULES}:
        assert (folder / "__init__.py").read_text() == ""


def test_parsing_is_quick_and_loads_nothing_heavy() -> None:
    for file in ("common.smk", "provenance.smk"):
        for line in re.findall(r"^from stillhouse.*", (ROOT / "rules" / file).read_text(), re.MULTILINE):
            assert line in PARSING or file != "common.smk", f"say it in PARSING too: {line}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run([sys.executable, "-c", PARSING], capture_output=True, text=True, env=environment, check=True)
    seconds, loaded = done.stdout.splitlines()
    assert set(HEAVY) & set(loaded.split()) == set()
    assert float(seconds) < 1.5


def test_loading_a_script_loads_nothing_heavy() -> None:
    """A reused job returns within a second: what is heavy is imported in `main`."""
    heavy = {}
    for script in sorted((ROOT / "scripts").glob("*.py")):
        top = [node for node in ast.parse(script.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {a.name.split(".")[0] for n in top if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module.split(".")[0] for n in top if isinstance(n, ast.ImportFrom)}
        if found := names & set(HEAVY):
            heavy[script.name] = found
    assert heavy == {}


def tracked() -> list[Path]:
    """Source files that git knows or would take, without tests."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    kinds = (".py", ".smk", ".yaml", ".yml", ".toml", ".j2", ".md", ".json", ".jsonl", ".gbnf", ".sh", "")
    files = [ROOT / name for name in names if not name.startswith(("tests/", ".ci/", ".hypothesis/"))]
    return [file for file in files if file.suffix in kinds and file.is_file()]


def test_no_source_file_names_a_place_on_one_machine() -> None:
    place = re.compile(r"""(?<![\w./~}>-])/(?:root|home|work|tmp)/\w""")
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in tracked()
        for line in file.read_text(errors="replace").splitlines()
        if place.search(line)
    ]
    assert found == []


def test_nothing_unpickles_and_no_remote_code_is_trusted() -> None:
    pattern = re.compile(
        r"(?:import|from) (?:pickle|joblib|dill)\b|\bpickle\.|trust_remote_code\s*=\s*True|(?<![.\w])(?:eval|exec)\(|yaml\.load\(|np\.load\(.*allow_pickle=True"
    )
    for file in (ROOT / "scripts").rglob("*.py"):
        # the text that runs inside the box, in a process of its own
        text = re.sub(r'\n_RUNNER = f""".*?"""', "", file.read_text(), flags=re.DOTALL)
        assert not pattern.search(re.sub(r"#.*", "", text)), file
        for call in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, file


def test_library_files_and_functions_have_a_size() -> None:
    long = []
    for file in [*MODULES, *(ROOT / "scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60:
                long.append(f"{file.name}:{node.name}")
    assert long == []


def test_public_functions_and_classes_are_described() -> None:
    bare = []
    for file in [*MODULES, *(ROOT / "scripts").glob("*.py")]:
        tree = ast.parse(file.read_text())
        if file.name != "__init__.py" and not ast.get_docstring(tree):
            bare.append(str(file))
        for node in tree.body:
            named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if named and not node.name.startswith("_") and not ast.get_docstring(node):
                bare.append(f"{file.name}:{node.name}")
    assert bare == []
