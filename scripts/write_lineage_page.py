"""Rule write_lineage_page: the provenance of the whole study as one page to click through."""

from pathlib import Path

from stillhouse.provenance.job import Facts, Files, Params, run_job


def main(inputs: Files, outputs: Files, params: Params) -> Facts:
    """Render the records of all jobs of the study."""
    from stillhouse.provenance.study_records import study_nodes
    from stillhouse.reports.lineage_page import write_lineage_page

    nodes = study_nodes(Path(), inputs.records)
    write_lineage_page(nodes, params.recipe["study"], outputs.page)
    return {"jobs": len(nodes), "artefacts": sum(len(node.artefacts) for node in nodes)}


if __name__ == "__main__":
    run_job(main, __file__, globals().get("snakemake"))
