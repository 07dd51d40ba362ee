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
        mem_mb=lambda wildcards: plan.subject_memory(wildcards.evaluation, wildcards.subject),
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


rule find_breaks:
    message:
        "Look for character breaks in the answers of evaluation {wildcards.evaluation}"
    input:
        unpack(lambda wildcards: plan.model_inputs(plan.judges(wildcards.evaluation, "breaks"))),
        responses=lambda wildcards: plan.responses(wildcards.evaluation),
        patterns=lambda wildcards: plan.breaks_file(wildcards.evaluation),
        template=plan.judging_template("break"),
        weights=ancient(lambda wildcards: plan.model_weights(plan.judges(wildcards.evaluation, "breaks"))),
    output:
        judgements="results/evaluations/{evaluation}/judgements/breaks.parquet",
        record="results/evaluations/{evaluation}/judgements/breaks.parquet.record.json",
    log:
        "logs/find_breaks/{evaluation}.log",
    benchmark:
        "logs/benchmarks/find_breaks/{evaluation}.tsv"
    threads: 1
    resources:
        **slots(lambda wildcards: plan.judges(wildcards.evaluation, "breaks")),
        mem_mb=lambda wildcards: plan.asking_memory(plan.judges(wildcards.evaluation, "breaks")),
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_breaks(wildcards.evaluation)),
        code=code("find_breaks.py", lambda wildcards: plan.judges(wildcards.evaluation, "breaks")),
        software=software("find_breaks.py", lambda wildcards: plan.judges(wildcards.evaluation, "breaks")),
        sources=sources(lambda wildcards: plan.judging_sources(wildcards.evaluation, "breaks")),
    script:
        "../scripts/find_breaks.py"


rule run_checks:
    message:
        "Check the answers of evaluation {wildcards.evaluation} against what their prompts expect"
    input:
        responses=lambda wildcards: plan.responses(wildcards.evaluation),
    output:
        judgements="results/evaluations/{evaluation}/judgements/checks.parquet",
        record="results/evaluations/{evaluation}/judgements/checks.parquet.record.json",
    log:
        "logs/run_checks/{evaluation}.log",
    benchmark:
        "logs/benchmarks/run_checks/{evaluation}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        recipe=recipe(lambda wildcards: {"evaluation": wildcards.evaluation}),
        code=code("run_checks.py"),
        software=software("run_checks.py"),
    script:
        "../scripts/run_checks.py"


rule judge_rubric:
    message:
        "Judge the answers of evaluation {wildcards.evaluation} by its rubric"
    input:
        unpack(lambda wildcards: plan.model_inputs(plan.judges(wildcards.evaluation, "rubric"))),
        responses=lambda wildcards: plan.rubric_responses(wildcards.evaluation),
        judged=lambda wildcards: plan.recorded_judgements(wildcards.evaluation),
        rubric=lambda wildcards: plan.rubric_file(wildcards.evaluation),
        template=plan.judging_template("rubric"),
        weights=ancient(lambda wildcards: plan.model_weights(plan.judges(wildcards.evaluation, "rubric"))),
    output:
        judgements="results/evaluations/{evaluation}/judgements/rubric.parquet",
        record="results/evaluations/{evaluation}/judgements/rubric.parquet.record.json",
    log:
        "logs/judge_rubric/{evaluation}.log",
    benchmark:
        "logs/benchmarks/judge_rubric/{evaluation}.tsv"
    threads: 1
    resources:
        **slots(lambda wildcards: plan.judges(wildcards.evaluation, "rubric")),
        mem_mb=lambda wildcards: plan.asking_memory(plan.judges(wildcards.evaluation, "rubric")),
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_rubric(wildcards.evaluation)),
        code=code("judge_rubric.py", lambda wildcards: plan.judges(wildcards.evaluation, "rubric")),
        software=software("judge_rubric.py", lambda wildcards: plan.judges(wildcards.evaluation, "rubric")),
        sources=sources(lambda wildcards: plan.judging_sources(wildcards.evaluation, "rubric")),
    script:
        "../scripts/judge_rubric.py"


