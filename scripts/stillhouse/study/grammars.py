"""Grammar files: a JSON schema (`.json`) or GBNF (anything else), looked at before any job runs."""

import json
import re
from pathlib import Path
from typing import Any

from stillhouse.study.models import OpenAIModel, TrainedModel
from stillhouse.study.serve import form_fault

SUFFIX = ".json"
RULE = re.compile(r"^[ \t]*([A-Za-z][\w-]*)[ \t]*::=", re.MULTILINE)


def grammar_fault(file: Path) -> str | None:
    """What is wrong with a grammar file; None when nothing is that can be told without llama.cpp."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        return f"{file} is not UTF-8"
    if file.suffix == SUFFIX:
        return _schema_fault(file, text)
    if text.startswith("{"):
        return f"{file} looks like a JSON schema; give it a name that ends in {SUFFIX}"
    rules = RULE.findall(text)
    return None if "root" in rules else f"{file} is no GBNF: it has no rule `root ::= ...`"


def _schema_fault(file: Path, text: str) -> str | None:
    from jsonschema import Draft202012Validator, SchemaError  # only studies with a schema wait for it

    try:
        schema: Any = json.loads(text)
        if not isinstance(schema, dict):
            return f"{file}: a JSON schema is an object; found {type(schema).__name__}"
        Draft202012Validator.check_schema(schema)
    except (ValueError, RecursionError) as error:
        return f"{file} is no JSON: {error}"
    except SchemaError as error:
        return f"{file} is no JSON schema: {error.json_path}: {error.message}"
    return None


def server_fault(grammar: str | None, model: Any) -> str | None:
    """Why what serves `model` cannot hold `grammar`, by the file's name; None where it can or there is none."""
    if grammar is not None and isinstance(model, TrainedModel):
        return form_fault(model)
    if grammar is None or not isinstance(model, OpenAIModel):
        return None
    if grammar.endswith(SUFFIX):
        return "the model has `structured: none`" if model.structured == "none" else None
    if model.structured in ("llama_cpp", "vllm"):
        return None
    return f"GBNF needs backend llama_cpp, or a server with `structured: llama_cpp` or `vllm`; {SUFFIX} is for JSON schemas"
