"""The user's own filter: a Python function over one row, out of a file that the study names."""

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from stillhouse.datasets.filters.base import Answer
from stillhouse.errors import InputError

ROW_COLUMNS = (
    *("prompt_id", "set", "id", "category", "difficulty", "prompt", "messages", "metadata", "generation", "method"),
    *("model", "answer", "reasoning", "draft", "truncated", "converged", "rounds", "winners", "transcript", "calls"),
    *("answer_call", "sample", "tools", "context"),
)
"""What the function finds in its row. `messages`, `metadata`, `transcript`, `tools` and `context` are JSON texts."""


@dataclass(frozen=True)
class PythonFilter:
    """Keeps the rows for which the user's function returns True.

    `named` is `file.py:function` as artefacts may tell it. The function is given a dict of `ROW_COLUMNS` of its
    own and returns True or False; anything else, or an exception, is an `InputError` that names file and row.
    """

    named: str
    function: Callable[[dict], object]
    reason = "python"
    columns = ROW_COLUMNS

    @property
    def label(self) -> str:
        return f"python: {self.named}"

    def keep(self, row: Answer) -> bool:
        where = f"{self.named}: row {row.get('set')}/{row.get('id')} (prompt {row.get('prompt_id')})"
        try:
            answer = self.function(dict(row))
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"line {last.lineno} of {Path(last.filename).name}"
            raise InputError(f"{where}: the filter raised {type(error).__name__}: {error} ({place})") from None
        if not isinstance(answer, bool):
            raise InputError(f"{where}: the filter returned {answer!r:.80}, expected True or False")
        return answer


class _FileLoader(SourceLoader):
    """Imports one file as it is now: no compiled copy is read, and none is left beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        return Path(str(path)).read_bytes()


def load_function(path: Path, name: str) -> Callable[[dict], object]:
    """The function `name` of the Python file `path`, which is run once for it; other files are not on its path.

    Raises `InputError` when the file is missing, cannot be run, or has no such function.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file with a filter")
    spec = spec_from_loader(f"stillhouse_filter_{path.stem}", _FileLoader(path))
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: not Python: {error.msg}") from None
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(f"{path}: cannot be loaded: {type(error).__name__}: {error} (line {last.lineno})") from None
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"{path}: there is no function {name!r}")
    return function