rule judge_pairwise:
    message:
        "Compare the answers of evaluation {wildcards.evaluation} in blind pairs"
    input:
        unpack(lambda wildcards: plan.model_inputs(plan.judges(wildcards.evaluation, "pairwise"))),
        responses=lambda wildcards: plan.pair_responses(wildcards.evaluation),
        judged=lambda wildcards: plan.recorded_verdicts(wildcards.evaluation),
        template=plan.judging_template("pairwise"),
        weights=ancient(lambda wildcards: plan.model_weights(plan.judges(wildcards.evaluation, "pairwise"))),
    output:
        judgements="results/evaluations/{evaluation}/judgements/pairwise.parquet",
        record="results/evaluations/{evaluation}/judgements/pairwise.parquet.record.json",
    log:
        "logs/judge_pairwise/{evaluation}.log",
    benchmark:
        "logs/benchmarks/judge_pairwise/{evaluation}.tsv"
    threads: 1
    resources:
        **slots(lambda wildcards: plan.judges(wildcards.evaluation, "pairwise")),
        mem_mb=lambda wildcards: plan.asking_memory(plan.judges(wildcards.evaluation, "pairwise")),
        runtime=240,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_pairwise(wildcards.evaluation)),
        code=code("judge_pairwise.py", lambda wildcards: plan.judges(wildcards.evaluation, "pairwise")),
        software=software("judge_pairwise.py", lambda wildcards: plan.judges(wildcards.evaluation, "pairwise")),
        sources=sources(lambda wildcards: plan.judging_sources(wildcards.evaluation, "pairwise")),
    script:
        "../scripts/judge_pairwise.py"


rule summarise_evaluation:
    message:
        "Summarise evaluation {wildcards.evaluation}"
    input:
        unpack(lambda wildcards: plan.judgements(wildcards.evaluation)),
        train=lambda wildcards: plan.trained_files(wildcards.evaluation),
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
        mem_mb=4000,
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
        unpack(lambda wildcards: plan.judgements(wildcards.evaluation)),
        responses=lambda wildcards: plan.responses(wildcards.evaluation),
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
        mem_mb=4000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"evaluation": wildcards.evaluation}),
        code=code("write_report.py"),
        software=software("write_report.py"),
    script:
        "../scripts/write_report.py"


rule validate_evaluation:
    message:
        "Hold evaluation {wildcards.evaluation} to its limit of unscored verdicts"
    input:
        summary=rules.summarise_evaluation.output.summary,
        html=rules.write_report.output.html,
    output:
        valid="results/evaluations/{evaluation}/valid.json",
        record="results/evaluations/{evaluation}/valid.json.record.json",
    log:
        "logs/validate_evaluation/{evaluation}.log",
    benchmark:
        "logs/benchmarks/validate_evaluation/{evaluation}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"evaluation": wildcards.evaluation}),
        code=code("validate_evaluation.py"),
        software=software("validate_evaluation.py"),
    script:
        "../scripts/validate_evaluation.py"


rule check_gates:
    message:
        "Check the gates of evaluation {wildcards.evaluation}"
    input:
        summary=rules.summarise_evaluation.output.summary,
        html=rules.write_report.output.html,
    output:
        gates="results/evaluations/{evaluation}/gates.json",
        record="results/evaluations/{evaluation}/gates.json.record.json",
    log:
        "logs/check_gates/{evaluation}.log",
    benchmark:
        "logs/benchmarks/check_gates/{evaluation}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"evaluation": wildcards.evaluation}),
        code=code("check_gates.py"),
        software=software("check_gates.py"),
    script:
        "../scripts/check_gates.py"


rule write_history:
    message:
        "Write the history of all evaluations"
    input:
        summaries=expand(rules.summarise_evaluation.output.summary, evaluation=study.evaluations),
    output:
        history="results/evaluations/history.json",
        markdown="results/evaluations/history.md",
        record="results/evaluations/history.json.record.json",
    log:
        "logs/write_history.log",
    benchmark:
        "logs/benchmarks/write_history.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"study": study.study, "evaluations": list(study.evaluations)}),
        code=code("write_history.py"),
        software=software("write_history.py"),
    script:
        "../scripts/write_history.py"


rule evaluations:
    """All evaluation reports; fails where more verdicts have no score than the study allows."""
    input:
        expand(list(rules.summarise_evaluation.output), evaluation=study.evaluations),
        expand(list(rules.write_report.output), evaluation=study.evaluations),
        expand(rules.validate_evaluation.output.valid, evaluation=study.evaluations),
        list(rules.write_history.output) if study.evaluations else [],


rule gates:
    """The gates of all evaluations; fails when one does not pass."""
    input:
        expand(rules.check_gates.output.gates, evaluation=study.evaluations),
