"""Grammars that hold an answer's form: GBNF or a JSON schema, and how a server is told.

Only a grammar that reaches the model is part of a call's identity (`Client.request`).
"""

import json
from functools import lru_cache
from typing import Any, Literal

from stillhouse.llm.requests import Request
from stillhouse.study.models import OpenAIModel, Structured

Form = Literal["gbnf", "json_schema"]

TAKES_GBNF = ("llama_cpp", "vllm")
TAKES_SCHEMAS = ("json_schema", "llama_cpp", "vllm")


def form_of(grammar: str) -> Form:
    """Which of the two a text is: a schema is a JSON object, and no GBNF begins like one."""
    return "json_schema" if grammar.lstrip().startswith("{") else "gbnf"


@lru_cache(maxsize=64)
def plain_form(grammar: str) -> str:
    """A schema without what its layout adds, in its own order of keys, which is that of the answer; GBNF as it is."""
    return json.dumps(json.loads(grammar), separators=(",", ":")) if form_of(grammar) == "json_schema" else grammar


def held_by(grammar: str | None, *, gbnf: bool, schemas: bool) -> str | None:
    """`grammar` as it is part of a request to a backend that takes these forms; None where it does not reach the model."""
    if not grammar or not (schemas if form_of(grammar) == "json_schema" else gbnf):
        return None
    return plain_form(grammar)


def body_of(request: Request, model: OpenAIModel) -> dict[str, Any]:
    """The JSON body of a chat completion; sampling beyond OpenAI's own keys stands beside them, as servers take it."""
    settings = {key: value for key, value in request.sampling.items() if key != "stop" or value}
    tools = {"tools": request.tools} if request.tools else {}
    body = {"model": model.model, "messages": request.chat(), **tools, **settings}
    return {**body, **_form(request.grammar, model.structured)} if request.grammar else body


def _form(grammar: str, structured: Structured) -> dict[str, Any]:
    """The part of a body that holds the form."""
    if form_of(grammar) == "json_schema":
        schema = {"name": "answer", "schema": json.loads(grammar), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {"grammar": grammar} if structured == "llama_cpp" else {"structured_outputs": {"grammar": grammar}}
