"""Where the files that a study names lie: the working directory first, then the workflow's own folder."""

import difflib
import os
from pathlib import Path

from stillhouse.study.study import Study

TEMPLATES = ("critic.j2", "author.j2", "synthesizer.j2", "judge.j2")
"""What a folder of tournament templates holds."""


class StudyFiles:
    """Looks up paths of a study.

    A file below the working directory is named by its relative path: an absolute one would make Snakemake
    see another set of inputs after the folder was moved.
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
        try:
            return Path(os.path.normpath(candidate)).relative_to(self.working).as_posix()
        except ValueError:
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
        return None

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
        path = f"evaluations.{name}"
        found += [(f"{path}.prompts.{key}.file", item.file) for key, item in evaluation.prompts.items()]
        found += [(f"{path}.markers", evaluation.markers)]
        found += [(f"{path}.rubric.file", evaluation.rubric.file)] if evaluation.rubric else []
        for key, subject in evaluation.subjects.items():
            for part in ("system", "grammar", "recorded"):
                found.append((f"{path}.subjects.{key}.{part}", getattr(subject, part)))
    return [(path, file) for path, file in found if file is not None]


def missing_files(study: Study, files: StudyFiles) -> list[str]:
    """A line for every file that the study names and that is not there, or is something else."""
    return [f"{path}: {fault}" for path, file in named_files(study) if (fault := files.fault(path, file)) is not None]
