"""Is anything left of the prompts that the study's `exclude` takes down? Searches everything below results/.

python scripts/takedown.py                       the study of config/config.yaml, results/ of this folder
python scripts/takedown.py --configfile my.yaml --directory my-study
python scripts/takedown.py --purge               remove their calls from the ledger and their files from the store
"""

import argparse
import os
import sys
from itertools import groupby
from pathlib import Path

import yaml

from stillhouse.errors import StillhouseError, StudyError
from stillhouse.prompts.collect import CollectSettings
from stillhouse.prompts.takedown import Findings, check_takedown, purge
from stillhouse.prompts.taken import SetSource
from stillhouse.provenance.owner import lock_held
from stillhouse.study.files import link_workflow
from stillhouse.study.plan import Plan, load_plan

WORKFLOW = Path(__file__).resolve().parents[1]
KINDS = {"answer": "an answer to it", "prompt": "its text", "row": "a row about it"}


def main() -> int:
    """Entry point; 0 when no artefact holds anything of them, 1 when one does or the check could not be made."""
    arguments = _arguments()
    try:
        config = _config(Path(arguments.configfile or WORKFLOW / "config/config.yaml"))
        os.chdir(arguments.directory)
        link_workflow(Path.cwd(), WORKFLOW)
        plan = load_plan(config, Path.cwd(), WORKFLOW)
        ledger = Path(plan.study.ledger)
        findings = check_takedown(_sources(plan), plan.study.exclude, Path(), ledger)
        _tell(findings)
        if arguments.purge:
            return _purge(findings, ledger)
    except (StillhouseError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 1 if findings.leaks else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Is anything left of the prompts that `exclude` takes down?")
    parser.add_argument("--configfile", help="the study (default: the workflow's config/config.yaml)")
    parser.add_argument("--directory", default=".", help="the folder that holds results/ (default: here)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--check", action="store_true", help="only look (the default)")
    kind.add_argument("--purge", action="store_true", help="also remove their calls from the ledger and the store")
    return parser.parse_args()


def _config(file: Path) -> dict:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"{file}: {error}") from None


def _sources(plan: Plan) -> list[SetSource]:
    """All prompt sets of the study, those with answers too, as their rules read them."""
    study = plan.study
    files = [(plan.prompts_files(name), plan.recipe_prompts(name)) for name in study.prompts]
    files += [(plan.answers_files(name), plan.recipe_answers(name)) for name in study.answers]
    files += [
        ([plan.evaluation_prompts_file(evaluation, name)], plan.recipe_evaluation_prompts(evaluation, name))
        for evaluation, item in study.evaluations.items()
        for name in item.prompts
    ]
    return [SetSource([Path(one) for one in own], CollectSettings.model_validate(recipe)) for own, recipe in files]


def _tell(findings: Findings) -> None:
    taken = findings.taken
    for key, entry in taken.idle():
        print(f"warning: exclude.{key} {entry!r} matches no prompt in any file, artefact or call")
    for identity, place in sorted(taken.staying().items()):
        print(f"warning: prompt {identity} is taken out of one set and stays as {place}; its prompt_id takes out both")
    for (file, identity), leaks in groupby(findings.leaks, lambda leak: (leak.file, leak.prompt_id)):
        names = ", ".join(sorted(taken.prompts[identity])) or "in no file any more"
        print(f"LEFT {file}: prompt {identity} ({names}): {', '.join(KINDS[leak.kind] for leak in leaks)}")
    if findings.ledger:
        calls, files = sum(findings.ledger.values()), len(findings.ledger)
        print(f"ledger: {calls} calls about them in {files} files until --purge")
    if findings.store:
        print(f"store: {len(findings.store)} entries hold them until --purge")
    where = f"{findings.searched} files below results/"
    if findings.leaks:
        files = len({leak.file for leak in findings.leaks})
        print(
            f"{len(taken.prompts)} prompts are taken down, and {files} of {where} hold something of them: rebuild first"
        )
    else:
        print(f"{len(taken.prompts)} prompts are taken down, and nothing of them is in {where}")


def _purge(findings: Findings, ledger: Path) -> int:
    if findings.leaks:
        print("nothing was purged: artefacts still need those calls", file=sys.stderr)
        return 1
    if lock_held():
        print("nothing was purged: Snakemake's lock is held, so a run may be writing to the ledger", file=sys.stderr)
        return 1
    done = purge(findings, ledger)
    print(f"purged: {done.calls} calls out of {done.files} files of the ledger, {done.entries} entries of the store")
    return 0


if __name__ == "__main__":
    sys.exit(main())
