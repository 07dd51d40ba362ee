"""Recorded answers: matched by the prompt's text; what is missing or malformed is told."""

from pathlib import Path

import pytest

from stillhouse.errors import CallError, InputError
from stillhouse.llm.client import Client
from stillhouse.llm.factory import Clients, open_backend
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.recorded_backend import RecordedBackend
from stillhouse.llm.running import gather
from stillhouse.study.base import Sampling


def ask(file: Path, prompt: str):
    client = Client("r", RecordedBackend(file, {"backend": "recorded"}), Ledger(file.parent / "ledger"))
    return gather([client.ask([{"role": "user", "content": prompt}], Sampling(), seed_parts=())])[0]


def test_an_answer_is_found_by_its_prompt(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(
        '\ufeff{"prompt": "A\u2028B? ", "response": "<think>w</think>Yes."}\n\n{"prompt": "C?", "response": ""}\n',
        encoding="utf-8",
    )
    call = ask(file, "A\u2028B?")
    assert (call.text, call.reasoning) == ("Yes.", "w")
    with pytest.raises(CallError, match=r"r\.jsonl: no recorded answer to the prompt 'D\?'"):
        ask(file, "D?")


@pytest.mark.parametrize(
    "line", ["{", "[]", "3", '{"prompt": "x"}', '{"prompt": "x", "response": 3}', '{"prompt": 3, "response": "x"}']
)
def test_a_malformed_line_is_told(tmp_path: Path, line: str) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text('{"prompt": "x", "response": "y"}\n' + line + "\n")
    with pytest.raises(InputError, match=r"r\.jsonl line 2"):
        RecordedBackend(file, {})


def test_clients_open_on_first_use_and_share_usage(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text('{"prompt": "x", "response": "y"}\n')
    models = {"r": {"backend": "recorded", "file": str(file)}, "gone": {"backend": "llama_cpp", "weights": "embedded"}}
    clients = Clients({"models": models, "ledger": str(tmp_path / "ledger")}, tmp_path / "models", "w")
    gather([clients["r"].ask([{"role": "user", "content": "x"}], Sampling(), seed_parts=())])
    assert clients["r"] is clients["r"]
    assert clients.usage.facts()["calls_made"] == 1
    clients.close()
    assert open_backend("r", {"models": models}, tmp_path).identity["file"]
