"""Rule run_checks: what prompts expect of an answer, checked by programs."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Check every answer against its prompt's expectations."""
    from stillhouse.evaluation.checks import run_checks

    return run_checks(inputs.get("responses"), outputs.judgements)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
