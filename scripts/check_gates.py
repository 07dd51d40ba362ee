"""Rule check_gates: the gates of an evaluation; fails when one does not pass."""

from stillhouse.provenance.job import Facts, Files, Params, run_job
from stillhouse.provenance.texts import UNCOUNTED


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Write the verdicts and print them as a table; raise where a gate failed."""
    from stillhouse.evaluation.gate_verdicts import gate_verdicts, print_gates, refuse_failed
    from stillhouse.provenance.files import read_json, write_json

    verdicts = gate_verdicts([read_json(path) for path in inputs.get("summary")])
    print_gates(verdicts)
    write_json(outputs.gates, verdicts)
    refuse_failed(verdicts)
    return {"passed": verdicts["passed"]}


def without_page(inputs: Files, recipe: Facts) -> dict[str, str]:
    """The page must be there before the run fails; what it looks like decides nothing."""
    return {"html": UNCOUNTED}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=without_page)
