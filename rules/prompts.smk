# Prompts: read from files or datasets, or written by a model, with their answers where they have any; checked, with stable ids.


rule expand_prompts:
    message:
        "Write prompt set {wildcards.expanded} from its templates"
    input:
        unpack(lambda wildcards: plan.inputs_expand(wildcards.expanded)),
        weights=ancient(lambda wildcards: plan.model_weights(plan.expand_models(wildcards.expanded))),
    output:
        prompts="results/prompts/{expanded}.expanded.jsonl",
        shortfalls="results/prompts/{expanded}.shortfalls.json",
        record="results/prompts/{expanded}.expanded.jsonl.record.json",
    log:
        "logs/expand_prompts/{expanded}.log",
    benchmark:
        "logs/benchmarks/expand_prompts/{expanded}.tsv"
    threads: 1
    resources:
        **slots(lambda wildcards: plan.expand_models(wildcards.expanded)),
        mem_mb=lambda wildcards: plan.asking_memory(plan.expand_models(wildcards.expanded)),
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_expand(wildcards.expanded)),
        code=code("expand_prompts.py", lambda wildcards: plan.expand_models(wildcards.expanded)),
        software=software("expand_prompts.py", lambda wildcards: plan.expand_models(wildcards.expanded)),
        sources=sources(lambda wildcards: plan.inputs_expand(wildcards.expanded)),
    script:
        "../scripts/expand_prompts.py"


rule collect_prompts:
    message:
        "Read prompt set {wildcards.prompts}"
    input:
        source=lambda wildcards: plan.prompts_files(wildcards.prompts),
    output:
        prompts="results/prompts/{prompts}.parquet",
        rejected="results/prompts/{prompts}.rejected.parquet",
        record="results/prompts/{prompts}.parquet.record.json",
    log:
        "logs/collect_prompts/{prompts}.log",
    benchmark:
        "logs/benchmarks/collect_prompts/{prompts}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_prompts(wildcards.prompts)),
        code=code("collect_prompts.py"),
        software=software("collect_prompts.py"),
        sources=sources(lambda wildcards: plan.prompts_files(wildcards.prompts)),
    script:
        "../scripts/collect_prompts.py"


rule collect_answers:
    message:
        "Read answers {wildcards.answers}"
    input:
        source=lambda wildcards: plan.answers_files(wildcards.answers),
    output:
        answers="results/answers/{answers}/answers.parquet",
        rejected="results/answers/{answers}/rejected.parquet",
        record="results/answers/{answers}/record.json",
    log:
        "logs/collect_answers/{answers}.log",
    benchmark:
        "logs/benchmarks/collect_answers/{answers}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_answers(wildcards.answers)),
        code=code("collect_answers.py"),
        software=software("collect_answers.py"),
        sources=sources(lambda wildcards: plan.answers_files(wildcards.answers)),
    script:
        "../scripts/collect_answers.py"


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
