"""Text out of files, made fit to be shown: what models and users wrote is data, on a terminal too."""

from rich.text import Text

Part = str | tuple[str, str]


def line(*parts: Part) -> Text:
    """One line of the parts, each a text or (text, style): no markup, nothing that a terminal would act on."""
    return Text.assemble(*((clean(part[0]), part[1]) if isinstance(part, tuple) else clean(part) for part in parts))


def clean(text: object) -> str:
    """`text` on one line, without characters that a terminal would act on."""
    return "".join(one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in str(text))


def short(text: object, limit: int) -> str:
    """At most `limit` characters of a text, on one line."""
    words = " ".join(str(text).split())
    return words if len(words) <= limit else words[:limit] + "…"


def number_of(number: int, noun: str) -> str:
    """A number with its noun, as `1 row` and `2 rows`."""
    return f"{number} {noun if number == 1 else noun + 's'}"
