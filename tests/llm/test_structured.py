"""Grammars and JSON schemas: what reaches which server, what counts in a call's identity, and what is refused early."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from limit_server import LimitServer

from stillhouse.errors import InputError, StudyError
from stillhouse.llm.client import Client
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.openai_backend import OpenAIBackend
from stillhouse.llm.running import gather
from stillhouse.llm.structured import form_of, held_by
from stillhouse.study.base import Sampling
from stillhouse.study.models import OpenAIModel
from stillhouse.study.plan import load_plan

GBNF = 'root ::= "yes" | "no"'
SCHEMA = '{\n  "type": "object",\n  "properties": {"b": {"type": "string"}, "a": {"type": "integer"}},\n  "required": ["b"]\n}'
WORKFLOW = Path(__file__).parents[2]


def client(server: LimitServer, folder: Path, structured: str) -> Client:
    model = OpenAIModel(backend="openai", base_url=server.url, model="m", structured=structured)
    return Client("api", OpenAIBackend(model, {"backend": "openai", "model": "m"}, name="api"), Ledger(folder))


def asked(tmp_path: Path, structured: str, grammar: str | None) -> tuple[dict[str, Any], str]:
    """The body that the server got, and the digest of the call."""
    with LimitServer().running() as server:
        found = client(server, Path(tempfile.mkdtemp(dir=tmp_path)), structured)
        messages = [{"role": "user", "content": "Hi?"}]
        call = gather([found.ask(messages, Sampling(), seed_parts=(1,), grammar=grammar)])[0]
        return server.seen[0].body, call.digest


def test_a_schema_is_sent_as_response_format_in_its_own_order(tmp_path: Path) -> None:
    for structured in ("json_schema", "llama_cpp", "vllm"):
        body, _ = asked(tmp_path, structured, SCHEMA)
        assert body["response_format"]["type"] == "json_schema"
        held = body["response_format"]["json_schema"]
        assert (held["name"], held["strict"], held["schema"]) == ("answer", True, json.loads(SCHEMA))
        assert list(held["schema"]["properties"]) == ["b", "a"]
        assert not {"grammar", "structured_outputs"} & set(body)


def test_gbnf_reaches_the_servers_that_take_it(tmp_path: Path) -> None:
    assert asked(tmp_path, "llama_cpp", GBNF)[0]["grammar"] == GBNF
    assert asked(tmp_path, "vllm", GBNF)[0]["structured_outputs"] == {"grammar": GBNF}


@pytest.mark.parametrize(("structured", "grammar"), [("json_schema", GBNF), ("none", GBNF), ("none", SCHEMA)])
def test_what_is_not_sent_is_no_part_of_the_identity(tmp_path: Path, structured: str, grammar: str) -> None:
    plain, held = asked(tmp_path, structured, None), asked(tmp_path, structured, grammar)
    assert plain == held
    assert not {"grammar", "structured_outputs", "response_format"} & set(held[0])


def test_what_is_sent_is_part_of_it(tmp_path: Path) -> None:
    digests = {
        asked(tmp_path, "vllm", grammar)[1] for grammar in (None, GBNF, SCHEMA, SCHEMA.replace("integer", "null"))
    }
    assert len(digests) == 4
    assert asked(tmp_path, "vllm", SCHEMA)[1] == asked(tmp_path, "vllm", json.dumps(json.loads(SCHEMA)))[1]


def test_forms() -> None:
    assert (form_of(GBNF), form_of(SCHEMA), form_of("\n {}")) == ("gbnf", "json_schema", "json_schema")
    assert held_by(None, gbnf=True, schemas=True) is None
    assert held_by("", gbnf=True, schemas=True) is None


def plan(folder: Path, grammar: str, text: str | bytes, **model: Any) -> None:
    (folder / "p.jsonl").write_text('{"prompt": "x"}\n')
    (folder / grammar).write_bytes(text if isinstance(text, bytes) else text.encode())
    entry = {"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m", **model}
    generation = {"prompts": "p", "model": "api", "grammar": grammar}
    study = {
        "study": "s",
        "models": {"api": entry},
        "prompts": {"p": {"file": "p.jsonl"}},
        "generations": {"g": generation},
    }
    load_plan(study, folder, WORKFLOW)


def test_good_files_are_planned(tmp_path: Path) -> None:
    plan(tmp_path, "a.json", SCHEMA)
    plan(tmp_path, "a.gbnf", GBNF, structured="vllm")


@pytest.mark.parametrize(
    ("grammar", "text", "more", "words"),
    [
        ("a.json", "{", {}, r"generations\.g\.grammar: .*a\.json is no JSON"),
        ("a.json", "[]", {}, "a JSON schema is an object; found list"),
        ("a.json", '{"type": "objekt"}', {}, r"is no JSON schema: \$\.type: .*objekt"),
        ("a.json", "[" * 100_000, {}, "is no JSON"),
        ("a.json", SCHEMA, {"structured": "none"}, "models.api cannot hold 'a.json': the model has `structured: none`"),
        ("a.gbnf", GBNF, {}, "GBNF needs backend llama_cpp, or a server with `structured: llama_cpp` or `vllm`"),
        ("a.gbnf", "answer ::= x", {"structured": "vllm"}, "no rule `root"),
        ("a.gbnf", SCHEMA, {"structured": "vllm"}, "give it a name that ends in .json"),
        ("a.gbnf", b"\xff\xfe", {"structured": "vllm"}, "not UTF-8"),
    ],
)
def test_bad_files_are_refused_at_planning(tmp_path: Path, grammar: str, text: str, more: dict, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        plan(tmp_path, grammar, text, **more)


def test_llama_cpp_compiles_a_schema_and_tells_what_it_cannot() -> None:
    pytest.importorskip("llama_cpp")
    from stillhouse.llm.llama_cpp_backend import compile_grammar

    assert compile_grammar(SCHEMA)
    assert compile_grammar(GBNF)
    with pytest.raises(InputError, match="JSON schema cannot be turned into a grammar"):
        compile_grammar('{"$ref": "https://example.org/schema.json"}')
    with pytest.raises(InputError, match="not valid GBNF"):
        compile_grammar("root ::= missing")
