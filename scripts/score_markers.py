"""Rule score_markers: markers in all answers of an evaluation."""

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Count distinct markers in every answer."""
    from stillhouse.evaluation.markers import score_markers

    return score_markers(inputs.get("responses"), inputs.markers, outputs.judgements)


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
