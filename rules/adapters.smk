# Adapters: LoRA and QLoRA by TRL and PEFT.


rule train_adapter:
    message:
        "Train adapter {wildcards.adapter}"
    input:
        base_digests=lambda wildcards: f"results/models/{plan.base_of(wildcards.adapter)}/digests.json",
        base=ancient(lambda wildcards: f"results/models/{plan.base_of(wildcards.adapter)}/model.safetensors"),
        train=lambda wildcards: f"results/datasets/{study.adapters[wildcards.adapter].dataset}/train.parquet",
        valid=lambda wildcards: f"results/datasets/{study.adapters[wildcards.adapter].dataset}/valid.parquet",
    output:
        weights="results/adapters/{adapter}/adapter_model.safetensors",
        rest=expand("results/adapters/{{adapter}}/{file}", file=ADAPTER_FILES),
        metrics="results/adapters/{adapter}/metrics.jsonl",
        plot=report(
            "results/adapters/{adapter}/loss.svg",
            category="Adapters",
            labels={"adapter": "{adapter}", "file": "loss"},
            caption="../data/captions/loss.rst",
        ),
        digests="results/adapters/{adapter}/digests.json",
        record="results/adapters/{adapter}/record.json",
    log:
        "logs/train_adapter/{adapter}.log",
    benchmark:
        "logs/benchmarks/train_adapter/{adapter}.tsv"
    threads: lambda wildcards: study.adapters[wildcards.adapter].training.threads
    resources:
        mem_mb=6000,
        runtime=720,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_adapter(wildcards.adapter)),
        code=code("train_adapter.py"),
        software=software("train_adapter.py"),
    # all that is slow after it waits for it: start it as soon as its dataset is there
    priority: 50
    script:
        "../scripts/train_adapter.py"


rule adapters:
    """All adapters, trained."""
    input:
        expand(list(rules.train_adapter.output), adapter=study.adapters),
