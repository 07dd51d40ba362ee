"""What an expansion starts from: templates with placeholders, domains, and the words in which a model is asked."""

import json
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from stillhouse.errors import InputError
from stillhouse.llm.requests import Message
from stillhouse.llm.words import words_of
from stillhouse.provenance.digests import digest_text

PLACEHOLDER = re.compile(r"\{([A-Z][A-Z0-9_ -]*)\}")
"""A part of a template that a model fills: capitals in curly brackets."""

_GROUP = r"\{(?:[^{}]|\{[^{}]*\})*\}"
LATEX = re.compile(
    rf"\\[A-Za-z]+\*?(?:\[[^\[\]{{}}]*\])?(?:[_^]?{_GROUP})+|(?<![A-Za-z0-9_])[A-Za-z]_{_GROUP}|\^{_GROUP}(?:_{_GROUP})?"
)
"""What stands in curly brackets in mathematics: arguments of commands, powers, and the index of a letter."""

SLUG = 40
OWN_KEYS = ("id", "template", "category")
ROW_KEYS = ("prompt", "messages", "domain", "call")
"""Keys that an expanded prompt has of its own, which a template's line cannot give."""


@dataclass(frozen=True)
class Seed:
    """A template: its text, and what its prompts inherit (id, category, any other key of its line)."""

    id: str
    text: str
    category: str | None = None
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def placeholders(self) -> list[str]:
        """Names of the placeholders, each once, as they come."""
        return list(dict.fromkeys(PLACEHOLDER.findall(without_latex(self.text))))


def without_latex(text: str) -> str:
    """`text` without what looks like placeholders in mathematics, as in `\\mathbb{R}`."""
    return LATEX.sub(" ", text)


def normal_form(text: str) -> str:
    """What two prompts are compared by: words with their marks in one case, without punctuation and layout."""
    return " ".join(words_of(unicodedata.normalize("NFKC", text).casefold()))


def slug(text: str) -> str:
    """A name for ids: small letters and digits of any script, joined by dashes; a long one ends with a digest."""
    name = "-".join(words_of(text.casefold()))
    return name if len(name) <= SLUG else f"{name[:SLUG].strip('-')}-{digest_text(text)[:8]}"


def read_templates(file: Path) -> list[Seed]:
    """The templates of a file: JSONL `{"template", "id"?, "category"?, ...}`, or plain text, one a line.

    Without an id a template is named by a digest of its text. Raises `InputError` naming file and line for a template
    without a placeholder, broken JSON, and doubled ids or texts.
    """
    seeds: list[Seed] = []
    seen: dict[str, int] = {}
    for number, line in _lines(file):
        seed = _seed(f"{file} line {number}", line)
        for kind, name in (("id", seed.id), ("template", normal_form(seed.text))):
            if (first := seen.setdefault(f"{kind} {name}", number)) != number:
                raise InputError(f"{file} line {number}: the {kind} {name!r} was in line {first} already")
        seeds.append(seed)
    if not seeds:
        raise InputError(f"{file}: no templates in it")
    return seeds


def _seed(place: str, line: str) -> Seed:
    entry: Any = {"template": line}
    if re.match(r'\{\s*"', line):  # a line of text may begin with a placeholder
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise InputError(f"{place}: not JSON ({error})") from None
    text = entry.get("template")
    if not isinstance(text, str) or not PLACEHOLDER.search(without_latex(text)):
        raise InputError(f'{place}: expected "template": text with a {{PLACEHOLDER}} in capitals; found {text!r}')
    for key in ("id", "category"):
        if entry.get(key) is not None and not isinstance(entry[key], str | int):
            raise InputError(f"{place}: {key} must be text, found {entry[key]!r}")
    if wrong := sorted(entry.keys() & set(ROW_KEYS)):
        raise InputError(f"{place}: {', '.join(wrong)}: its prompts have that of their own")
    identity = entry.get("id")
    return Seed(
        id=digest_text(text)[:8] if identity in (None, "") else str(identity),
        text=text.strip(),
        category=None if entry.get("category") is None else str(entry["category"]),
        others={key: value for key, value in entry.items() if key not in OWN_KEYS},
    )


def read_domains(file: Path) -> list[str]:
    """The domains of a text file, one a line. Raises `InputError` when there are none."""
    domains = [line for _, line in _lines(file)]
    if not domains:
        raise InputError(f"{file}: no domains in it")
    return domains


def check_domains(domains: list[str]) -> list[str]:
    """`domains` without space around them; raises `InputError` when one is empty or two would have the same ids."""
    seen: dict[str, str] = {}
    for domain in domains:
        if not (name := slug(domain)):
            raise InputError(f"expand.domains: {domain!r} has no word in it")
        if name in seen:
            raise InputError(f"expand.domains: {seen[name]!r} and {domain!r} are the same to the ids of prompts")
        seen[name] = domain
    return [domain.strip() for domain in domains]


def _lines(file: Path) -> list[tuple[int, str]]:
    """Lines with something in them, with their numbers from 1."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} line {file.read_bytes()[: error.start].count(10) + 1}: not UTF-8") from error
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


class Instructions:
    """The words in which prompts are asked for: a Jinja template that is given `template`, `domain`, `count`,
    `placeholders` and `found` (prompts that exist already).

    Raises `InputError` when it cannot be parsed, or shows neither template nor domain.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        environment = SandboxedEnvironment(
            undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
        )
        try:
            self._template: Template = environment.from_string(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}") from error
        except (TemplateError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: {error}") from error
        probe, domain = Seed("probe", "the {TEMPLATE} stands here"), "the domain stands here"
        told = self.messages(probe, domain, 1, ["a prompt stands here"])[0]["content"]
        if probe.text not in told or domain not in told:
            raise InputError(f"{file}: it must show {{{{ template }}}} and {{{{ domain }}}}")

    def messages(self, seed: Seed, domain: str, count: int, found: list[str]) -> list[Message]:
        """The request for `count` prompts; raises `InputError` when the template asks for what is not there."""
        values = {"template": seed.text, "domain": domain, "count": count, "found": found}
        try:
            text = self._template.render(**values, placeholders=seed.placeholders)
        except TemplateError as error:
            raise InputError(f"{self._file}: {error}") from error
        return [{"role": "user", "content": text.strip()}]
