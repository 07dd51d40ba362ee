"""Renders a chat template as llama.cpp's Python binding does, which keeps to what transformers does."""

from functools import lru_cache
from typing import Any

from jinja2 import TemplateError
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from stillhouse.errors import ExportError

Chat = list[dict[str, Any]]
REFUSALS = (TemplateError, ValueError, TypeError, KeyError, AttributeError)
"""What a template raises at turns that it was not written for: by `raise_exception`, or by tripping over them."""


def render_chat(
    template: str, chat: Chat, tools: list[dict[str, Any]] | None = None, bos: str = "", eos: str = "", today: str = ""
) -> str:
    """A conversation with the opening of the answer, by the Jinja text `template`.

    `today` is printed for every date that the template asks for; empty: the date. Raises `ExportError` where the
    template is malformed, does what the sandbox forbids, or refuses such turns.
    """
    try:
        return str(_formatter(template, bos, eos, today)(messages=chat, tools=tools).prompt)  # type: ignore[arg-type]
    except REFUSALS as error:
        raise ExportError(f"the model's chat template cannot be rendered: {error}") from error


@lru_cache(maxsize=8)
def _formatter(template: str, bos: str, eos: str, today: str) -> Jinja2ChatFormatter:
    """A compiled template; compiling takes longer than rendering."""
    formatter = Jinja2ChatFormatter(template=template, bos_token=bos, eos_token=eos)
    if today:
        formatter.strftime_now = lambda _: today  # type: ignore[method-assign,assignment]
    return formatter
