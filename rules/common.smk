# What all rules share: the validated study, wildcard constraints, and the three params that decide rebuilds.
import sys
from pathlib import Path

WORKFLOW = Path(workflow.basedir)
sys.path.insert(0, str(WORKFLOW / "scripts"))

from snakemake.exceptions import WorkflowError

from stillhouse.errors import StillhouseError
from stillhouse.provenance.code import code_digest
from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.layout import ADAPTER_FILES, MODEL_FILES, TOKENIZER_FILES
from stillhouse.provenance.planning import begin_run, check_memory, end_run
from stillhouse.provenance.software import software_versions
from stillhouse.provenance.sources import source_digests
from stillhouse.study.files import link_workflow
from stillhouse.study.plan import load_plan
from stillhouse.study.shares import Part, Shares, slots_resource

try:
    if workflow.is_main_process:
        check_memory()
    link_workflow(Path.cwd(), WORKFLOW)
    plan = load_plan(config, Path.cwd(), WORKFLOW)
except StillhouseError as error:
    raise WorkflowError(f"{type(error).__name__}: {error}") from None

study = plan.study
shares = Shares(study.models, workflow)


def one_of(names):
    """A wildcard constraint that takes exactly these names."""
    import re

    return "|".join(re.escape(name) for name in sorted(names)) or "(?!)"


wildcard_constraints:
    model=one_of(plan.local_models),
    prompts=one_of(study.prompts),
    answers=one_of(study.answers),
    expanded=one_of(plan.expanded()),
    form="sharegpt|alpaca|mlx",
    generation=one_of(study.generations),
    kind="generations|answers",
    scored=one_of(name for name in [*study.generations, *study.answers] if plan.quality_of(name)),
    dataset=one_of(study.datasets),
    adapter=one_of(study.adapters),
    export=one_of(study.exports),
    evaluation=one_of(study.evaluations),
    subject=one_of({name for item in study.evaluations.values() for name in item.subjects}),
    prompt_set=one_of({name for item in study.evaluations.values() for name in item.sets}),
    shard=r"\d+",
    quant=r"Q8_0|Q6_K|Q5_K_M|Q4_K_M|Q3_K_M",


# Each of these starts with its own name: Snakemake compares params as a set of values without names.
def recipe(of):
    """The `recipe` param: canonical JSON of `of(wildcards)`."""
    return lambda wildcards: f"recipe {canonical_json(of(wildcards))}"


def sources(of):
    """The `sources` param: digests of the user's own files among `of(wildcards)`, whatever their time stamps say."""
    return lambda wildcards: f"sources {canonical_json(source_digests(of(wildcards)))}"


def closure(script, asked, told):
    """A param made of the script's import closure by `told`; where a job asks a trained model, with what serves that."""
    own = told(code_digest(WORKFLOW / "scripts" / script))
    if asked is None or not plan.trained_models(list(study.models)):
        return own
    serving = told(code_digest(WORKFLOW / "scripts" / script, serving=True))
    return lambda wildcards: serving if plan.trained_models(asked(wildcards)) else own


def code(script, asked=None):
    """The `code` param: digest of the script's import closure; `asked(wildcards)` are the models that its job asks."""
    return closure(script, asked, lambda found: f"code {found.digest}")


def software(script, asked=None):
    """The `software` param: versions that the closure imports and that can change the result."""
    return closure(script, asked, lambda found: f"software {canonical_json(software_versions(found.imports))}")


def slots(asked, part=lambda wildcards: Part()):
    """Resources: a job's slots of the models with limits among `asked(wildcards)`; `part` says which of how many it is."""

    def of(model):
        return lambda wildcards: shares.slots(model, part(wildcards)) if model in asked(wildcards) else 0

    return {slots_resource(model): of(model) for model in shares}
