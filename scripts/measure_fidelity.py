"""Rule measure_fidelity: what rounding did to an export's adapter."""

from stillhouse.provenance.job import Facts, Files, Params, run_job
from stillhouse.provenance.texts import texts_of


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Measure every GGUF of the export against the adapter on its full-precision base."""
    import torch

    from stillhouse.exports.control import base_control
    from stillhouse.exports.fidelity import FidelitySettings, measure_fidelity
    from stillhouse.exports.fidelity_table import fidelity_table
    from stillhouse.provenance.files import write_json, write_text

    torch.set_num_threads(params.threads)
    base = inputs.base.parent
    quants = params.recipe["quants"]
    ggufs = dict(zip(quants, inputs.get("ggufs"), strict=True))
    splits = {name: inputs.get(name)[0] for name in ("train", "valid", "test")}
    settings = FidelitySettings(**params.recipe["fidelity"])
    control = base_control(base, quants)
    report = measure_fidelity(base, inputs.adapter.parent, ggufs, splits, settings, control)
    write_json(outputs.report, report)
    write_text(outputs.table, fidelity_table(report))
    measured = {name: [one[name] for one in report["files"] if one[name] is not None] for name in ("top1", "kept")}
    least = {name: min(values) for name, values in measured.items() if values}
    return {"files": len(ggufs), "places": report["places"], "least": least, "warnings": len(report["warnings"])}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"), content=texts_of("train", "valid", "test"))
