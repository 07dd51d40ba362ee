"""Bad input through Snakemake itself: one screen, no traceback, and the words that help."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from study_runs import SNAKEMAKE, WORKFLOW, run

pytestmark = pytest.mark.slow

DEFAULT = yaml.safe_load((WORKFLOW / "config/config.yaml").read_text(encoding="utf-8"))
SCREEN = 45

STUDY_FAULTS = {
    "unknown key": (lambda c: c["adapters"]["mixed"].update(lorra={}), "did you mean 'lora'?"),
    "missing generation": (
        lambda c: c["datasets"]["mixed"]["sources"][0].update(generation="plan"),
        "datasets.mixed.sources[0].generation: no 'plan' in generations or answers; did you mean 'plans'?",
    ),
    "missing grammar": (
        lambda c: c["generations"]["plans"].update(grammar="data/framework/answr.gbnf"),
        "did you mean 'data/framework/answer.gbnf'?",
    ),
    "name with dots": (
        lambda c: c["prompts"].update({"../x": {"file": "data/prompts/plans.jsonl"}}),
        "expected a name",
    ),
    "quantisation not made": (lambda c: c["exports"]["mixed"].update(quants=["Q8_0"]), "does not make Q4_K_M"),
}

PROMPT_FAULTS = {
    "broken line": ('{"id": "a", "prompt": "hello"}\n{"id": "b", "prompt": \n', "line 2: not JSON"),
    "empty prompt": ('{"id": "a", "prompt": "hello"}\n{"id": "b", "prompt": "  "}\n', 'line 2: "prompt" is empty'),
    "doubled id": (
        '{"id": "a", "prompt": "hello"}\n{"id": "a", "prompt": "you"}\n',
        "line 2: id 'a' was in line 1 already",
    ),
}


def fails(folder: Path, study: dict, *arguments: str) -> str:
    """Run Snakemake on `study`; it must fail on one screen without a traceback."""
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    command = [*SNAKEMAKE, *arguments, "--cores", "1", "--directory", str(folder), "--configfile", str(file)]
    done = run(command, folder)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert len(done.stdout.splitlines()) <= SCREEN
    return done.stdout


@pytest.mark.parametrize("name", STUDY_FAULTS)
def test_a_faulty_study_stops_planning(name: str, tmp_path: Path) -> None:
    spoil: Callable[[dict], None]
    spoil, words = STUDY_FAULTS[name]
    study = copy.deepcopy(DEFAULT)
    spoil(study)
    assert words in fails(tmp_path, study, "-n")


@pytest.mark.parametrize("name", PROMPT_FAULTS)
def test_a_faulty_prompt_file_names_file_and_line(name: str, tmp_path: Path) -> None:
    text, words = PROMPT_FAULTS[name]
    (tmp_path / "prompts.jsonl").write_text(text, encoding="utf-8")
    study = copy.deepcopy(DEFAULT)
    study["prompts"]["plans"]["file"] = "prompts.jsonl"
    assert f"prompts.jsonl {words}" in fails(tmp_path, study, "results/prompts/plans.parquet")
