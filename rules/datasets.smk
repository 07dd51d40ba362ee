# Datasets: answers filtered, mixed, checked against held-out prompts, and split.


rule build_dataset:
    message:
        "Build dataset {wildcards.dataset}"
    input:
        unpack(lambda wildcards: plan.inputs_dataset(wildcards.dataset)),
        tokenizer=lambda wildcards: [
            f"results/models/{model}/{file}"
            for model in plan.token_models(wildcards.dataset)
            for file in TOKENIZER_FILES
        ],
    output:
        train="results/datasets/{dataset}/train.parquet",
        valid="results/datasets/{dataset}/valid.parquet",
        test="results/datasets/{dataset}/test.parquet",
        dropped="results/datasets/{dataset}/dropped.parquet",
        report="results/datasets/{dataset}/report.json",
        record="results/datasets/{dataset}/record.json",
    log:
        "logs/build_dataset/{dataset}.log",
    benchmark:
        "logs/benchmarks/build_dataset/{dataset}.tsv"
    threads: 4
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
        lengths="results/datasets/{dataset}/lengths.svg",
        mix="results/datasets/{dataset}/mix.svg",
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


rule convert_dataset:
    message:
        "Write dataset {wildcards.dataset} as {wildcards.form}"
    input:
        train=rules.build_dataset.output.train,
        valid=rules.build_dataset.output.valid,
        test=rules.build_dataset.output.test,
    output:
        train="results/datasets/{dataset}/{form}/train.jsonl",
        valid="results/datasets/{dataset}/{form}/valid.jsonl",
        test="results/datasets/{dataset}/{form}/test.jsonl",
        record="results/datasets/{dataset}/{form}/record.json",
    log:
        "logs/convert_dataset/{dataset}/{form}.log",
    benchmark:
        "logs/benchmarks/convert_dataset/{dataset}/{form}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_conversion(wildcards.dataset, wildcards.form)),
        code=code("convert_dataset.py"),
        software=software("convert_dataset.py"),
    script:
        "../scripts/convert_dataset.py"


rule datasets:
    """All datasets, split, with their cards and in their other forms."""
    input:
        expand(list(rules.build_dataset.output), dataset=study.datasets),
        expand(list(rules.write_dataset_card.output), dataset=study.datasets),
        [
            file
            for name in study.datasets
            for file in expand(list(rules.convert_dataset.output), dataset=name, form=plan.forms(name))
        ],
