"""Renders the typed study for people and editors: docs/study.md and config/schema.json.

Types, defaults, bounds and meanings come from the pydantic classes; prose and worked examples stand in
docs/templates/study.md.j2.
"""

import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import annotated_types
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stillhouse.study.base import NAME_PATTERN, Section
from stillhouse.study.study import Study

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SHARED = "shared"
NOTICE = "Written by `make docs` from scripts/stillhouse/study/ and docs/templates/study.md.j2. Do not edit."

# What a validator takes besides the annotation, in words; `schema` below says the same to editors.
ALSO_TAKES = {("Evaluation", "prompts"): "map of name to a file, or to "}


@dataclass(frozen=True)
class Place:
    """A class of the study and where it stands in the YAML, as `datasets.NAME.sources[]`."""

    section: type[Section]
    path: str
    top: str


# --- the tables ------------------------------------------------------------------------------------------------------


def places() -> list[Place]:
    """Every class of the study once, in the study's order; one that several sections use stands under `shared`."""
    found = list(_walk(Study, "", ""))
    users: dict[type[Section], list[Place]] = {}
    for place in found:
        users.setdefault(place.section, []).append(place)
    kept = []
    for section, uses in users.items():
        top = uses[0].top if len({use.top for use in uses}) == 1 else SHARED
        path = uses[0].path if len(uses) == 1 else ", ".join(dict.fromkeys(f"`{use.path}`" for use in uses))
        kept.append(Place(section, path, top))
    return kept


def _walk(section: type[Section], path: str, top: str) -> Iterator[Place]:
    yield Place(section, path, top)
    for name, field in section.model_fields.items():
        here = f"{path}.{name}" if path else name
        for inner, steps in _sections_in(field.annotation):
            yield from _walk(inner, here + steps, top or name)


def _sections_in(annotation: Any, steps: str = "") -> Iterator[tuple[type[Section], str]]:
    """(class, path below the key) of every section class inside an annotation."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, steps
    elif origin is dict:
        yield from _sections_in(arguments[1], f"{steps}.NAME")
    elif origin is list:
        yield from _sections_in(arguments[0], f"{steps}[]")
    elif origin is typing.Annotated:
        yield from _sections_in(arguments[0], steps)
    else:
        for argument in arguments:
            yield from _sections_in(argument, steps)


def tables(top: str) -> str:
    """Markdown tables of all classes below one top-level section (`""`: the study itself)."""
    return "\n\n".join(_table(place) for place in places() if place.top == top)


def heading(place: Place) -> str:
    """Text of a table's heading."""
    if backend := _backend(place.section):
        return f"{place.path}, backend {backend}"
    if place.top == SHARED:
        return f"{_words(place.section)} (shared)"
    return place.path or "The study"


def _table(place: Place) -> str:
    where = f"Used as {place.path}. " if place.top == SHARED else ""
    lines = [f"### {heading(place)}", "", where + _docstring(place.section), ""]
    lines += ["| key | type | default | what it does |", "| --- | --- | --- | --- |"]
    lines += [_row(place.section, name, field) for name, field in place.section.model_fields.items()]
    return "\n".join(lines)


