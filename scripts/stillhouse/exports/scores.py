"""What an evaluation's report says of an adapter, for its card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.provenance.files import read_json

MARKERS = "capped marker score"


def read_scores(report: Path, adapter: str) -> dict[str, Any]:
    """Marker scores of all subjects by prompt set, gates and warnings out of an evaluation's report.json.

    Subjects that answer by `adapter` are told apart by `ours`.
    """
    data = read_json(report)
    names = data.get("order") or sorted(data["subjects"])
    subjects = [{"name": name, "ours": data["subjects"][name].get("adapter") == adapter} for name in names]
    sets = sorted(data["sets"], key=lambda name: (data["sets"][name]["place"], name))
    for subject in subjects:
        markers = data["subjects"][subject["name"]].get("markers") or {}
        subject["scores"] = [_score(markers.get(name)) for name in sets]
    return {
        "name": data["evaluation"],
        "sets": [{"name": name, "role": data["sets"][name]["role"]} for name in sets],
        "subjects": subjects,
        "marked": any(score for subject in subjects for score in subject["scores"]),
        "gates": [_gate(check) for check in (data.get("gates") or {}).get("checks", [])],
        "warnings": (data.get("headline") or {}).get("warnings", []),
    }


def _score(markers: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not markers or markers.get("capped") is None:
        return None
    return {"value": markers["capped"], "interval": markers.get("capped_interval"), "n": markers["n"]}


def _gate(check: Mapping[str, Any]) -> dict[str, Any]:
    return {key: check.get(key) for key in ("gate", "subject", "observed", "direction", "bound", "passed")}


def model_index(export: str, scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our subjects' scores in the form of the hub's `model-index`; empty where there is none."""
    results = []
    for one in scores:
        for place, prompts in enumerate(one["sets"]):
            metrics = [
                {"type": "markers", "name": f"{MARKERS}, {subject['name']}", "value": subject["scores"][place]["value"]}
                for subject in one["subjects"]
                if subject["ours"] and subject["scores"][place]
            ]
            if metrics:
                name = f"{one['name']}: {prompts['name']}"
                results.append(
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"type": prompts["name"], "name": name},
                        "metrics": metrics,
                    }
                )
    return [{"name": export, "results": results}] if results else []
