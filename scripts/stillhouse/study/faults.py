"""Words for what pydantic found wrong: key path, what was expected, what was found; no jargon, and no values of keys."""

import difflib
import types
import typing
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from stillhouse.study.base import NAME_PATTERN, Section

NAME_RULE = "a name: letters, digits, dot, dash and underscore, beginning with a letter or digit, 80 at most"

KINDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping (`key: value` lines)",
    "model": "a mapping (`key: value` lines)",
    "finite": "a finite number",
}

BOUNDS = {
    "greater_than": ("gt", "a number above"),
    "greater_than_equal": ("ge", "a number of at least"),
    "less_than": ("lt", "a number below"),
    "less_than_equal": ("le", "a number of at most"),
}

HIDDEN = ("api_key_env",)
"""Keys where somebody may have put a secret by mistake: what was found there is not repeated."""

Location = tuple[int | str, ...]
Fault = dict[str, Any]


def nearest(word: str, names: list[str]) -> str:
    """`; did you mean 'x'?` when a valid name is near to `word`, else the valid names (a dozen at most)."""
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(names)[:12])}" if names else "; there are none"


def known(path: str, found: str, names: Collection[str], section: str) -> Iterator[str]:
    """A fault where `found` is none of `names`."""
    if found not in names:
        yield f"{path}: no {found!r} in {section}{nearest(found, list(names))}"


def explain(error: ValidationError, root: type[BaseModel], config: Any) -> list[str]:
    """One line for every fault of `config` as a `root`; what a union's members found at one place is one fault."""
    found: dict[str, list[Fault]] = {}
    for fault in error.errors(include_url=False):
        found.setdefault(_path(fault, config), []).append(fault)
    deepest = [path for path in found if not any(_below(other, path) for other in found)]
    return [_line(path, found[path], root) for path in deepest]


def _below(path: str, above: str) -> bool:
    return path.startswith((f"{above}.", f"{above}["))


def _line(path: str, faults: list[Fault], root: type[BaseModel]) -> str:
    first = faults[0]
    if first["type"] == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(first['loc'][-1]), _keys_at(first['loc'][:-1], root))}"
    if first["type"] == "missing":
        return f"{path}: missing; expected {_description(first['loc'], root) or 'a value'}"
    if first["type"] == "union_tag_not_found":
        return f"{path}: missing; expected one of {', '.join(_union_tags(first['loc'], root))}"
    if first["type"] == "value_error":
        return f"{path}: {first['ctx']['error']}"
    expected = " or ".join(dict.fromkeys(_expected(fault, root) for fault in faults))
    word = first["ctx"]["tag"] if first["type"] == "union_tag_invalid" else first["input"]
    near = difflib.get_close_matches(str(word), _choices(first, root), n=1, cutoff=0.5)
    return f"{path}: expected {expected}; found {_found(first)}" + (f"; did you mean {near[0]!r}?" if near else "")


def _found(fault: Fault) -> str:
    value = fault["input"]
    if fault["loc"] and fault["loc"][-1] in HIDDEN:
        return "something else (not shown: it may be a key)"
    if fault["type"] == "union_tag_invalid":
        value = fault["ctx"]["tag"]
    if isinstance(value, dict):
        return f"a mapping with {', '.join(map(str, value)) or 'nothing in it'}"
    if value is None:
        return "nothing"
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _expected(fault: Fault, root: type[BaseModel]) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in BOUNDS:
        bound, words = BOUNDS[kind]
        return f"{words} {context[bound]:g}"
    if kind == "literal_error":
        choices = _choices(fault, root)
        return f"one of {', '.join(choices)}" if len(choices) > 1 else context["expected"]
    if kind == "union_tag_invalid":
        return f"one of {', '.join(_union_tags(fault['loc'], root))}"
    if kind == "string_pattern_mismatch" and context["pattern"] != NAME_PATTERN:
        return _description(fault["loc"], root) or f"text like {context['pattern']}"
    if kind in ("string_pattern_mismatch", "string_too_long"):
        return NAME_RULE
    if kind in ("too_short", "too_long"):
        count = context.get("min_length", context.get("max_length"))
        return f"{'at least' if kind == 'too_short' else 'at most'} {count} in the list"
    if fault["loc"][-1:] == ("[key]",):
        return f"{NAME_RULE} (quote it where YAML reads something else)"
    return KINDS.get(kind.split("_")[0], fault["msg"])


