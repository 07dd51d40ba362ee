"""What each role of a tournament is asked, out of Jinja templates that a study can replace."""

import re
from pathlib import Path

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from stillhouse.errors import InputError
from stillhouse.llm.requests import Message

ROLES = ("critic", "author", "synthesizer", "judge")
FILES = tuple(f"{role}.j2" for role in ROLES)


class Templates:
    """The templates' texts by role; rendered with the prompt and what the role may see.

    Raises `InputError` when one cannot be parsed.
    """

    def __init__(self, texts: dict[str, str]) -> None:
        environment = SandboxedEnvironment(
            undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
        )
        self._templates: dict[str, Template] = {}
        for role, text in texts.items():
            try:
                self._templates[role] = environment.from_string(text)
            except TemplateError as error:
                raise InputError(f"template {role}.j2: {error}") from error

    def messages(self, role: str, **values: object) -> list[Message]:
        """One user message for `role`; raises `InputError` when the template asks for what is not there."""
        try:
            text = self._templates[role].render(**values)
        except TemplateError as error:
            raise InputError(f"template {role}.j2: {error}") from error
        return [{"role": "user", "content": text.strip()}]


def load_templates(files: list[Path]) -> Templates:
    """Read the four templates; raises `InputError` naming one that is missing."""
    by_name = {file.name: file for file in files}
    texts = {}
    for role in ROLES:
        file = by_name.get(f"{role}.j2")
        if file is None or not file.is_file():
            raise InputError(f"tournament template {role}.j2 is missing")
        texts[role] = file.read_text(encoding="utf-8")
    return Templates(texts)


def no_flaws(critique: str) -> bool:
    """Whether the critic's whole reply is NO FLAWS; a sentence that contains it does not count."""
    return re.fullmatch(r"[\s*_`\"'#>]*no\s+flaws[\s.!*_`\"']*", critique, re.IGNORECASE) is not None
