"""Turns responses and judgements into report.json: every number that a report shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.evaluation.contamination import Held, contamination
from stillhouse.evaluation.figures import rounded
from stillhouse.evaluation.gates import check_gates
from stillhouse.evaluation.headline import headline
from stillhouse.evaluation.report_settings import ReportSettings
from stillhouse.evaluation.rows import key
from stillhouse.evaluation.rubric_file import Rubric, load_rubric
from stillhouse.evaluation.serving import serving_groups
from stillhouse.evaluation.summary_differences import Scales, correct, differences
from stillhouse.evaluation.summary_evidence import Evidence, read_evidence
from stillhouse.evaluation.summary_examples import examples, files
from stillhouse.evaluation.summary_pairs import agreement, pair_blocks, panel, ratings
from stillhouse.evaluation.summary_subjects import subject_block
from stillhouse.evaluation.summary_unscored import invalid_reasons
from stillhouse.evaluation.worth import worth_of_judges
from stillhouse.provenance.digests import digest_json
from stillhouse.provenance.files import write_json
from stillhouse.study.markers import Markers, load_markers

FORMAT = 2


def summarise(
    responses: list[Path],
    settings: ReportSettings,
    target: Path,
    *,
    markers: Path | None = None,
    breaks: Path | None = None,
    checks: Path | None = None,
    rubric: Path | None = None,
    pairwise: Path | None = None,
    markers_file: Path | None = None,
    rubric_file: Path | None = None,
    trained: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Write report.json (docs/report.schema.json) to `target`: from responses, and the judgements that there are.

    Args:
        responses: response files, none where an evaluation has recorded judgements or verdicts alone.
        settings: what the study says of subjects, sets, rules and gates.
        markers: like `breaks`, `checks`, `rubric` and `pairwise` a file of judgements.
        markers_file: like `rubric_file` what the study names.
        trained: train.parquet of every dataset that a subject was trained on, by its name.

    Facts: numbers of subjects and answers, whether the report is valid and the gates passed. Raises `InputError` for a
    bad file, `EvaluationError` when answers or pairs have the same name.
    """
    judgements = {"markers": markers, "breaks": breaks, "checks": checks, "rubric": rubric, "pairwise": pairwise}
    evidence = read_evidence(responses, settings, judgements)
    report = build_report(
        evidence,
        settings,
        load_markers(markers_file) if markers_file else None,
        load_rubric(rubric_file) if rubric_file else None,
        trained or {},
    )
    report["files"] = files(target, responses, judgements, trained or {})
    write_json(target, report)
    return {
        "subjects": len(report["subjects"]),
        "answers": len(evidence.answers),
        "valid": report["valid"],
        "gates_passed": report["gates"]["passed"],
    }


def build_report(
    evidence: Evidence,
    settings: ReportSettings,
    markers: Markers | None,
    rubric: Rubric | None,
    trained: Mapping[str, Path],
) -> dict[str, Any]:
    """The content of report.json without `files`."""
    rules = settings.rules
    scales = Scales(
        len(markers.names) if markers else None, (float(rubric.scale[0]), float(rubric.scale[1])) if rubric else None
    )
    pairs, found = pair_blocks(evidence, rules), differences(evidence, rules, scales)
    correct(found, pairs, rules, scales)
    compared = [row for row in evidence.pairwise if row["first"] != row["second"]]
    reasons = invalid_reasons(evidence, rules)
    held = Held.of((prompt for about in evidence.sets.values() for prompt in about.prompts), evidence.answers)
    report = {
        "format": FORMAT,
        "study": settings.study,
        "evaluation": settings.evaluation,
        "valid": not reasons,
        "invalid_reasons": reasons,
        "rules": {name: getattr(rules, name) for name in ("level", "margin", "equivalence", "max_unscored")},
        "sets": _sets(evidence),
        "order": evidence.order,
        "categories": list(settings.categories) or list(evidence.category_prompts),
        "subjects": {name: subject_block(name, settings, evidence, scales.markers, rubric) for name in evidence.order},
        "markers": {"cap": markers.cap, "names": list(markers.names)} if markers else None,
        "rubric": _rubric(rubric) if rubric else None,
        "differences": found,
        "pairwise": pairs,
        "ratings": ratings(evidence, rules),
        "panel": panel(pairs),
        "agreement": agreement(evidence, rules),
        "judges": worth_of_judges(
            evidence.rubric,
            compared,
            {key(row): row["raw"] for row in evidence.markers},
            scales.width("rubric") if rubric else None,
            settings.families,
            settings.judge_families,
        ),
        "gates": check_gates(settings.gates, rules, evidence, pairs, scales),
        "serving": serving_groups(settings, evidence, scales),
        "contamination": contamination(settings.datasets, trained, settings.decontaminated, held),
        "examples": examples(evidence, settings.examples),
    }
    counts = {name: len(prompts) for name, prompts in evidence.category_prompts.items()}
    return {**report, "headline": headline(report, counts)}


def _sets(evidence: Evidence) -> dict[str, Any]:
    return {
        name: {
            "role": about.role,
            "place": number,
            "prompts": len(about.prompts),
            "digest": digest_json(sorted(about.prompts))[:16],
            "categories": about.categories,
        }
        for number, (name, about) in enumerate(evidence.sets.items())
    }


def _rubric(known: Rubric) -> dict[str, Any]:
    weights = sum(component.weight for component in known.components.values())
    return {
        "scale": list(known.scale),
        "components": {
            name: {"share": rounded(component.weight / weights), "place": number, "description": component.description}
            for number, (name, component) in enumerate(known.components.items())
        },
        "critical_failures": known.critical_failures,
    }
