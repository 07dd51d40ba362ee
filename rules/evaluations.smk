# Evaluations: subjects answer held-out prompts, are measured and judged, and reported.


rule answer_subject:
    message:
        "Let {wildcards.subject} answer the prompts of evaluation {wildcards.evaluation}"
    input:
        unpack(lambda wildcards: plan.inputs_subject(wildcards.evaluation, wildcards.subject)),
        weights=ancient(lambda wildcards: plan.subject_weights(wildcards.evaluation, wildcards.subject)),
    output:
        responses="results/evaluations/{evaluation}/responses/{subject}.parquet",
        record="results/evaluations/{evaluation}/responses/{subject}.parquet.record.json",
    log:
        "logs/answer_subject/{evaluation}/{subject}.log",
    benchmark:
        "logs/benchmarks/answer_subject/{evaluation}/{subject}.tsv"
    threads: 1
    resources:
        **slots(lambda wildcards: [study.evaluations[wildcards.evaluation].subjects[wildcards.subject].model]),
        mem_mb=4000,
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_subject(wildcards.evaluation, wildcards.subject)),
        code=code("answer_subject.py"),
        software=software("answer_subject.py"),
        sources=sources(lambda wildcards: plan.inputs_subject(wildcards.evaluation, wildcards.subject)),
    script:
        "../scripts/answer_subject.py"


rule score_markers:
    message:
        "Count markers in the answers of evaluation {wildcards.evaluation}"
    input:
        responses=lambda wildcards: plan.responses(wildcards.evaluation),
        markers=lambda wildcards: plan.markers_file(wildcards.evaluation),
    output:
        judgements="results/evaluations/{evaluation}/judgements/markers.parquet",
        record="results/evaluations/{evaluation}/judgements/markers.parquet.record.json",
    log:
        "logs/score_markers/{evaluation}.log",
    benchmark:
        "logs/benchmarks/score_markers/{evaluation}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"evaluation": wildcards.evaluation}),
        code=code("score_markers.py"),
        software=software("score_markers.py"),
        sources=sources(lambda wildcards: plan.markers_file(wildcards.evaluation)),
    script:
        "../scripts/score_markers.py"


rule judge_rubric:
    message:
        "Judge the answers of evaluation {wildcards.evaluation} by its rubric"
    input:
        unpack(lambda wildcards: plan.model_inputs(study.evaluations[wildcards.evaluation].rubric.judges)),
        responses=lambda wildcards: expand(
            rules.answer_subject.output.responses,
            evaluation=wildcards.evaluation,
            subject=plan.recipe_rubric(wildcards.evaluation)["subjects"],
        ),
        rubric=lambda wildcards: plan.rubric_file(wildcards.evaluation),
        template=plan.judging_template("rubric"),
        weights=ancient(lambda wildcards: plan.model_weights(study.evaluations[wildcards.evaluation].rubric.judges)),
    output:
        judgements="results/evaluations/{evaluation}/judgements/rubric.parquet",
        record="results/evaluations/{evaluation}/judgements/rubric.parquet.record.json",
    log:
        "logs/judge_rubric/{evaluation}.log",
    benchmark:
        "logs/benchmarks/judge_rubric/{evaluation}.tsv"
    threads: 1
    resources:
        **slots(lambda wildcards: study.evaluations[wildcards.evaluation].rubric.judges),
        mem_mb=2000,
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_rubric(wildcards.evaluation)),
        code=code("judge_rubric.py"),
        software=software("judge_rubric.py"),
        sources=sources(lambda wildcards: plan.rubric_sources(wildcards.evaluation)),
    script:
        "../scripts/judge_rubric.py"


rule judge_pairwise:
    message:
        "Compare the answers of evaluation {wildcards.evaluation} in blind pairs"
    input:
        unpack(lambda wildcards: plan.model_inputs(study.evaluations[wildcards.evaluation].pairwise.judges)),
        responses=lambda wildcards: expand(
            rules.answer_subject.output.responses,
            evaluation=wildcards.evaluation,
            subject=sorted({name for pair in study.evaluations[wildcards.evaluation].pairwise.pairs for name in pair}),
        ),
        template=plan.judging_template("pairwise"),
        weights=ancient(lambda wildcards: plan.model_weights(study.evaluations[wildcards.evaluation].pairwise.judges)),
    output:
        judgements="results/evaluations/{evaluation}/judgements/pairwise.parquet",
        record="results/evaluations/{evaluation}/judgements/pairwise.parquet.record.json",
    log:
        "logs/judge_pairwise/{evaluation}.log",
    benchmark:
        "logs/benchmarks/judge_pairwise/{evaluation}.tsv"
    threads: 1
    resources:
        **slots(lambda wildcards: study.evaluations[wildcards.evaluation].pairwise.judges),
        mem_mb=2000,
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_pairwise(wildcards.evaluation)),
        code=code("judge_pairwise.py"),
        software=software("judge_pairwise.py"),
        sources=sources(lambda wildcards: plan.pairwise_sources(wildcards.evaluation)),
    script:
        "../scripts/judge_pairwise.py"


rule summarise_evaluation:
    message:
        "Summarise evaluation {wildcards.evaluation}"
    input:
        unpack(lambda wildcards: plan.judgements(wildcards.evaluation)),
        responses=lambda wildcards: plan.responses(wildcards.evaluation),
        marker_file=lambda wildcards: (
            plan.markers_file(wildcards.evaluation) if study.evaluations[wildcards.evaluation].markers else []
        ),
        rubric_file=lambda wildcards: (
            plan.rubric_file(wildcards.evaluation) if study.evaluations[wildcards.evaluation].rubric else []
        ),
    output:
        summary="results/evaluations/{evaluation}/report.json",
        record="results/evaluations/{evaluation}/report.json.record.json",
    log:
        "logs/summarise_evaluation/{evaluation}.log",
    benchmark:
        "logs/benchmarks/summarise_evaluation/{evaluation}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_report(wildcards.evaluation)),
        code=code("summarise_evaluation.py"),
        software=software("summarise_evaluation.py"),
        sources=sources(lambda wildcards: plan.summary_sources(wildcards.evaluation)),
    script:
        "../scripts/summarise_evaluation.py"


rule write_report:
    message:
        "Write the report of evaluation {wildcards.evaluation}"
    input:
        summary=rules.summarise_evaluation.output.summary,
    output:
        html=report(
            "results/evaluations/{evaluation}/report.html",
            category="Evaluations",
            labels={"evaluation": "{evaluation}", "file": "report"},
            caption="../data/captions/report.rst",
        ),
        markdown="results/evaluations/{evaluation}/report.md",
        record="results/evaluations/{evaluation}/report.html.record.json",
    log:
        "logs/write_report/{evaluation}.log",
    benchmark:
        "logs/benchmarks/write_report/{evaluation}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"evaluation": wildcards.evaluation}),
        code=code("write_report.py"),
        software=software("write_report.py"),
    script:
        "../scripts/write_report.py"


rule evaluations:
    """All evaluation reports."""
    input:
        expand(list(rules.summarise_evaluation.output), evaluation=study.evaluations),
        expand(list(rules.write_report.output), evaluation=study.evaluations),
