# Datasets: answers filtered, mixed, checked against held-out prompts, and split.


rule build_dataset:
    message:
        "Build dataset {wildcards.dataset}"
    input:
        unpack(lambda wildcards: plan.inputs_dataset(wildcards.dataset)),
    output:
        train="results/datasets/{dataset}/train.parquet",
        valid="results/datasets/{dataset}/valid.parquet",
        test="results/datasets/{dataset}/test.parquet",
        card=report(
            "results/datasets/{dataset}/README.md",
            category="Datasets",
            labels={"dataset": "{dataset}", "file": "card"},
            caption="../data/captions/dataset.rst",
        ),
        report="results/datasets/{dataset}/report.json",
        record="results/datasets/{dataset}/record.json",
    log:
        "logs/build_dataset/{dataset}.log",
    benchmark:
        "logs/benchmarks/build_dataset/{dataset}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_dataset(wildcards.dataset)),
        code=code("build_dataset.py"),
        software=software("build_dataset.py"),
    script:
        "../scripts/build_dataset.py"


rule datasets:
    """All datasets, split, with their cards."""
    input:
        expand(rules.build_dataset.output.train, dataset=study.datasets),
