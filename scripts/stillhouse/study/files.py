"""Where the files that a study names lie: the working directory first, then the workflow's own folder."""

import difflib
import os
from pathlib import Path

from stillhouse.errors import StudyError
from stillhouse.study.evaluations import Evaluation
from stillhouse.study.faults import nearest
from stillhouse.study.grammars import grammar_fault
from stillhouse.study.references import set_names
from stillhouse.study.study import Study

TEMPLATES = ("critic.j2", "author.j2", "synthesizer.j2", "judge.j2")
"""What a folder of tournament templates holds."""


WORKFLOW_LINK = ".stillhouse/workflow"
"""A link in the working directory to the workflow's folder."""


def link_workflow(working: Path, workflow: Path) -> None:
    """Make the link to the workflow's folder, or point it there again after one of the two was moved.

    Raises `StudyError` where a copy that followed links left a folder in its place.
    """
    link, target = working / WORKFLOW_LINK, os.path.realpath(workflow)
    if os.path.realpath(working) == target or (link.is_symlink() and os.readlink(link) == target):
        return
    if link.is_dir() and not link.is_symlink():
        raise StudyError(f"{link} is a folder, not a link: a copy followed the link. Delete it and run again")
    link.parent.mkdir(exist_ok=True)
    temporary = link.with_name(f"{link.name}.{os.getpid()}.tmp")
    temporary.symlink_to(target)
    os.replace(temporary, link)


class StudyFiles:
    """Looks up paths of a study.

    A file below the working directory is named by its relative path: an absolute one would make Snakemake
    see another set of inputs after the folder was moved. A shipped file is named through `WORKFLOW_LINK` where the
    workflow lies elsewhere, for the same reason.
    """

    def __init__(self, working: Path, workflow: Path) -> None:
        self.working, self.workflow = working.resolve(), workflow.resolve()

    def find(self, path: str) -> str:
        """`path` as the rules name it. A path that leads nowhere is returned as it is."""
        given = Path(path)
        for candidate in (given,) if given.is_absolute() else (self.working / given, self.workflow / given):
            if candidate.exists():
                return self._named(candidate)
        return path

    def _named(self, candidate: Path) -> str:
        plain = Path(os.path.normpath(candidate))
        if plain.is_relative_to(self.working):
            return plain.relative_to(self.working).as_posix()
        if plain.is_relative_to(self.workflow):
            return f"{WORKFLOW_LINK}/{plain.relative_to(self.workflow).as_posix()}"
        return str(candidate)

    def fault(self, key: str, path: str) -> str | None:
        """What is wrong with the file `path` that the key path `key` names; None when nothing is."""
        found = self.working / self.find(path)
        if not path or not found.exists():
            return f"no file {path!r} in the working directory or the workflow's folder{self.nearest(path)}"
        if key.endswith(".templates"):
            missing = [name for name in TEMPLATES if not (found / name).is_file()]
            return f"{path!r} has no {', '.join(missing)}" if missing else None
        if found.is_dir() and not key.endswith(".weights"):
            return f"{path!r} is a folder; expected a file"
        return grammar_fault(found) if key.endswith(".grammar") else None

    def nearest(self, path: str) -> str:
        """A hint at a file of a similar name in the same folder."""
        for root in (self.working, self.workflow):
            folder = (root / path).parent
            if folder.is_dir():
                near = difflib.get_close_matches(Path(path).name, os.listdir(folder), n=1, cutoff=0.6)
                if near:
                    return f"; did you mean {(Path(path).parent / near[0]).as_posix()!r}?"
        return ""


def named_files(study: Study) -> list[tuple[str, str]]:
    """(key path, file) of every file that the study names."""
    found: list[tuple[str, str | None]] = []
    for name, model in study.models.items():
        if model.backend == "llama_cpp" and model.weights != "embedded":
            found.append((f"models.{name}.weights", model.weights))
        if model.backend == "recorded":
            found.append((f"models.{name}.file", model.file))
    found += [(f"prompts.{name}.file", prompts.file) for name, prompts in study.prompts.items()]
    for name, generation in study.generations.items():
        found += [(f"generations.{name}.{key}", getattr(generation, key)) for key in ("system", "grammar")]
        if generation.method == "tournament":
            found.append((f"generations.{name}.tournament.templates", generation.tournament.templates))
    for name, dataset in study.datasets.items():
        for i, source in enumerate(dataset.sources):
            for j, item in enumerate(source.filters):
                path = f"datasets.{name}.sources[{i}].filters[{j}]"
                found += [(f"{path}.{key}", getattr(item, key)) for key in ("without_markers", "with_markers")]
    for name, evaluation in study.evaluations.items():
        found += _evaluation_files(f"evaluations.{name}", evaluation)
    return [(path, file) for path, file in found if file is not None]


def _evaluation_files(path: str, evaluation: Evaluation) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = [(f"{path}.markers", evaluation.markers)]
    found += [(f"{path}.prompts.{key}.file", item.file) for key, item in evaluation.prompts.items()]
    for key, subject in evaluation.subjects.items():
        for part in ("system", "wrap", "grammar", "recorded"):
            found.append((f"{path}.subjects.{key}.{part}", getattr(subject, part)))
        found += [(f"{path}.subjects.{key}.context[{i}]", file) for i, file in enumerate(subject.context)]
    if evaluation.breaks:
        found.append((f"{path}.breaks.patterns", evaluation.breaks.patterns))
    if evaluation.rubric:
        found.append((f"{path}.rubric.file", evaluation.rubric.file))
        found += [(f"{path}.rubric.recorded.{key}", file) for key, file in evaluation.rubric.recorded.items()]
    if evaluation.pairwise:
        found.append((f"{path}.pairwise.recorded", evaluation.pairwise.recorded))
    return found


def missing_files(study: Study, files: StudyFiles) -> list[str]:
    """A line for every file that the study names and that is not there, or is something else."""
    return [f"{path}: {fault}" for path, file in named_files(study) if (fault := files.fault(path, file)) is not None]


def prompt_files(study: Study) -> list[str]:
    """Files of all prompt sets as the study writes them, those of the evaluations too."""
    held_out = [item.file for evaluation in study.evaluations.values() for item in evaluation.sets.values()]
    return list(dict.fromkeys([*(prompts.file for prompts in study.prompts.values()), *held_out]))


def unknown_sources(study: Study, files: StudyFiles) -> list[str]:
    """A line for every entry of `exclude.sources` that is neither a prompt set of the study nor a file of one."""
    names, written = set_names(study), prompt_files(study)
    found = {files.find(file) for file in written}
    return [
        f"exclude.sources[{number}]: {entry!r} is no prompt set and no file of one{nearest(entry, [*names, *written])}"
        for number, entry in enumerate(study.exclude.sources)
        if entry not in names and files.find(entry) not in found
    ]
