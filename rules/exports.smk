# Exports: merged weights, GGUF quantisations, the adapter as GGUF, Modelfile and model card.


rule merge_adapter:
    message:
        "Merge the adapter of export {wildcards.export} into its full-precision base"
    input:
        adapter_digests=lambda wildcards: f"results/adapters/{study.exports[wildcards.export].adapter}/digests.json",
        adapter=ancient(
            lambda wildcards: f"results/adapters/{study.exports[wildcards.export].adapter}/adapter_model.safetensors"
        ),
        base_digests=lambda wildcards: plan.base_files(study.exports[wildcards.export].adapter).digests,
        base=ancient(lambda wildcards: plan.base_files(study.exports[wildcards.export].adapter).weights),
    output:
        weights="results/exports/{export}/merged/model.safetensors",
        rest=expand("results/exports/{{export}}/merged/{file}", file=MODEL_FILES),
        digests="results/exports/{export}/merged/digests.json",
        record="results/exports/{export}/merged/record.json",
    log:
        "logs/merge_adapter/{export}.log",
    benchmark:
        "logs/benchmarks/merge_adapter/{export}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_export(wildcards.export)),
        code=code("merge_adapter.py"),
        software=software("merge_adapter.py"),
    script:
        "../scripts/merge_adapter.py"


rule convert_gguf:
    message:
        "Convert merged export {wildcards.export} to GGUF"
    input:
        digests=rules.merge_adapter.output.digests,
        weights=ancient(rules.merge_adapter.output.weights),
        rest=ancient(rules.merge_adapter.output.rest),
    output:
        gguf="results/exports/{export}/{export}-f16.gguf",
        digests="results/exports/{export}/digests/f16.json",
        record="results/exports/{export}/{export}-f16.gguf.record.json",
    log:
        "logs/convert_gguf/{export}.log",
    benchmark:
        "logs/benchmarks/convert_gguf/{export}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_export(wildcards.export)),
        code=code("convert_gguf.py"),
        software=software("convert_gguf.py"),
    script:
        "../scripts/convert_gguf.py"


rule measure_importance:
    message:
        "Measure what export {wildcards.export} uses of its matrices"
    input:
        digests=rules.convert_gguf.output.digests,
        source=ancient("results/exports/{export}/{export}-f16.gguf"),
        rest=ancient(rules.merge_adapter.output.rest),
        train=lambda wildcards: f"results/datasets/{plan.dataset_of(wildcards.export)}/train.parquet",
    output:
        importance="results/exports/{export}/importance.gguf",
        record="results/exports/{export}/importance.gguf.record.json",
    log:
        "logs/measure_importance/{export}.log",
    benchmark:
        "logs/benchmarks/measure_importance/{export}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        recipe=recipe(lambda wildcards: {"export": wildcards.export}),
        code=code("measure_importance.py"),
        software=software("measure_importance.py"),
    script:
        "../scripts/measure_importance.py"


rule quantize_gguf:
    message:
        "Quantise export {wildcards.export} to {wildcards.quant}"
    input:
        digests=rules.convert_gguf.output.digests,
        source=ancient(rules.convert_gguf.output.gguf),
        importance=lambda wildcards: (
            expand(rules.measure_importance.output.importance, export=wildcards.export)
            if plan.by_importance(wildcards.export, wildcards.quant)
            else []
        ),
    output:
        gguf="results/exports/{export}/{export}-{quant}.gguf",
        digests="results/exports/{export}/digests/{quant}.json",
        record="results/exports/{export}/{export}-{quant}.gguf.record.json",
    log:
        "logs/quantize_gguf/{export}/{quant}.log",
    benchmark:
        "logs/benchmarks/quantize_gguf/{export}/{quant}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: {"quant": wildcards.quant}),
        code=code("quantize_gguf.py"),
        software=software("quantize_gguf.py"),
    script:
        "../scripts/quantize_gguf.py"


rule convert_adapter_gguf:
    message:
        "Convert the adapter of export {wildcards.export} to GGUF"
    input:
        adapter_digests=rules.merge_adapter.input.adapter_digests,
        adapter=rules.merge_adapter.input.adapter,
        base_digests=rules.merge_adapter.input.base_digests,
        base=rules.merge_adapter.input.base,
    output:
        gguf="results/exports/{export}/{export}-adapter.gguf",
        digests="results/exports/{export}/digests/adapter.json",
        record="results/exports/{export}/{export}-adapter.gguf.record.json",
    log:
        "logs/convert_adapter_gguf/{export}.log",
    benchmark:
        "logs/benchmarks/convert_adapter_gguf/{export}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_export(wildcards.export)),
        code=code("convert_adapter_gguf.py"),
        software=software("convert_adapter_gguf.py"),
    script:
        "../scripts/convert_adapter_gguf.py"


