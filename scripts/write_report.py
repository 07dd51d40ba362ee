"""Rule write_report: the report of an evaluation as HTML and markdown."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Render report.json; nothing is measured here."""
    from stillhouse.reports.write import write_report

    write_report(inputs.summary, outputs.html, outputs.markdown)
    return {}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
