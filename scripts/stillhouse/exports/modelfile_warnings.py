"""Warnings in the comments of a Modelfile, where Ollama and readers of the file find them."""

MARK = "# Warning: "


def with_warnings(modelfile: str, warnings: list[str]) -> str:
    """The text of a Modelfile with a comment for each warning before it."""
    return "".join(f"{MARK}{words}\n" for words in warnings) + modelfile


def warnings_in(modelfile: str) -> list[str]:
    """The warnings in the text of a Modelfile."""
    return [line.removeprefix(MARK) for line in modelfile.splitlines() if line.startswith(MARK)]
