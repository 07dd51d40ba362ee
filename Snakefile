# Stillhouse: a table of contents. The study decides what is built, rules/ say how.
from snakemake.utils import min_version

min_version("9.20")


# Snakemake merges config files: with a study of the user's own, the default one must not be read.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config/config.yaml"


include: "rules/common.smk"
include: "rules/models.smk"
include: "rules/prompts.smk"
include: "rules/generations.smk"
include: "rules/datasets.smk"
include: "rules/adapters.smk"
include: "rules/exports.smk"
include: "rules/evaluations.smk"
include: "rules/provenance.smk"


rule all:
    """Everything that the study names (the default target)."""
    default_target: True
    input:
        rules.generations.input,
        rules.datasets.input,
        rules.adapters.input,
        rules.exports.input,
        rules.evaluations.input,


# Snakemake's memory must not outlive a job that failed or was killed.
onstart:
    begin_run(workflow)
    shares.announce()


onsuccess:
    end_run(workflow)


onerror:
    end_run(workflow)
