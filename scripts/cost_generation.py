"""Rule cost_generation: calls, tokens and USD of a generation, out of the ledger at the study's prices."""

import logging

from stillhouse.provenance.job import Facts, Files, Params, run_job

logger = logging.getLogger("stillhouse.cost")


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Look up every call that the rows name."""
    from stillhouse.llm.ledger import Ledger
    from stillhouse.llm.operations import ledger_folder
    from stillhouse.provenance.files import write_json
    from stillhouse.tournament.cost import cost_of, in_words

    generation, ledger = params.recipe["generation"], Ledger(ledger_folder(params.config), params.writer)
    try:
        files = (inputs.answers, inputs.failures, inputs.get("check"))
        cost = cost_of(*files, ledger, params.recipe["models"], inputs.get("quality"))
    finally:
        ledger.close()
    write_json(outputs.cost, {"generation": generation, **cost})
    logger.info("%s", in_words(generation, cost))
    # `failed`: a report with calls missing is made anew, when the ledger may have them
    return {"calls": cost["calls"], "failed": cost["missing"]}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
