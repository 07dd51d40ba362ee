# Provenance: what a study would cost before a call is made, and how all of it was made afterwards.
from stillhouse.provenance.digests import digest_file

WORKFLOW_FILES = sorted(
    ["LICENSE", "Snakefile", *(file.relative_to(WORKFLOW).as_posix() for file in WORKFLOW.glob("rules/*.smk"))]
)


def needed_models():
    """Names of the models that the study needs as GGUF, and of those that it needs as safetensors."""
    judged = [part for item in study.evaluations.values() for part in (item.rubric, item.pairwise) if part]
    asked = [model for name in study.generations for model in plan.generation_models(name)]
    files = plan.model_weights([*asked, *(judge for part in judged for judge in part.judges)])
    for evaluation, item in study.evaluations.items():
        files += [file for subject in item.subjects for file in plan.subject_weights(evaluation, subject)]
    ggufs = {Path(file).parent.name for file in files if Path(file).match("results/models/*/model.gguf")}
    whole = {plan.base_of(adapter) for adapter in study.adapters}
    whole |= {model for model in ggufs if plan.hf_source(model)}
    return sorted(ggufs | {model for model in whole if not plan.hf_source(model)}), sorted(whole)


def study_records(wildcards):
    """The record of every job that the study needs: those that rule `all` runs."""
    ggufs, whole = needed_models()
    generations, evaluations = study.generations, study.evaluations
    return [
        *expand(rules.prepare_gguf.output.record, model=ggufs),
        *expand(rules.prepare_weights.output.record, model=whole),
        *expand(rules.collect_prompts.output.record, prompts=sorted({item.prompts for item in generations.values()})),
        *(f"{shard}.record.json" for name in generations for shard in plan.shards(name)),
        *expand(rules.merge_generation.output.record, generation=generations),
        *expand([rules.build_dataset.output.record, rules.write_dataset_card.output.record], dataset=study.datasets),
        *expand(rules.train_adapter.output.record, adapter=study.adapters),
        *(record for name in study.exports for record in export_records(name)),
        *(record for name in evaluations for record in evaluation_records(name)),
    ]


def export_records(name):
    """The records of an export's jobs."""
    made = [rules.merge_adapter, rules.convert_gguf, rules.write_modelfile, rules.write_model_card]
    if study.exports[name].adapter_gguf:
        made.append(rules.convert_adapter_gguf)
    return [
        *expand([rule.output.record for rule in made], export=name),
        *expand(rules.quantize_gguf.output.record, export=name, quant=study.exports[name].quants),
    ]


def evaluation_records(name):
    """The records of an evaluation's jobs."""
    item = study.evaluations[name]
    return [
        *expand(rules.collect_evaluation_prompts.output.record, evaluation=name, prompt_set=item.prompts),
        *expand(rules.answer_subject.output.record, evaluation=name, subject=item.subjects),
        *(f"{file}.record.json" for file in plan.judgements(name).values()),
        *expand([rules.summarise_evaluation.output.record, rules.write_report.output.record], evaluation=name),
    ]


rule estimate:
    """Calls and tokens that the study would need; no call is made."""
    input:
        prompts=expand(rules.collect_prompts.output.prompts, prompts=study.prompts),
        held_out=[
            plan.evaluation_prompts(evaluation, name)
            for evaluation, item in study.evaluations.items()
            for name in item.prompts
        ],
    log:
        "logs/estimate.log",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: plan.recipe_estimate()),
    localrule: True
    script:
        "../scripts/estimate.py"


rule write_lineage_page:
    message:
        "Write the lineage page of the study"
    input:
        records=study_records,
    output:
        page=report(
            "results/provenance/lineage.html",
            category="Provenance",
            labels={"file": "lineage"},
            caption="../data/captions/lineage.rst",
        ),
        record="results/provenance/lineage.html.record.json",
    log:
        "logs/write_lineage_page.log",
    benchmark:
        "logs/benchmarks/write_lineage_page.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"study": study.study}),
        code=code("write_lineage_page.py"),
        software=software("write_lineage_page.py"),
    script:
        "../scripts/write_lineage_page.py"


rule write_crate:
    message:
        "Write the RO-Crate of the study"
    input:
        records=study_records,
        page=rules.write_lineage_page.output.page,
    output:
        crate="results/provenance/ro-crate-metadata.json",
        workflow=expand("results/provenance/workflow/{file}", file=WORKFLOW_FILES),
        record="results/provenance/ro-crate-metadata.json.record.json",
    log:
        "logs/write_crate.log",
    benchmark:
        "logs/benchmarks/write_crate.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        recipe=recipe(lambda wildcards: {"workflow": {name: digest_file(WORKFLOW / name) for name in WORKFLOW_FILES}}),
        code=code("write_crate.py"),
        software=software("write_crate.py"),
    script:
        "../scripts/write_crate.py"


rule provenance:
    """Lineage page and RO-Crate of the whole study."""
    input:
        rules.write_lineage_page.output.page,
        rules.write_crate.output.crate,
