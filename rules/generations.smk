# Generations: prompt sets answered by a single pass or a tournament, in shards, through the ledger; scores and reports.
from stillhouse.study import generation_reports, quality_plan


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
        **slots(
            lambda wildcards: plan.generation_models(wildcards.generation),
            lambda wildcards: Part(int(wildcards.shard), study.generations[wildcards.generation].shards),
        ),
        mem_mb=lambda wildcards: plan.asking_memory(plan.generation_models(wildcards.generation)),
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_shard(wildcards.generation, int(wildcards.shard))),
        code=code("answer_shard.py", lambda wildcards: plan.generation_models(wildcards.generation)),
        software=software("answer_shard.py", lambda wildcards: plan.generation_models(wildcards.generation)),
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


rule check_drafts:
    message:
        "Compare the answers of generation {wildcards.generation} with their first drafts"
    input:
        unpack(lambda wildcards: plan.model_inputs(generation_reports.check_judges(plan, wildcards.generation))),
        answers=rules.merge_generation.output.answers,
        template=plan.judging_template("pairwise"),
        weights=ancient(
            lambda wildcards: plan.model_weights(generation_reports.check_judges(plan, wildcards.generation))
        ),
    output:
        check="results/generations/{generation}/check.parquet",
        record="results/generations/{generation}/check.parquet.record.json",
    log:
        "logs/check_drafts/{generation}.log",
    benchmark:
        "logs/benchmarks/check_drafts/{generation}.tsv"
    threads: 1
    resources:
        **slots(lambda wildcards: generation_reports.check_judges(plan, wildcards.generation)),
        mem_mb=lambda wildcards: plan.asking_memory(generation_reports.check_judges(plan, wildcards.generation)),
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: generation_reports.recipe_check(plan, wildcards.generation)),
        code=code("check_drafts.py", lambda wildcards: generation_reports.check_judges(plan, wildcards.generation)),
        software=software(
            "check_drafts.py", lambda wildcards: generation_reports.check_judges(plan, wildcards.generation)
        ),
        sources=sources(lambda wildcards: generation_reports.check_sources(plan, wildcards.generation)),
    script:
        "../scripts/check_drafts.py"


rule score_answers:
    message:
        "Score the answers of {wildcards.kind} {wildcards.scored}"
    input:
        unpack(lambda wildcards: plan.model_inputs(quality_plan.score_models(plan, wildcards.scored))),
        answers="results/{kind}/{scored}/answers.parquet",
        template=lambda wildcards: quality_plan.score_template(plan, wildcards.scored),
        weights=ancient(lambda wildcards: plan.model_weights(quality_plan.score_models(plan, wildcards.scored))),
    output:
        quality="results/{kind}/{scored}/quality.parquet",
        record="results/{kind}/{scored}/quality.parquet.record.json",
    log:
        "logs/score_answers/{kind}/{scored}.log",
    benchmark:
        "logs/benchmarks/score_answers/{kind}/{scored}.tsv"
    threads: 1
    resources:
        **slots(lambda wildcards: quality_plan.score_models(plan, wildcards.scored)),
        mem_mb=lambda wildcards: plan.asking_memory(quality_plan.score_models(plan, wildcards.scored)),
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: quality_plan.recipe_scores(plan, wildcards.scored)),
        code=code("score_answers.py", lambda wildcards: quality_plan.score_models(plan, wildcards.scored)),
        software=software("score_answers.py", lambda wildcards: quality_plan.score_models(plan, wildcards.scored)),
        sources=sources(lambda wildcards: quality_plan.score_sources(plan, wildcards.scored)),
    script:
        "../scripts/score_answers.py"


rule report_generation:
    message:
        "Write the report of generation {wildcards.generation}"
    input:
        answers=rules.merge_generation.output.answers,
        failures=rules.merge_generation.output.failures,
        check=lambda wildcards: generation_reports.check_file(plan, wildcards.generation),
    output:
        summary="results/generations/{generation}/report.json",
        html=report(
            "results/generations/{generation}/report.html",
            category="Generations",
            labels={"generation": "{generation}", "file": "report"},
            caption="../data/captions/generation.rst",
        ),
        markdown="results/generations/{generation}/report.md",
        record="results/generations/{generation}/report.json.record.json",
    log:
        "logs/report_generation/{generation}.log",
    benchmark:
        "logs/benchmarks/report_generation/{generation}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: generation_reports.recipe_generation_report(plan, wildcards.generation)),
        code=code("report_generation.py"),
        software=software("report_generation.py"),
    script:
        "../scripts/report_generation.py"


rule cost_generation:
    message:
        "Add up what generation {wildcards.generation} cost"
    input:
        answers=rules.merge_generation.output.answers,
        failures=rules.merge_generation.output.failures,
        check=lambda wildcards: generation_reports.check_file(plan, wildcards.generation),
        quality=lambda wildcards: quality_plan.score_file(plan, wildcards.generation),
    output:
        cost="results/generations/{generation}/cost.json",
        record="results/generations/{generation}/cost.json.record.json",
    log:
        "logs/cost_generation/{generation}.log",
    benchmark:
        "logs/benchmarks/cost_generation/{generation}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: generation_reports.recipe_cost(plan, wildcards.generation)),
        code=code("cost_generation.py"),
        software=software("cost_generation.py"),
    script:
        "../scripts/cost_generation.py"


rule generations:
    """All generations: prompts answered, merged from their shards, with reports of outcome and cost."""
    input:
        expand(list(rules.merge_generation.output), generation=study.generations),
        expand(list(rules.check_drafts.output), generation=generation_reports.checked(plan)),
        expand(
            list(rules.score_answers.output),
            kind="generations",
            scored=[name for name in quality_plan.scored(plan) if name in study.generations],
        ),
        expand(list(rules.report_generation.output), generation=study.generations),
        expand(list(rules.cost_generation.output), generation=study.generations),