def _choices(fault: Fault, root: type[BaseModel]) -> list[str]:
    """The values that a fault's place takes, where they are few and named."""
    if fault["type"] == "union_tag_invalid":
        return list(_union_tags(fault["loc"], root))
    if fault["type"] != "literal_error":
        return []
    return [choice.strip("'") for choice in fault["ctx"]["expected"].replace(" or ", ", ").split(", ")]


def _path(fault: Fault, config: Any) -> str:
    """Dotted path of a fault without pydantic's own steps (union tags and members, `[key]`)."""
    steps, here = [], config
    for step in fault["loc"]:
        if isinstance(here, dict) and step in here or isinstance(here, list) and isinstance(step, int):
            here = here[step] if not isinstance(here, list) or step < len(here) else None
        elif step == "[key]" or step in _TAGS or _is_member(step) or not isinstance(here, dict):
            continue
        steps.append(f"[{step}]" if isinstance(step, int) else f".{_plain(step)}")
    if fault["type"].startswith("union_tag"):
        steps.append(".backend")
    return "".join(steps).lstrip(".") or "study"


_TAGS = ("llama_cpp", "openai", "recorded", "trained")


def _is_member(step: int | str) -> bool:
    """Whether a step is pydantic's name for a member of a union, as in `literal['a','b']`, `list[...]` and `Curriculum`.

    `constrained-str` is its name for `Name`.
    """
    sections = {one.__name__ for one in Section.__subclasses__()}
    return str(step).startswith(("literal[", "list[", "constrained-str")) or step in sections


def _plain(step: str) -> str:
    """A key as it can be shown: a name with odd characters in quotes."""
    return step if step.isprintable() and "/" not in step and step.strip(".") else repr(step)


def _section_at(location: Location, root: type[BaseModel]) -> Any:
    """The section class (or union of them) that a location lies in, by walking the annotations; else None."""
    here: Any = root
    for step in location:
        if step == "[key]":
            return None
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(step))
            here = field.annotation if field else None
        else:
            arguments = typing.get_args(here)
            tagged = [c for c in _sections(here) if step in _tags(c)]
            here = tagged[0] if tagged else (arguments[-1] if arguments else None)
        here = _only_section(here)
    return here


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """All section classes named in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for inner in typing.get_args(annotation) for section in _sections(inner)]


def _tags(section: type[BaseModel]) -> tuple[Any, ...]:
    backend = section.model_fields.get("backend")
    return typing.get_args(backend.annotation) if backend else ()


def _union_tags(location: Location, root: type[BaseModel]) -> tuple[str, ...]:
    """The tags that a union of sections at `location` knows."""
    return tuple(tag for section in _sections(_section_at(location, root)) for tag in _tags(section))


def _only_section(annotation: Any) -> Any:
    """`Section | None` means the section."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        classes = [c for c in typing.get_args(annotation) if c is not type(None)]
        return classes[0] if len(classes) == 1 else annotation
    return annotation


def _fields_at(location: Location, root: type[BaseModel]) -> dict[str, Any]:
    section = _section_at(location, root)
    return section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}


def _keys_at(location: Location, root: type[BaseModel]) -> list[str]:
    return list(_fields_at(location, root))


def _description(location: Location, root: type[BaseModel]) -> str:
    field = _fields_at(location[:-1], root).get(str(location[-1]))
    return (field.description or "") if field else ""
