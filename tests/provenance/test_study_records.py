"""Target `provenance` covers exactly the jobs that rule `all` runs, whatever a study is made of."""

import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import read_json

ROOT = Path(__file__).parents[2]
OWN = {"write_lineage_page", "write_crate"}
LINE = '{"id": "a", "category": "c", "difficulty": "easy", "prompt": "p", "response": "r"}\n'
TERMS = {"training": True, "commercial": True, "share_alike": False}

RECORDED = {
    "study": "recorded",
    "evaluations": {
        "e": {
            "prompts": {"p": "prompts.jsonl"},
            "subjects": {"earlier": {"recorded": "recorded.jsonl"}},
            "markers": "data/framework/markers.yaml",
        }
    },
}
HUGGING_FACE = {
    "study": "hub",
    "models": {
        "local": {"backend": "llama_cpp", "weights": "hub", "licence": "mit"},
        "unused": {"backend": "llama_cpp", "weights": "embedded"},
    },
    "prompts": {
        "p": {"file": "prompts.jsonl", "licence": "mit", "terms": TERMS},
        "unused": {"file": "prompts.jsonl"},
    },
    "generations": {"g": {"prompts": "p", "model": "local", "shards": 3}},
    "datasets": {"d": {"sources": [{"generation": "g"}]}},
    "adapters": {"a": {"base": "local", "dataset": "d"}},
    "exports": {"x": {"adapter": "a", "quants": ["Q8_0", "Q4_K_M"], "adapter_gguf": False}},
}
ANSWERED = {
    "study": "answered",
    "answers": {"own": {"file": "recorded.jsonl"}, "unused": {"file": "recorded.jsonl"}, "other": {"file": "recorded.jsonl"}},
    "datasets": {
        "d": {"sources": [{"generation": "own"}], "outputs": ["mlx"]},
        "pairs": {
            "format": "preference", "sources": [{"generation": "own"}], "pairs": {"rejected": [{"generation": "other"}]},
        },
    },
}  # fmt: skip
SERVED = {
    **HUGGING_FACE,
    "study": "served",
    "models": {"local": {"backend": "llama_cpp", "weights": "embedded"}, "judge": {"backend": "llama_cpp", "weights": "embedded"}},
    "exports": {"x": {"adapter": "a", "quants": [], "adapter_gguf": True}},
    "evaluations": {
        "e": {
            "prompts": {"held": "prompts.jsonl"},
            "subjects": {"merged": {"export": "x", "serve": "merged"}, "light": {"export": "x", "serve": "gguf-adapter"}},
            "pairwise": {"pairs": [["merged", "light"]], "judges": ["judge"]},
        }
    },
}  # fmt: skip


TRAINED = {
    **HUGGING_FACE,
    "study": "trained",
    "models": {
        **HUGGING_FACE["models"],
        "student": {"backend": "trained", "adapter": "a"},
        "light": {"backend": "trained", "export": "x", "serve": "gguf-adapter"},
    },
    "answers": {"own": {"file": "recorded.jsonl", "licence": "mit"}},
    "generations": {"g": {"prompts": "p", "model": "student"}, "h": {"prompts": "p", "model": "light", "shards": 2}},
    "datasets": {
        "d": {"sources": [{"generation": "own"}]},
        "pairs": {
            "format": "preference",
            "sources": [{"generation": "own"}],
            "pairs": {"rejected": [{"generation": "g"}]},
        },
    },
    "adapters": {
        "a": {"base": "local", "dataset": "d"},
        "b": {"base": "local", "dataset": "pairs", "objective": "dpo"},
    },
    "exports": {"x": {"adapter": "a", "quants": [], "adapter_gguf": True}},
}


STUDIES = {
    "default": None,
    "recorded": RECORDED,
    "answered": ANSWERED,
    "hub": HUGGING_FACE,
    "served": SERVED,
    "trained": TRAINED,
}

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]


def planned(folder: Path, target: str, study: str | None) -> dict[str, str]:
    """Every output of the jobs behind `target`, and its rule."""
    command = [*SNAKEMAKE, target, "--summary", "--directory", str(folder)]
    command += ["--configfile", study] if study else []
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {row[0]: row[2] for row in rows[1:]}


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_the_same_jobs_and_the_two_writers(study: dict | None, tmp_path: Path) -> None:
    for name, text in {"prompts.jsonl": LINE, "recorded.jsonl": LINE, "hub/config.json": "{}"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "hub/model.safetensors").write_bytes(b"")
    if study:
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    everything, provenance = (planned(tmp_path, target, study and "study.yaml") for target in ("all", "provenance"))
    assert len(everything) > 5
    assert {path: rule for path, rule in provenance.items() if rule not in OWN} == everything
    assert set(provenance.values()) >= OWN


@pytest.mark.slow
def test_a_real_run_writes_both_and_the_next_one_nothing(tmp_path: Path) -> None:
    for name in ("prompts.jsonl", "recorded.jsonl"):
        (tmp_path / name).write_text(LINE)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(RECORDED))
    command = [*SNAKEMAKE, "provenance", "--cores", "2", "--directory", str(tmp_path), "--configfile", "study.yaml"]
    first, second = (subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False) for _ in "ab")
    assert first.returncode == 0, first.stderr[-3000:]
    assert "Nothing to be done" in second.stderr + second.stdout
    records = [file for file in (tmp_path / "results").rglob("*.record.json") if ".store" not in file.parts]
    assert len(records) == 9
    validator = jsonschema.Draft202012Validator(read_json(ROOT / "docs/record.schema.json"))
    assert [error.message for file in records for error in validator.iter_errors(read_json(file))] == []
    graph = {each["@id"]: each for each in read_json(tmp_path / "results/provenance/ro-crate-metadata.json")["@graph"]}
    assert sum(each["@type"] == "CreateAction" for each in graph.values()) == 7 + 1
    for identifier in ("lineage.html", "workflow/Snakefile", "workflow/LICENSE", "workflow/rules/provenance.smk"):
        file = tmp_path / "results/provenance" / identifier
        assert (graph[identifier]["sha256"], graph[identifier]["contentSize"]) == (
            digest_file(file), str(file.stat().st_size)
        )  # fmt: skip
