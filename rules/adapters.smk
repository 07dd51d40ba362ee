# Adapters: LoRA and QLoRA by TRL and PEFT, after a look at every row as the trainer will see it.


rule preflight_adapter:
    message:
        "Look through what adapter {wildcards.adapter} will be trained on"
    input:
        base_digests=lambda wildcards: plan.base_files(wildcards.adapter).digests,
        shape=lambda wildcards: plan.base_files(wildcards.adapter).shape,
        ends=lambda wildcards: plan.base_files(wildcards.adapter).ends,
        tokenizer=lambda wildcards: [plan.base_files(wildcards.adapter).file(name) for name in TOKENIZER_FILES],
        train=lambda wildcards: f"results/datasets/{study.adapters[wildcards.adapter].dataset}/train.parquet",
        valid=lambda wildcards: f"results/datasets/{study.adapters[wildcards.adapter].dataset}/valid.parquet",
    output:
        preflight="results/adapters/{adapter}/preflight.json",
        record="results/adapters/{adapter}/preflight.json.record.json",
    log:
        "logs/preflight_adapter/{adapter}.log",
    benchmark:
        "logs/benchmarks/preflight_adapter/{adapter}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_adapter(wildcards.adapter)),
        code=code("preflight_adapter.py"),
        software=software("preflight_adapter.py"),
    script:
        "../scripts/preflight_adapter.py"


rule train_adapter:
    message:
        "Train adapter {wildcards.adapter}"
    input:
        base_digests=lambda wildcards: plan.base_files(wildcards.adapter).digests,
        base=ancient(lambda wildcards: plan.base_files(wildcards.adapter).weights),
        init_digests=lambda wildcards: [
            f"results/adapters/{start}/digests.json" for start in plan.starts_of(wildcards.adapter)
        ],
        init=lambda wildcards: [
            f"results/adapters/{start}/{file}"
            for start in plan.starts_of(wildcards.adapter)
            for file in ("adapter_model.safetensors", "adapter_config.json")
        ],
        preflight=rules.preflight_adapter.output.preflight,
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
        checkpoint_minutes=lambda wildcards: study.adapters[wildcards.adapter].training.checkpoint_minutes,
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
        expand(list(rules.preflight_adapter.output), adapter=study.adapters),
        expand(list(rules.train_adapter.output), adapter=study.adapters),
