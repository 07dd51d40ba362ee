# Provenance: what a study would cost, before a call is made.


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
