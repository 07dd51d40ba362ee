"""Rule report_generation: what a generation's rows say about it, as JSON, HTML and markdown."""

from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Measure the rows and the external check, and show what was measured."""
    from stillhouse.provenance.files import write_json
    from stillhouse.reports.generation_page import write_generation_report
    from stillhouse.tournament.summary import SummarySettings, summarise_generation

    report = summarise_generation(inputs.answers, inputs.failures, SummarySettings.model_validate(params.recipe))
    report["check"] = _check(inputs.get("check"))
    report["files"] = [path.name for name in ("answers", "failures", "check") for path in inputs.get(name)]
    write_json(outputs.summary, report)
    write_generation_report(outputs.summary, outputs.html, outputs.markdown)
    return {"prompts": report["all"]["prompts"], "answered": report["all"]["answered"]}


def _check(files: list[Path]) -> Facts | None:
    """What the verdicts of the external check say; None where the study asks for none."""
    if not files:
        return None
    from stillhouse.evaluation.draft_check import summarise_check
    from stillhouse.provenance.files import read_parquet_rows

    return summarise_check(read_parquet_rows(files[0]))


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
