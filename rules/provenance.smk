# Provenance: what a study would cost before a call is made, and how all of it was made afterwards.
from stillhouse.provenance.digests import digest_file
from stillhouse.study.records import study_records

WORKFLOW_FILES = sorted(
    ["LICENSE", "Snakefile", *(file.relative_to(WORKFLOW).as_posix() for file in WORKFLOW.glob("rules/*.smk"))]
)


rule estimate:
    """Calls and tokens that the study would need; no call is made."""
    input:
        prompts=expand("results/prompts/{prompts}.parquet", prompts=study.prompts),
        answers=[plan.answers_file(name) for name, item in study.answers.items() if item.quality],
        held_out=[
            plan.evaluation_prompts(evaluation, name)
            for evaluation, item in study.evaluations.items()
            for name in item.sets
        ],
    log:
        "logs/estimate.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_estimate()),
    localrule: True
    script:
        "../scripts/estimate.py"


rule write_lineage_page:
    message:
        "Write the lineage page of the study"
    input:
        records=study_records(plan),
    output:
        page=report(
            "results/provenance/lineage.html",
            category="Provenance",
            labels={"file": "lineage"},
            caption="../data/captions/lineage.rst",
        ),
        record="results/provenance/lineage.html.record.json",
    log:
        "logs/write_lineage_page.log",
    benchmark:
        "logs/benchmarks/write_lineage_page.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"study": study.study}),
        code=code("write_lineage_page.py"),
        software=software("write_lineage_page.py"),
    script:
        "../scripts/write_lineage_page.py"


rule write_crate:
    message:
        "Write the RO-Crate of the study"
    input:
        records=study_records(plan),
        page=rules.write_lineage_page.output.page,
    output:
        crate="results/provenance/ro-crate-metadata.json",
        workflow=expand("results/provenance/workflow/{file}", file=WORKFLOW_FILES),
        record="results/provenance/ro-crate-metadata.json.record.json",
    log:
        "logs/write_crate.log",
    benchmark:
        "logs/benchmarks/write_crate.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"workflow": {name: digest_file(WORKFLOW / name) for name in WORKFLOW_FILES}}),
        code=code("write_crate.py"),
        software=software("write_crate.py"),
    script:
        "../scripts/write_crate.py"


rule provenance:
    """Lineage page and RO-Crate of the whole study."""
    input:
        rules.write_lineage_page.output.page,
        rules.write_crate.output.crate,
