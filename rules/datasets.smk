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
        sources=sources(lambda wildcards: plan.inputs_dataset(wildcards.dataset)),
    script:
        "../scripts/build_dataset.py"


rule write_dataset_card:
    message:
        "Write the card of dataset {wildcards.dataset}"
    input:
        report=rules.build_dataset.output.report,
    output:
        card=report(
            "results/datasets/{dataset}/README.md",
            category="Datasets",
            labels={"dataset": "{dataset}", "file": "card"},
            caption="../data/captions/dataset.rst",
        ),
        record="results/datasets/{dataset}/README.md.record.json",
    log:
        "logs/write_dataset_card/{dataset}.log",
    benchmark:
        "logs/benchmarks/write_dataset_card/{dataset}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_dataset_card(wildcards.dataset)),
        code=code("write_dataset_card.py"),
        software=software("write_dataset_card.py"),
    script:
        "../scripts/write_dataset_card.py"


rule datasets:
    """All datasets, split, with their cards."""
    input:
        expand(list(rules.build_dataset.output), dataset=study.datasets),
        expand(rules.write_dataset_card.output.card, dataset=study.datasets),
