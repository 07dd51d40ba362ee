"""Published runs are replayed from recorded files, with no model and no call: tiny ones here, real ones where they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from study_runs import WORKFLOW, Built

REPLAY = WORKFLOW / "tests/studies/replay"
REAL = WORKFLOW.parent / "shared/data"
MARKERS = yaml.safe_load((WORKFLOW / "data/replay/hammerstein-markers.yaml").read_text())["markers"]
WEIGHTS = {
    "voice_authenticity": 25, "rhetorical_pattern": 20, "historical_accuracy": 20, "position_fidelity": 20,
    "character_integrity": 15,
}  # fmt: skip

pytestmark = pytest.mark.slow


def replay(folder: Path, study: str, data: Path) -> dict[str, Any]:
    """report.json of a shipped replay study over the files in `data`; nothing was asked."""
    built = Built(folder)
    done = built.snakemake("--config", f"data={data}", configfile=f"config/studies/{study}.yaml")
    assert done.returncode == 0, done.stdout[-4000:]
    assert not list(folder.glob("results/ledger/**/*.jsonl"))
    (report,) = folder.glob("results/evaluations/*/report.json")
    return json.loads(report.read_text())


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def counted(file: Path, role: str) -> list[int]:
    """Markers of each answer, counted by hand."""
    rows = [row for row in lines(file) if (row["category"] == "forgetting") == (role == "forgetting")]
    return [sum(marker in row["response"].lower() for marker in MARKERS) for row in rows]


@pytest.mark.parametrize("subject", ["student", "ablation", "vanilla"])
def test_marker_scores_of_recorded_answers(tmp_path: Path, subject: str) -> None:
    report = replay(tmp_path, "replay-hammerstein", REPLAY / "hammerstein")
    for name in ("strategic", "forgetting"):
        hits = counted(REPLAY / "hammerstein" / f"{subject}.jsonl", name)
        found = report["subjects"][subject]["markers"][name]
        assert found["n"] == len(hits)
        assert found["raw"] == pytest.approx(sum(hits) / len(hits), abs=1e-6)
        assert found["capped"] == pytest.approx(sum(min(h / 4, 1) for h in hits) / len(hits), abs=1e-6)
    assert report["sets"]["forgetting"]["role"] == "forgetting"


def by_hand(rows: list[dict[str, Any]]) -> float:
    overall = [sum(WEIGHTS[n] * part["score"] for n, part in row["components"].items()) / 100 for row in rows]
    return sum(overall) / len(overall)


def test_scores_of_recorded_judgements(tmp_path: Path) -> None:
    rows = lines(REPLAY / "foundry/judged.jsonl")
    rubric = replay(tmp_path, "replay-foundry", REPLAY / "foundry")["subjects"]["student"]["rubric"]
    scored = [row for row in rows if any(part["score"] for part in row["components"].values())]
    assert rubric["recomputed"]["overall"] == pytest.approx(by_hand(scored), abs=1e-6)
    assert (rubric["recomputed"]["n"], rubric["recomputed"]["unscored"]) == (4, 2)
    assert rubric["recomputed"]["critical_failures"] == 1
    assert rubric["recomputed"]["by_category"]["private_voice"] == pytest.approx(by_hand([rows[2]]), abs=1e-6)
    assert rubric["recorded"]["overall"] == pytest.approx(sum(row["recorded_overall"] for row in rows) / 6, abs=1e-6)
    assert rubric["recorded"]["n"] == 6
    assert rubric["recorded"]["by_difficulty"]["easy"] == pytest.approx(9.2)


def test_recorded_verdicts(tmp_path: Path) -> None:
    report = replay(tmp_path, "replay-verdicts", REPLAY / "verdicts")
    pair = report["pairwise"]["student_vs_vanilla"]
    assert (pair["win"], pair["tie"], pair["loss"], pair["n"], pair["unscored"]) == (2, 2, 5, 9, 1)
    assert pair["rate"] == pytest.approx(3 / 9, abs=1e-6)
    low, high = pair["interval"]
    assert 0 <= low < pair["rate"] < high <= 1
    assert set(pair["by_judge"]) == {"judge-one", "judge-two"}
    assert set(pair["axes"]) == {"usefulness", "voice"}


@pytest.mark.skipif(not REAL.exists(), reason="the published data is not here")
class TestPublished:
    def test_hammerstein(self, tmp_path: Path) -> None:
        report = replay(tmp_path, "replay-hammerstein", REAL / "hammerstein-v3a")
        expected = json.loads((REAL / "hammerstein-v3a/expected.json").read_text())
        for subject, sets in expected["conditions"].items():
            for name, wanted in sets.items():
                found = report["subjects"][subject]["markers"][name]
                for key, value in wanted.items():
                    assert found[key] == pytest.approx(value, abs=6e-5), (subject, name, key)
        signals = [d for d in report["differences"] if d["kind"] == "adapter signal" and d["set"] == "strategic"]
        assert [round(d["estimate"]["mean"], 3) for d in signals if d["metric"] == "raw"] == [1.975]

    def test_foundry(self, tmp_path: Path) -> None:
        report = replay(tmp_path, "replay-foundry", REAL / "foundry-qwen3-v1")
        expected = json.loads((REAL / "foundry-qwen3-v1/expected.json").read_text())
        rubric = report["subjects"]["student"]["rubric"]
        for kind in ("recorded", "recomputed"):
            assert rubric[kind]["n"] == expected["scored"]
            assert rubric[kind]["critical_failures"] == expected["critical_failures"]
            assert rubric[kind]["overall"] == pytest.approx(expected[f"overall_{kind}"], abs=6e-5)
            for group in ("category", "difficulty"):
                for name, value in expected[f"by_{group}_{kind}"].items():
                    assert rubric[kind][f"by_{group}"][name] == pytest.approx(value, abs=6e-5)

    def test_a_probe_set_that_lacks_a_guarded_category_is_refused(self, tmp_path: Path) -> None:
        built = Built(tmp_path)
        study = "config/studies/guarded-foundry.yaml"
        probe = built.snakemake("-n", "--config", f"data={REAL}/foundry-prompts/probe-prompts.jsonl", configfile=study)
        assert probe.returncode != 0
        assert "'position_discrimination'" in probe.stdout
        whole = built.snakemake("-n", "--config", f"data={REAL}/foundry-prompts/eval-prompts.jsonl", configfile=study)
        assert whole.returncode == 0, whole.stdout[-3000:]
