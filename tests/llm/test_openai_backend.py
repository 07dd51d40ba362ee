"""The HTTP backend against a real server on this machine: retries, limits, and no key anywhere."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import CallError, StudyError
from stillhouse.llm import openai_backend
from stillhouse.llm.client import Client, gather
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.openai_backend import OpenAIBackend
from stillhouse.study.base import Sampling
from stillhouse.study.models import Limits, OpenAIModel

KEY = "sk-planted-7f3c"


def body(content: Any = "Hello.", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "served-m",
        "choices": [choice],
        "usage": usage,
    }


def ok(value: Any = None) -> Callable:
    return lambda handler: handler.reply(200, json.dumps(body() if value is None else value))


def status(code: int, words: str = "busy", **headers: str) -> Callable:
    return lambda handler: handler.reply(code, json.dumps({"error": {"message": words}}), headers)


def text(words: str, kind: str = "application/json") -> Callable:
    return lambda handler: handler.reply(200, words, {"Content-Type": kind})


def drop(handler: "Handler") -> None:
    handler.connection.close()


class Handler(BaseHTTPRequestHandler):
    """Takes the next step of the server's script, the last one again and again."""

    def do_POST(self) -> None:
        server = self.server
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
            step = server.steps[min(len(server.requests), len(server.steps) - 1)]
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append({"at": time.monotonic(), "json": sent, "key": self.headers["Authorization"]})
        time.sleep(server.pause)
        with server.lock:
            server.now -= 1
        step(self)

    def reply(self, code: int, words: str, headers: dict[str, str] | None = None) -> None:
        data = words.encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    monkeypatch.setattr(openai_backend, "_backoff", lambda state: 0.01)
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.daemon_threads = True
    found.handle_error = lambda *_: None
    found.lock, found.requests, found.steps = threading.Lock(), [], [ok()]
    found.now, found.most, found.pause = 0, 0, 0.0
    thread = threading.Thread(target=found.serve_forever, daemon=True, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def client(server: ThreadingHTTPServer, folder: Path, share: float = 1.0, **changes: Any) -> Client:
    values = {"backend": "openai", "base_url": f"http://127.0.0.1:{server.server_port}/v1", "model": "the-model"}
    model = OpenAIModel(**{**values, "api_key_env": "PLANTED_KEY", "timeout_s": 5, **changes})
    return Client("api", OpenAIBackend(model, {"backend": "openai", "model": model.model}, share=share), Ledger(folder))


def ask(client: Client, text: str = "Hi?", sampling: Sampling | None = None) -> Any:
    return client.ask([{"role": "user", "content": text}], sampling or Sampling(), seed_parts=(text,))


def told(folder: Path) -> dict[str, Any]:
    return json.loads(next(folder.glob("*.jsonl")).read_text().splitlines()[0])["call"]


def test_what_may_pass_is_tried_again_until_it_does(server, tmp_path: Path) -> None:
    server.steps = [
        status(429, Retry_After="0.3"), status(500), text('{"half": '), text("<html>", "text/html"), drop,
        ok({"error": {"message": "upstream gone"}}), ok({"choices": []}), ok({"choices": [{}]}), status(408), status(409), ok(),
    ]  # fmt: skip
    call = gather([ask(client(server, tmp_path, max_tries=11))])[0]
    assert (call.text, call.prompt_tokens, call.completion_tokens) == ("Hello.", 3, 2)
    assert len(server.requests) == 11
    assert server.requests[1]["at"] - server.requests[0]["at"] >= 0.3
    assert (told(tmp_path)["tries"], told(tmp_path)["served_model"]) == (11, "served-m")


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_other_refusals_fail_at_once_with_the_servers_words(server, tmp_path: Path, code: int) -> None:
    server.steps = [status(code, "no such model, sorry")]
    with pytest.raises(CallError, match="no such model, sorry"):
        gather([ask(client(server, tmp_path))])
    assert len(server.requests) == 1
    assert not list(tmp_path.iterdir())


def test_it_gives_up_after_the_last_try_with_the_last_words(server, tmp_path: Path) -> None:
    server.steps = [status(503, "overloaded today")]
    with pytest.raises(CallError, match=r"overloaded today.*after 3 tries"):
        gather([ask(client(server, tmp_path, max_tries=3))])
    assert len(server.requests) == 3


def test_a_provider_error_in_a_200_is_told(server, tmp_path: Path) -> None:
    server.steps = [ok({"error": {"message": "upstream gone", "code": 502}})]
    with pytest.raises(CallError, match="upstream gone"):
        gather([ask(client(server, tmp_path, max_tries=2))])


def test_a_slow_answer_is_given_up_and_asked_for_again(server, tmp_path: Path) -> None:
    server.pause = 0.5
    with pytest.raises(CallError, match="timed out"):
        gather([ask(client(server, tmp_path, timeout_s=0.1, max_tries=2))])
    assert len(server.requests) == 2


@pytest.mark.parametrize(("limit", "share", "most"), [(3, 1.0, 3), (8, 0.25, 2), (2, 0.1, 1)])
def test_no_more_requests_than_the_limit_are_in_flight(
    server, tmp_path: Path, limit: int, share: float, most: int
) -> None:
    server.pause = 0.02
    asked = client(server, tmp_path, share=share, limits=Limits(concurrency=limit))
    gather(ask(asked, f"Q{n}") for n in range(14))
    assert server.most == most


def test_requests_start_evenly_within_the_minute(server, tmp_path: Path) -> None:
    asked = client(server, tmp_path, share=0.5, limits=Limits(concurrency=8, requests_per_minute=2400))
    gather(ask(asked, f"Q{n}") for n in range(8))
    starts = sorted(item["at"] for item in server.requests)
    assert starts[-1] - starts[0] >= 7 * 0.05 * 0.9


def test_the_key_reaches_the_server_and_nothing_else(server, tmp_path: Path, caplog, capfd) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"Incorrect API key provided: {KEY}"
    server.steps = [status(500, echo), ok(), status(401, echo)]
    asked = client(server, tmp_path)
    gather([ask(asked)])
    with pytest.raises(CallError) as caught:
        gather([ask(asked, "again")])
    assert {item["key"] for item in server.requests} == {f"Bearer {KEY}"}
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "***" in str(caught.value)
    ours = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("stillhouse") or record.levelno >= logging.WARNING
    ]
    assert KEY not in "".join(ours)
    assert KEY not in "".join(file.read_text() for file in tmp_path.iterdir())
    assert KEY not in "".join(capfd.readouterr())
    assert KEY not in json.dumps(asked.identity)


