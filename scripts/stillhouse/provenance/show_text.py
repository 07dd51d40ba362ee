"""Text out of files, made fit to be shown: what models and users wrote is data, on a terminal too."""

from rich.markup import escape


def safe(text: object) -> str:
    """`text` on one line, without rich's markup and without characters that a terminal would act on."""
    line = "".join(one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in str(text))
    return escape(line)


def number_of(number: int, noun: str) -> str:
    """A number with its noun, as `1 row` and `2 rows`."""
    return f"{number} {noun if number == 1 else noun + 's'}"