rule write_modelfile:
    message:
        "Write the Modelfile of export {wildcards.export}, and let it answer"
    input:
        digests=lambda wildcards: (
            f"results/exports/{wildcards.export}/digests/{plan.modelfile_gguf(wildcards.export)}.json"
        ),
        gguf=ancient(
            lambda wildcards: (
                f"results/exports/{wildcards.export}/{wildcards.export}-{plan.modelfile_gguf(wildcards.export)}.gguf"
            )
        ),
        merged=rules.merge_adapter.output.digests,
        weights=ancient(rules.merge_adapter.output.weights),
        rest=ancient(rules.merge_adapter.output.rest),
    output:
        modelfile="results/exports/{export}/Modelfile",
        record="results/exports/{export}/Modelfile.record.json",
    log:
        "logs/write_modelfile/{export}.log",
    benchmark:
        "logs/benchmarks/write_modelfile/{export}.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_export(wildcards.export)),
        code=code("write_modelfile.py"),
        software=software("write_modelfile.py"),
    script:
        "../scripts/write_modelfile.py"


rule measure_fidelity:
    message:
        "Measure what rounding did to export {wildcards.export}"
    input:
        base_digests=rules.merge_adapter.input.base_digests,
        base=rules.merge_adapter.input.base,
        adapter_digests=rules.merge_adapter.input.adapter_digests,
        adapter=rules.merge_adapter.input.adapter,
        digests=lambda wildcards: expand(
            "results/exports/{export}/digests/{quant}.json",
            export=wildcards.export,
            quant=plan.quants(wildcards.export),
        ),
        ggufs=ancient(
            lambda wildcards: expand(
                "results/exports/{export}/{export}-{quant}.gguf",
                export=wildcards.export,
                quant=plan.quants(wildcards.export),
            )
        ),
        train=lambda wildcards: f"results/datasets/{plan.dataset_of(wildcards.export)}/train.parquet",
        valid=lambda wildcards: f"results/datasets/{plan.dataset_of(wildcards.export)}/valid.parquet",
        test=lambda wildcards: f"results/datasets/{plan.dataset_of(wildcards.export)}/test.parquet",
    output:
        report="results/exports/{export}/fidelity.json",
        table="results/exports/{export}/fidelity.md",
        record="results/exports/{export}/fidelity.json.record.json",
    log:
        "logs/measure_fidelity/{export}.log",
    benchmark:
        "logs/benchmarks/measure_fidelity/{export}.tsv"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=120,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_fidelity(wildcards.export)),
        code=code("measure_fidelity.py"),
        software=software("measure_fidelity.py"),
    script:
        "../scripts/measure_fidelity.py"


rule write_model_card:
    message:
        "Write the model card of export {wildcards.export}"
    input:
        digests=lambda wildcards: expand(
            "results/exports/{export}/digests/{suffix}.json",
            export=wildcards.export,
            suffix=plan.ggufs(wildcards.export),
        ),
        merged=rules.merge_adapter.output.digests,
        modelfile=rules.write_modelfile.output.modelfile,
        adapter_digests=rules.merge_adapter.input.adapter_digests,
        fidelity=lambda wildcards: (
            expand(rules.measure_fidelity.output.report, export=wildcards.export)
            if study.exports[wildcards.export].fidelity
            else []
        ),
        evaluations=lambda wildcards: expand(
            "results/evaluations/{evaluation}/report.json",
            evaluation=study.exports[wildcards.export].evaluations,
        ),
        metrics=lambda wildcards: f"results/adapters/{study.exports[wildcards.export].adapter}/metrics.jsonl",
        dataset=lambda wildcards: (f"results/datasets/{plan.dataset_of(wildcards.export)}/report.json"),
    output:
        card=report(
            "results/exports/{export}/README.md",
            category="Exports",
            labels={"export": "{export}", "file": "model card"},
            caption="../data/captions/model_card.rst",
        ),
        record="results/exports/{export}/README.md.record.json",
    log:
        "logs/write_model_card/{export}.log",
    benchmark:
        "logs/benchmarks/write_model_card/{export}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_card(wildcards.export)),
        code=code("write_model_card.py"),
        software=software("write_model_card.py"),
    script:
        "../scripts/write_model_card.py"


rule exports:
    """All exports: GGUF files, Modelfiles, model cards."""
    input:
        [
            f"results/exports/{export}/{export}-{suffix}.gguf"
            for export in study.exports
            for suffix in plan.ggufs(export)
        ],
        expand(rules.write_modelfile.output.modelfile, export=study.exports),
        expand(rules.write_model_card.output.card, export=study.exports),
