"""Where the files that a study names lie: the working directory first, then the workflow's own folder."""

import difflib
import glob
import os
from pathlib import Path

from stillhouse.errors import StudyError
from stillhouse.study.evaluations import Evaluation
from stillhouse.study.faults import nearest
from stillhouse.study.generations import Generation
from stillhouse.study.grammars import grammar_fault
from stillhouse.study.prompt_sets import PromptSet
from stillhouse.study.quality import Quality
from stillhouse.study.references import set_names
from stillhouse.study.study import Study

TEMPLATES = ("critic.j2", "author.j2", "synthesizer.j2", "judge.j2")
"""What a folder of tournament templates holds."""


CORPUS_ENDINGS = (".md", ".txt", ".rst")
"""Texts that are read of a folder with a corpus."""

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

    def find_all(self, pattern: str) -> list[str]:
        """Files that a path or a pattern of names (`*`, `?`, `[...]`, `**`) leads to, sorted, of the first folder with any."""
        if not is_pattern(pattern) or os.path.lexists(self.working / self.find(pattern)):
            return [self.find(pattern)]
        roots = (Path("/"),) if Path(pattern).is_absolute() else (self.working, self.workflow)
        for root in roots:
            found = sorted(glob.glob(str(root / pattern), recursive=True))
            if files := [self._named(Path(file)) for file in found if os.path.isfile(file)]:
                return files
        return []

    def find_below(self, folder: str) -> list[str]:
        """Every file below a folder, sorted, without hidden ones; none where it is no folder."""
        found = self.working / self.find(folder)
        if not found.is_dir():
            return []
        files = sorted(file for file in found.rglob("*") if file.is_file())
        return [
            self._named(file) for file in files if not any(part[0] == "." for part in file.relative_to(found).parts)
        ]

    def find_corpus(self, corpus: str) -> list[str]:
        """Texts of a corpus: a file, the texts below a folder, or what a pattern leads to."""
        if (self.working / self.find(corpus)).is_dir():
            return [file for file in self.find_below(corpus) if Path(file).suffix in CORPUS_ENDINGS]
        return self.find_all(corpus)

    def corpus_root(self, corpus: str) -> str:
        """The folder that names of single texts are relative to: the corpus, a file's folder, or a pattern's fixed part."""
        if (self.working / self.find(corpus)).is_dir():
            return self.find(corpus)
        fixed = []
        for part in Path(corpus).parent.parts:
            if is_pattern(part):
                break
            fixed.append(part)
        return self.find(str(Path(*fixed))) if fixed else "."

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
        if _takes_patterns(key) and is_pattern(path) and not found.exists():
            missed = f"no file matches {path!r} in the working directory or the workflow's folder"
            return None if self.find_all(path) else missed
        if not path or not found.exists():
            return f"no file {path!r} in the working directory or the workflow's folder{self.nearest(path)}"
        if key.endswith(".tournament.templates"):
            missing = [name for name in TEMPLATES if not (found / name).is_file()]
            return f"{path!r} has no {', '.join(missing)}" if missing else None
        if found.is_dir() and key.endswith(".corpus"):
            return None if self.find_corpus(path) else f"{path!r} has no text ({', '.join(CORPUS_ENDINGS)})"
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


def is_pattern(path: str) -> bool:
    """Whether a path may stand for several files."""
    return any(sign in path for sign in "*?[")


def _takes_patterns(key: str) -> bool:
    return key.startswith(("prompts.", "answers.")) and key.endswith(".file") or key.endswith(".context.corpus")


def named_files(study: Study) -> list[tuple[str, str]]:
    """(key path, file) of every file that the study names."""
    found: list[tuple[str, str | None]] = []
    for name, model in study.models.items():
        if model.backend == "llama_cpp" and model.weights != "embedded":
            found.append((f"models.{name}.weights", model.weights))
        if model.backend == "recorded":
            found.append((f"models.{name}.file", model.file))
    for name, prompts in study.prompts.items():
        found += _prompt_files(f"prompts.{name}", prompts)
    for name, answers in study.answers.items():
        found.append((f"answers.{name}.file", answers.file))
        found += _quality_files(f"answers.{name}", answers.quality)
    for name, generation in study.generations.items():
        found += _generation_files(f"generations.{name}", generation)
    for name, dataset in study.datasets.items():
        for i, source in enumerate(dataset.sources):
            for j, item in enumerate(source.filters):
                path = f"datasets.{name}.sources[{i}].filters[{j}]"
                found += [(f"{path}.{key}", file) for key, file in item.files.items()]
    for name, evaluation in study.evaluations.items():
        found += _evaluation_files(f"evaluations.{name}", evaluation)
    return [(path, file) for path, file in found if file is not None]


def _prompt_files(path: str, prompts: PromptSet) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = [(f"{path}.file", prompts.file)]
    if prompts.expand is not None:
        found += [(f"{path}.expand.{key}", getattr(prompts.expand, key)) for key in ("templates", "instructions")]
        if isinstance(prompts.expand.domains, str):
            found.append((f"{path}.expand.domains", prompts.expand.domains))
    return found


def _generation_files(path: str, generation: Generation) -> list[tuple[str, str | None]]:
    found = [(f"{path}.{key}", getattr(generation, key)) for key in ("system", "grammar")]
    if generation.method == "tournament":
        found.append((f"{path}.tournament.templates", generation.tournament.templates))
    if generation.method == "dialogue":
        found.append((f"{path}.dialogue.system", generation.dialogue.system))
    if generation.context is not None:
        found += [(f"{path}.context.{key}", getattr(generation.context, key)) for key in ("corpus", "template")]
    return found + _quality_files(path, generation.quality)


def _quality_files(path: str, quality: Quality | None) -> list[tuple[str, str | None]]:
    return [(f"{path}.quality.template", quality.template)] if quality else []


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
    found = [f"{path}: {fault}" for path, file in named_files(study) if (fault := files.fault(path, file)) is not None]
    for name, prompts in study.prompts.items():
        if prompts.hub and prompts.hub.revision is None and not files.find_below(prompts.hub.name):
            found.append(
                f"prompts.{name}.hub: no folder {prompts.hub.name!r}; a dataset of the hub needs `revision`, a commit, "
                "so that it stays the same"
            )
    return found


def prompt_files(study: Study) -> list[str]:
    """Files of all prompt sets as the study writes them, those with answers and those of the evaluations too."""
    held_out = [item.file for evaluation in study.evaluations.values() for item in evaluation.sets.values()]
    own = [prompts.file or (prompts.hub and prompts.hub.name) for prompts in study.prompts.values()]
    answered = [answers.file for answers in study.answers.values()]
    return list(dict.fromkeys([*filter(None, own), *answered, *held_out]))


def unknown_sources(study: Study, files: StudyFiles) -> list[str]:
    """A line for every entry of `exclude.sources` that is neither a prompt set of the study nor a file of one."""
    names, written = set_names(study), prompt_files(study)
    found = {files.find(file) for file in written}
    return [
        f"exclude.sources[{number}]: {entry!r} is no prompt set and no file of one{nearest(entry, [*names, *written])}"
        for number, entry in enumerate(study.exclude.sources)
        if entry not in names and files.find(entry) not in found
    ]
