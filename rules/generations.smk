# Generations: prompt sets answered by a single pass or a tournament, in shards, through the ledger.


rule answer_shard:
    message:
        "Answer shard {wildcards.shard} of generation {wildcards.generation}"
    input:
        unpack(lambda wildcards: plan.inputs_shard(wildcards.generation)),
        weights=ancient(lambda wildcards: plan.model_weights(plan.generation_models(wildcards.generation))),
    output:
        shard="results/generations/{generation}/shards/{shard}.parquet",
        record="results/generations/{generation}/shards/{shard}.parquet.record.json",
    log:
        "logs/answer_shard/{generation}/{shard}.log",
    benchmark:
        "logs/benchmarks/answer_shard/{generation}/{shard}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_shard(wildcards.generation, int(wildcards.shard))),
        code=code("answer_shard.py"),
        software=software("answer_shard.py"),
        sources=sources(lambda wildcards: plan.inputs_shard(wildcards.generation)),
    script:
        "../scripts/answer_shard.py"


rule merge_generation:
    message:
        "Merge the shards of generation {wildcards.generation}"
    input:
        shards=lambda wildcards: plan.shards(wildcards.generation),
    output:
        answers="results/generations/{generation}/answers.parquet",
        failures="results/generations/{generation}/failures.parquet",
        record="results/generations/{generation}/record.json",
    log:
        "logs/merge_generation/{generation}.log",
    benchmark:
        "logs/benchmarks/merge_generation/{generation}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_merge(wildcards.generation)),
        code=code("merge_generation.py"),
        software=software("merge_generation.py"),
    script:
        "../scripts/merge_generation.py"


rule generations:
    """All generations: prompts answered, merged from their shards."""
    input:
        expand(list(rules.merge_generation.output), generation=study.generations),
