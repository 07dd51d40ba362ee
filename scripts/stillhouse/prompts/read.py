"""The prompts of single files."""

from pathlib import Path
from typing import Any

from stillhouse.prompts.collect import collect
from stillhouse.prompts.fetch import rows_of
from stillhouse.prompts.settings import CollectSettings


def read_prompts(file: Path, set_name: str, *, recorded: bool = False) -> list[dict[str, Any]]:
    """The prompts of a file, sorted by prompt_id.

    With `recorded` the lines may be recorded answers: their answers are left aside, and a prompt counts once.

    Raises `InputError` that names file and line for broken JSON, an empty prompt, and doubled ids or prompts.
    """
    return list(rows_of(collect([file], CollectSettings(set=set_name, recorded=recorded)).kept))
