# Prompts: files of prompts, checked, with stable ids.


rule collect_prompts:
    message:
        "Read prompt set {wildcards.prompts}"
    input:
        source=lambda wildcards: plan.prompts_file(wildcards.prompts),
    output:
        prompts="results/prompts/{prompts}.parquet",
        record="results/prompts/{prompts}.parquet.record.json",
    log:
        "logs/collect_prompts/{prompts}.log",
    benchmark:
        "logs/benchmarks/collect_prompts/{prompts}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_prompts(wildcards.prompts)),
        code=code("collect_prompts.py"),
        software=software("collect_prompts.py"),
        sources=sources(lambda wildcards: plan.prompts_file(wildcards.prompts)),
    script:
        "../scripts/collect_prompts.py"


rule collect_evaluation_prompts:
    message:
        "Read held-out prompts {wildcards.prompt_set} of evaluation {wildcards.evaluation}"
    input:
        source=lambda wildcards: plan.evaluation_prompts_file(wildcards.evaluation, wildcards.prompt_set),
    output:
        prompts="results/evaluations/{evaluation}/prompts/{prompt_set}.parquet",
        record="results/evaluations/{evaluation}/prompts/{prompt_set}.parquet.record.json",
    log:
        "logs/collect_evaluation_prompts/{evaluation}/{prompt_set}.log",
    benchmark:
        "logs/benchmarks/collect_evaluation_prompts/{evaluation}/{prompt_set}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_evaluation_prompts(wildcards.evaluation, wildcards.prompt_set)),
        code=code("collect_prompts.py"),
        software=software("collect_prompts.py"),
        sources=sources(lambda wildcards: plan.evaluation_prompts_file(wildcards.evaluation, wildcards.prompt_set)),
    script:
        "../scripts/collect_prompts.py"
