# Models: local weights as GGUF for llama.cpp and as safetensors for training.


rule prepare_gguf:
    message:
        "Put the GGUF of model {wildcards.model} in place"
    input:
        source=lambda wildcards: (
            rules.prepare_weights.output.weights
            if plan.hf_source(wildcards.model)
            else plan.source_files(wildcards.model)
        ),
        tokenizer=lambda wildcards: rules.prepare_weights.output.rest if plan.hf_source(wildcards.model) else [],
    output:
        gguf="results/models/{model}/model.gguf",
        digests="results/models/{model}/gguf.digests.json",
        record="results/models/{model}/model.gguf.record.json",
    log:
        "logs/prepare_gguf/{model}.log",
    benchmark:
        "logs/benchmarks/prepare_gguf/{model}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_model(wildcards.model)),
        code=code("prepare_gguf.py"),
        software=software("prepare_gguf.py"),
        sources=sources(lambda wildcards: plan.source_files(wildcards.model)),
    script:
        "../scripts/prepare_gguf.py"


rule prepare_weights:
    message:
        "Write model {wildcards.model} as safetensors and check it against its GGUF"
    input:
        source=lambda wildcards: (
            plan.source_files(wildcards.model)
            if plan.hf_source(wildcards.model)
            else rules.prepare_gguf.output.digests
        ),
        gguf=ancient(lambda wildcards: [] if plan.hf_source(wildcards.model) else rules.prepare_gguf.output.gguf),
    output:
        weights="results/models/{model}/model.safetensors",
        rest=expand("results/models/{{model}}/{file}", file=MODEL_FILES),
        digests="results/models/{model}/digests.json",
        record="results/models/{model}/record.json",
    log:
        "logs/prepare_weights/{model}.log",
    benchmark:
        "logs/benchmarks/prepare_weights/{model}.tsv"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_model(wildcards.model)),
        code=code("prepare_weights.py"),
        software=software("prepare_weights.py"),
        sources=sources(lambda wildcards: plan.source_files(wildcards.model) if plan.hf_source(wildcards.model) else []),
    script:
        "../scripts/prepare_weights.py"
