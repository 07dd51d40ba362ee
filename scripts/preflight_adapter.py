"""Rule preflight_adapter: whether a training may start, told from its rows and the base's tokenizer."""

import logging

from stillhouse.provenance.job import Facts, Files, Params, run_job
from stillhouse.provenance.texts import texts_of

logger = logging.getLogger("stillhouse.preflight")


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Look at every row as its trainer will see it; stop with all that is wrong, row by row."""
    from stillhouse.provenance.files import write_json
    from stillhouse.provenance.layout import refused
    from stillhouse.training.checks import Failure, refuse
    from stillhouse.training.preflight import preflight
    from stillhouse.training.settings import TrainSettings

    settings = TrainSettings.model_validate(params.recipe["train"])
    report = preflight(inputs.shape.parent, {"train": inputs.train, "valid": inputs.valid}, settings)
    if report["failures"]:
        write_json(refused(outputs.preflight), report)
        refuse(Failure(**failure) for failure in report["failures"])
    refused(outputs.preflight).unlink(missing_ok=True)
    write_json(outputs.preflight, report)
    times = ", ".join(f"{seconds} s on {device}" for device, seconds in (report["seconds"] or {}).items())
    logger.info("%s steps; in about %s", report["steps"], times or "a time that cannot be told")
    return {"steps": report["steps"], "tokens": report["tokens"]["train"]["tokens"], "warnings": report["warnings"]}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=texts_of("train", "valid"))
