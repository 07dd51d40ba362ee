"""Rule write_crate: the provenance of the whole study as an RO-Crate."""

import shutil
from dataclasses import replace
from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Copy the workflow into the crate's folder and describe all jobs of the study."""
    from stillhouse.provenance.code import WORKFLOW
    from stillhouse.provenance.crate import crate_document
    from stillhouse.provenance.files import atomic_path, write_json
    from stillhouse.provenance.records import digest_of
    from stillhouse.provenance.study_records import study_nodes

    folder = outputs.crate.parent
    for name, file in zip(params.recipe["workflow"], outputs.workflow, strict=True):
        with atomic_path(file) as temporary:
            shutil.copyfile(WORKFLOW / name, temporary)
    nodes = study_nodes(Path(), inputs.records)
    payload = [digest_of(file) for file in [*outputs.workflow, inputs.page]]
    payload = [replace(file, path=Path(file.path).relative_to(folder).as_posix()) for file in payload]
    document = crate_document(nodes, [digest_of(file) for file in inputs.records], payload)
    write_json(outputs.crate, document)
    return {"jobs": len(nodes), "entities": len(document["@graph"])}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