def _row(section: type[Section], name: str, field: FieldInfo) -> str:
    told = ALSO_TAKES.get((section.__name__, name))
    inner = next(_sections_in(field.annotation), None)
    kind = f"{told}{_link(inner[0])}" if told and inner else type_in_words(field.annotation, field.metadata)
    cells = (f"`{name}`", kind, default_in_words(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _docstring(section: type[Section]) -> str:
    return " ".join((inspect.getdoc(section) or "").split())


def _backend(section: type[Section]) -> str | None:
    """The backend that a class of models stands for."""
    field = section.model_fields.get("backend")
    return typing.get_args(field.annotation)[0] if field else None


def _words(section: type[Section]) -> str:
    """`NearDuplicates` -> near duplicates; a class of models is known by its backend."""
    if backend := _backend(section):
        return f"{backend} model"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", section.__name__).lower()


def _link(section: type[Section]) -> str:
    place = next(place for place in places() if place.section is section)
    return f"[{_words(section)}](#{anchor(heading(place))})"


def anchor(text: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


# --- types and defaults in words -------------------------------------------------------------------------------------


def type_in_words(annotation: Any, constraints: typing.Sequence[Any] = ()) -> str:
    """A type as a user reads it: `whole number, at least 1`, `list of name`, a link for a section."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_in_words(arguments[0], [*_plain_constraints(arguments[1:]), *constraints])
    if origin is Literal:
        return " or ".join(f"`{_yaml(value)}`" for value in arguments)
    if origin is typing.Union or isinstance(annotation, types.UnionType):
        return _union(arguments, constraints)
    if origin is list:
        item = type_in_words(arguments[0])
        return f"list of {item}{'s' if item in ('name', 'text') else ''}{_size(constraints)}"
    if origin is tuple:
        return f"`[{', '.join(type_in_words(argument) for argument in arguments)}]`"
    if origin is dict:
        return f"map of name to {type_in_words(arguments[1])}{_size(constraints)}"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return _link(annotation)
    return _scalar(annotation, constraints)


def _union(arguments: tuple[Any, ...], constraints: typing.Sequence[Any]) -> str:
    named = [type_in_words(argument, constraints) for argument in arguments if argument is not type(None)]
    return " or ".join(dict.fromkeys(named)) + (", or `null`" if type(None) in arguments else "")


def _plain_constraints(metadata: typing.Sequence[Any]) -> list[Any]:
    """Constraints with those that a `Field(...)` inside Annotated carries."""
    flat: list[Any] = []
    for item in metadata:
        flat.extend(item.metadata if isinstance(item, FieldInfo) else [item])
    return flat


def _scalar(annotation: type, constraints: typing.Sequence[Any]) -> str:
    pattern = next((found for item in constraints if (found := getattr(item, "pattern", None))), None)
    if annotation is str:
        if pattern == NAME_PATTERN:
            return "name"
        choices = re.fullmatch(r"\^\((\w+(?:\|\w+)*)\)\$", pattern or "")
        if choices:
            return " or ".join(f"`{choice}`" for choice in choices[1].split("|"))
        return f"text like `{pattern}`" if pattern else "text"
    words = {int: "whole number", float: "number", bool: "`true` or `false`"}[annotation]
    return ", ".join([words, *_bounds(constraints)])


def _bounds(constraints: typing.Sequence[Any]) -> list[str]:
    """Bounds in words; of two lower bounds the strict one counts (a share that must not be 0)."""
    low = high = None
    for item in constraints:
        if isinstance(item, annotated_types.Ge):
            low = low or f"at least {item.ge:g}"
        elif isinstance(item, annotated_types.Gt):
            low = f"above {item.gt:g}"
        elif isinstance(item, annotated_types.Le):
            high = high or f"at most {item.le:g}"
        elif isinstance(item, annotated_types.Lt):
            high = f"below {item.lt:g}"
    return [bound for bound in (low, high) if bound]


def _size(constraints: typing.Sequence[Any]) -> str:
    least = [item.min_length for item in constraints if isinstance(item, annotated_types.MinLen)]
    return f", {least[0]} at least" if least else ""


def default_in_words(field: FieldInfo) -> str:
    """The default as YAML, `required` where there is none; of a section only what differs from its own defaults."""
    if field.default is PydanticUndefined:
        return "required"
    value = field.default
    if isinstance(value, Section):
        changed = value.model_dump(exclude_unset=True)
        return f"`{_yaml(changed)}`" if changed else "its defaults"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).replace("\n...", "").strip()


# --- the page and the schema -----------------------------------------------------------------------------------------


def study_page(template: Path) -> str:
    """docs/study.md: the template's prose and examples with the tables put in."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    page = environment.from_string(template.read_text(encoding="utf-8"))
    return page.render(tables=tables, notice=NOTICE, shared=SHARED)


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a study, with what validators take and refuse beyond the annotations."""
    plain = _closed(_without_titles(Study.model_json_schema()))
    definitions = plain["$defs"]
    held_out = definitions["Evaluation"]["properties"]["prompts"]
    _either(_entries(held_out), {"type": "string", "description": "file of the prompts"})
    definitions["Filter"].update(minProperties=1, maxProperties=1)
    kinds = ("model", "adapter", "export", "recorded")
    definitions["Subject"]["oneOf"] = [{"required": [kind]} for kind in kinds]
    for place in places():
        _allow_empty_parts(place.section, plain if place.section is Study else definitions[place.section.__name__])
    return {"$schema": DIALECT, "title": "Stillhouse study", **plain}


def _allow_empty_parts(section: type[Section], definition: dict[str, Any]) -> None:
    """`lora:` with nothing below it means the part's defaults; an editor must not complain."""
    for name, field in section.model_fields.items():
        if isinstance(field.default, Section | dict):
            entry = definition["properties"][name]
            told = {key: entry.pop(key) for key in ("description", "default") if key in entry}
            definition["properties"][name] = {**told, "anyOf": [entry, {"type": "null"}]}


def _entries(mapping: dict[str, Any]) -> dict[str, Any]:
    """Of a schema of named things the part that says what a value is."""
    return mapping["patternProperties"][NAME_PATTERN]


def _either(entry: dict[str, Any], other: dict[str, Any]) -> None:
    kept = dict(entry)
    entry.clear()
    entry["anyOf"] = [other, kept]


def _closed(node: Any) -> Any:
    """Refuse names that do not match the pattern for names; pydantic leaves them unchecked in the schema."""
    if isinstance(node, dict):
        closed = {key: _closed(value) for key, value in node.items()}
        return (
            {**closed, "additionalProperties": False} if NAME_PATTERN in node.get("patternProperties", {}) else closed
        )
    return [_closed(item) for item in node] if isinstance(node, list) else node


def _without_titles(node: Any) -> Any:
    """pydantic's titles repeat the keys; `title` as the name of a property stays."""
    if isinstance(node, dict):
        return {
            key: {name: _without_titles(item) for name, item in value.items()}
            if key in ("properties", "$defs", "patternProperties")
            else _without_titles(value)
            for key, value in node.items()
            if key != "title"
        }
    return [_without_titles(item) for item in node] if isinstance(node, list) else node
