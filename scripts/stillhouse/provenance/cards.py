"""Cards as the Hugging Face hub reads them: YAML front matter over markdown, with the parts that all cards share."""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import DictLoader, Environment, StrictUndefined

WORKFLOW = Path(__file__).resolve().parents[3]
PARTS = {"flow": "data/cards/flow.md.j2", "parties": "data/cards/parties.md.j2"}
"""Templates that a card may include, by the name that it calls them."""


def render_card(template: str, front: dict[str, Any], values: dict[str, Any]) -> str:
    """A card out of a template below the workflow's folder; `front` becomes the front matter."""
    parts = {name: (WORKFLOW / path).read_text(encoding="utf-8") for name, path in PARTS.items()}
    environment = Environment(
        loader=DictLoader(parts), undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters.update(cell=cell, answer=answer)
    metadata = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=10_000)
    text = (WORKFLOW / template).read_text(encoding="utf-8")
    return environment.from_string(text).render(values, metadata=metadata, front=front)


def cell(value: object) -> str:
    """Text in one cell of a table: no line breaks, no column signs, no tags."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def answer(value: bool | None) -> str:
    """A yes or no of the terms, or that they do not say it."""
    return "not said" if value is None else "yes" if value else "no"