def test_a_missing_key_is_told_before_any_call(server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("PLANTED_KEY")
    with pytest.raises(StudyError, match="PLANTED_KEY"):
        client(server, tmp_path)


@pytest.mark.parametrize(
    ("message", "answer", "reasoning"),
    [
        ({"content": "Yes.", "reasoning_content": "because"}, "Yes.", "because"),
        ({"content": "Yes.", "reasoning": "because"}, "Yes.", "because"),
        ({"content": "<think>because</think>Yes."}, "Yes.", "because"),
        ({"content": None, "reasoning_content": "because"}, "", "because"),
        ({"content": "half \ud83d"}, "half ?", None),
    ],
)
def test_reasoning_is_kept_apart(server, tmp_path: Path, message: dict, answer: str, reasoning: str | None) -> None:
    server.steps = [ok(body(**message))]
    call = gather([ask(client(server, tmp_path))])[0]
    assert (call.text, call.reasoning) == (answer, reasoning)
    assert told(tmp_path)["answer"]["reasoning"] == reasoning


def test_the_sampling_is_what_the_server_is_sent(server, tmp_path: Path) -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, max_tokens=9, stop=["END"], seed=1)
    gather([ask(client(server, tmp_path), sampling=sampling)])
    sent = server.requests[0]["json"]
    wanted = {
        "model": "the-model",
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "max_tokens": 9,
        "stop": ["END"],
    }
    assert {key: sent[key] for key in wanted} == wanted
    assert sent["messages"] == [{"role": "user", "content": "Hi?"}]
    assert sent["seed"] == told(tmp_path)["request"]["sampling"]["seed"]
    assert not re.search(r"127\.0\.0\.1|PLANTED", json.dumps(told(tmp_path)["request"]))


def test_another_url_asks_nothing_again(server, tmp_path: Path) -> None:
    gather([ask(client(server, tmp_path))])
    elsewhere = client(server, tmp_path, base_url="http://127.0.0.1:9/v1", timeout_s=1, max_tries=1)
    assert gather([ask(elsewhere)])[0].replayed
