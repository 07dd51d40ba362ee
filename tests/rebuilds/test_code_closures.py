"""A change of logic reruns exactly the rules whose imports reach it, for every module of the library."""

import json
import re
import subprocess
import sys
from modulefinder import ModuleFinder
from pathlib import Path

import pytest
from house import House, copy_workflow

from stillhouse.provenance.code import OUTSIDE

WORKFLOW = Path(__file__).parents[2]
SCRIPTS = WORKFLOW / "scripts"
MODULES = sorted(file for file in (SCRIPTS / "stillhouse").rglob("*.py") if file.read_text().strip())
RULE_SCRIPTS = sorted(
    {
        name
        for file in (WORKFLOW / "rules").glob("*.smk")
        for name in re.findall(r'"\.\./scripts/(\w+\.py)"', file.read_text())
    }
)

# Changes one module after the other and prints which scripts got another digest.
CHANGER = """
import json, sys
from pathlib import Path
from stillhouse.provenance import code
scripts, modules = json.loads(sys.argv[1]), json.loads(sys.argv[2])
folder = Path(code.__file__).parents[2]
parse, parsed = code.read_module.__wrapped__, {}
def read(file):  # 200 modules are changed in turn: a file with the same bytes need not be parsed again
    key = (file, file.read_bytes())
    if key not in parsed:
        parsed[key] = parse(file)
    return parsed[key]
code.read_module = read
def digests():
    for cache in (code.code_digest, code._data_digest):
        cache.cache_clear()
    return {name: code.code_digest(folder / name).digest for name in scripts}
before = digests()
for module in modules:
    text = (folder / module).read_text()
    (folder / module).write_text(text + "\\nif __debug__:\\n    _changed = len(__name__)\\n")
    after = digests()
    (folder / module).write_text(text)
    print(json.dumps([module, [name for name in scripts if before[name] != after[name]]]))
"""


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(SCRIPTS).with_suffix("").parts)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Module file -> scripts whose digest a change of its logic changes, by the library itself."""
    folder = tmp_path_factory.mktemp("closures") / "workflow"
    copy_workflow(folder)
    files = [file.relative_to(SCRIPTS).as_posix() for file in MODULES]
    command = [sys.executable, "-c", CHANGER, json.dumps(RULE_SCRIPTS), json.dumps(files)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(folder / "scripts"), "PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {module: set(scripts) for module, scripts in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """Script -> modules that it reaches, by the standard library's own finder over byte code."""
    found = {}
    for script in RULE_SCRIPTS:
        # only our own folder is searched; what records and shows progress decides no byte
        finder = ModuleFinder(path=[str(SCRIPTS)], excludes=sorted(OUTSIDE))
        finder.run_script(str(SCRIPTS / script))
        found[script] = {name for name in finder.modules if name.startswith("stillhouse.")}
    return found


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_changed_logic_reaches_exactly_the_scripts_that_import_it(
    module: Path, changed: dict[str, set[str]], imported: dict[str, set[str]]
) -> None:
    expected = {script for script, modules in imported.items() if name_of(module) in modules}
    assert changed[module.relative_to(SCRIPTS).as_posix()] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "directly"),
    [
        ("stillhouse/reports/view.py", {"write_report", "report_generation"}),
        ("stillhouse/training/plot.py", {"train_adapter"}),
        ("stillhouse/tournament/ranking.py", {"answer_shard"}),
        ("stillhouse/tournament/tally.py", {"report_generation"}),
        ("stillhouse/exports/merge.py", {"merge_adapter"}),
    ],
)
def test_the_plan_names_the_changed_module(house: House, module: str, directly: set[str]) -> None:
    file = house.workflow / "scripts" / module
    file.write_text(file.read_text() + "\nif __debug__:\n    _changed = len(__name__)\n")
    planned = house.planned()
    assert directly <= planned
    told = house.script("why.py", "--configfile", "study.yaml").stdout
    found, job = set(), ""
    for line in told.splitlines():
        if not line.startswith(" "):
            job = line
        elif f"code scripts/{module}: changed" in line:
            found.add(job.rsplit("(", 1)[-1].rstrip(")"))
    assert found == directly, told
    assert all(line.count("code scripts/") == 0 or module in line for line in told.splitlines()), told


@pytest.mark.slow
def test_changed_logic_runs_its_rule_and_no_other_where_the_bytes_stay(house: House) -> None:
    file = house.workflow / "scripts/stillhouse/training/plot.py"
    file.write_text(file.read_text() + "\nif __debug__:\n    _changed = len(__name__)\n")
    run = house.run()
    assert run.ran == {"train_adapter mixed", "train_adapter plain"}
    assert run.calls == 0
