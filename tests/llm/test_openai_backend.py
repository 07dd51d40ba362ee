"""The HTTP backend against a real server on this machine: retries, limits, and no key anywhere."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from stillhouse.errors import CallError, LimitError, ServerError, StudyError
from stillhouse.llm import openai_backend
from stillhouse.llm.client import Client
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.openai_backend import MalformedAnswerError, OpenAIBackend, parse, retry_after
from stillhouse.llm.running import gather
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
            self.sent = sent
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


def client(server: ThreadingHTTPServer, folder: Path, slots: int | None = None, **changes: Any) -> Client:
    values = {"backend": "openai", "base_url": f"http://127.0.0.1:{server.server_port}/v1", "model": "the-model"}
    model = OpenAIModel(**{**values, "api_key_env": "PLANTED_KEY", "timeout_s": 5, **changes})
    identity = {"backend": "openai", "model": model.model}
    return Client("api", OpenAIBackend(model, identity, name="api", slots=slots), Ledger(folder))


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


@pytest.mark.parametrize("code", [400, 404, 413, 422])
def test_other_refusals_fail_at_once_with_the_servers_words(server, tmp_path: Path, code: int) -> None:
    server.steps = [status(code, "no such model, sorry")]
    with pytest.raises(CallError, match="no such model, sorry"):
        gather([ask(client(server, tmp_path))])
    assert len(server.requests) == 1
    assert not list(tmp_path.iterdir())


def failing_on(word: str, bad: Callable, good: Callable) -> Callable:
    """Answers prompts with `word` in them by `bad`, all others by `good`."""

    def step(handler: "Handler") -> None:
        (bad if word in json.dumps(handler.sent) else good)(handler)

    return step


def test_a_request_that_alone_keeps_failing_fails_with_the_servers_last_words(server, tmp_path: Path) -> None:
    server.steps = [failing_on("poison", status(503, "overloaded today"), ok())]
    asked = client(server, tmp_path, max_tries=3)
    assert gather([ask(asked, "fine")])[0].text == "Hello."
    with pytest.raises(CallError, match=r"overloaded today.*after \d tries"):
        gather([ask(asked, "poison")])
    asked_for = [item["json"]["messages"][-1]["content"] for item in server.requests]
    # nobody else was answered meanwhile: the server has to show by one token each that it is there
    assert asked_for == ["fine", *["poison"] * 3, *["ping", "poison"] * 3]
    assert server.requests[4]["json"]["max_tokens"] == 1


def test_beside_others_that_are_answered_it_fails_after_its_tries(server, tmp_path: Path) -> None:
    server.steps = [failing_on("poison", status(500, "cannot"), ok())]
    server.pause = 0.01
    asked = client(server, tmp_path, max_tries=4, limits=Limits(concurrency=2))
    calls = gather((failed_or_text(asked, f"{'poison' if n == 3 else 'fine'} {n}") for n in range(200)), limit=2)
    assert calls.count("CallError") == 1
    assert calls.count("Hello.") == 199
    tried = [item["json"]["messages"][-1]["content"] for item in server.requests]
    assert tried.count("poison 3") == 4


async def failed_or_text(asked: Client, text: str) -> str:
    try:
        return (await ask(asked, text)).text
    except CallError:
        return "CallError"


@pytest.mark.parametrize(
    "outage", [status(503, "overloaded today"), drop, status(429, Retry_After="0.01"), text("<html>")]
)
def test_an_outage_stops_the_job_and_no_request_fails_of_it(server, tmp_path: Path, outage: Callable) -> None:
    server.steps = [ok(), outage]
    asked = client(server, tmp_path, max_tries=2, give_up_s=0.5, limits=Limits(concurrency=4))
    began = time.monotonic()
    with pytest.raises(ServerError, match=r"^api: nothing but failures since 20.* UTC .*the same command goes on"):
        gather(failed_or_text(asked, f"Q{n}") for n in range(30))
    assert time.monotonic() - began >= 0.5
    with pytest.raises(ServerError):  # and it stays so for the job
        gather([ask(asked, "later")])


def test_an_outage_that_ends_in_time_costs_no_request(server, tmp_path: Path) -> None:
    server.steps = [ok()] * 3 + [status(503)] * 60 + [ok()]
    asked = client(server, tmp_path, max_tries=4, give_up_s=600, limits=Limits(concurrency=4))
    calls = gather(failed_or_text(asked, f"Q{n}") for n in range(12))
    assert calls == ["Hello."] * 12


def test_a_name_that_resolves_to_nothing_is_told(server, tmp_path: Path) -> None:
    asked = client(server, tmp_path, base_url="http://no-such-host.invalid/v1", give_up_s=0.1)
    with pytest.raises(ServerError, match=r"(?i)connection error.*(resol|known|name)"):
        gather([ask(asked)])


@pytest.mark.parametrize(
    ("code", "words"), [(401, "bad key"), (402, "no credit"), (403, "no access"), (429, "insufficient_quota")]
)
def test_what_every_prompt_would_meet_stops_the_job_at_once(server, tmp_path: Path, code: int, words: str) -> None:
    told = json.dumps({"error": {"message": words, "code": words, "type": words}})
    server.steps = [lambda handler: handler.reply(code, told)]
    asked = client(server, tmp_path, limits=Limits(concurrency=1))
    with pytest.raises(ServerError, match=words):
        gather(failed_or_text(asked, f"Q{n}") for n in range(5))
    assert len(server.requests) == 1


def test_a_moderated_prompt_fails_alone(server, tmp_path: Path) -> None:
    server.steps = [status(403, "Your input was flagged"), ok(), status(403, "no"), ok()]
    asked = client(server, tmp_path, limits=Limits(concurrency=1))
    assert gather((failed_or_text(asked, f"Q{n}") for n in range(4)), limit=1) == ["CallError", "Hello."] * 2


def arrivals(server: ThreadingHTTPServer) -> list[float]:
    return sorted(item["at"] for item in server.requests)


def test_many_refusals_with_retry_after_hold_back_all_requests(server, tmp_path: Path) -> None:
    server.steps = [status(429, Retry_After="0.01")] * 12 + [status(429, Retry_After="2"), ok()]
    asked = client(server, tmp_path, limits=Limits(concurrency=4), max_tries=20)
    gather(ask(asked, f"Q{n}") for n in range(9))
    assert max(later - earlier for earlier, later in pairwise(arrivals(server))) >= 1.9


def test_a_refusal_beside_many_answers_holds_back_its_own_request(server, tmp_path: Path) -> None:
    server.steps = [*[ok()] * 20, status(429, Retry_After="2"), ok()]
    asked = client(server, tmp_path, limits=Limits(concurrency=4))
    gather((ask(asked, f"Q{n}") for n in range(60)), limit=4)
    times = arrivals(server)
    assert sum(at < times[20] + 1.9 for at in times[21:]) >= 3
    assert times[-1] >= times[20] + 1.9


def test_the_days_requests_end_the_job(server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    limits = Limits(concurrency=2, requests_per_day=5)
    asked = client(server, tmp_path / "l", limits=limits)
    with pytest.raises(LimitError, match=r"5 requests_per_day are used up.*goes on from 20.* 00:00 UTC"):
        gather(failed_or_text(asked, f"Q{n}") for n in range(9))
    assert len(server.requests) == 5
    with pytest.raises(LimitError):  # another run of the same day
        gather([ask(client(server, tmp_path / "l", limits=limits), "new")])
    assert len(server.requests) == 5


def test_a_provider_error_in_a_200_is_told(server, tmp_path: Path) -> None:
    server.steps = [ok({"error": {"message": "upstream gone", "code": 502}})]
    with pytest.raises(ServerError, match="upstream gone"):
        gather([ask(client(server, tmp_path, max_tries=2, give_up_s=0.05))])


def test_a_slow_answer_is_given_up_and_asked_for_again(server, tmp_path: Path) -> None:
    server.pause = 0.5
    with pytest.raises(ServerError, match=r"([3-9]|\d\d+) tries.*timed out after 0\.1 s"):
        gather([ask(client(server, tmp_path, timeout_s=0.1, max_tries=2, give_up_s=0.15))])


@pytest.mark.parametrize(("limit", "slots", "most"), [(3, None, 3), (8, 2, 2), (2, 1, 1), (2, 5, 2), (2, 0, 1)])
def test_no_more_requests_than_the_limit_are_in_flight(
    server, tmp_path: Path, limit: int, slots: int | None, most: int
) -> None:
    server.pause = 0.02
    asked = client(server, tmp_path, slots=slots, limits=Limits(concurrency=limit))
    gather(ask(asked, f"Q{n}") for n in range(14))
    assert server.most == most


def test_requests_start_evenly_within_the_minute(server, tmp_path: Path) -> None:
    begun = time.monotonic()
    asked = client(server, tmp_path, slots=4, limits=Limits(concurrency=8, requests_per_minute=2400))
    gather(ask(asked, f"Q{n}") for n in range(8))
    starts = sorted(item["at"] - begun for item in server.requests)
    assert all(start >= 0.05 * number for number, start in enumerate(starts, start=1))


def test_the_key_reaches_the_server_and_nothing_else(server, tmp_path: Path, caplog, capfd) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"Incorrect API key provided: {KEY}"
    server.steps = [status(500, echo), ok(), status(401, echo)]
    asked = client(server, tmp_path)
    gather([ask(asked)])
    with pytest.raises(ServerError) as caught:
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
        ({"content": [{"type": "text", "text": "Yes."}]}, "Yes.", None),
        ({"content": "<think>so</think>Yes.", "reasoning": "because"}, "Yes.", "because\n\nso"),
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


NOW = "Sat, 21 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({"Retry-After": "3"}, 3.0), ({"Retry-After": " 0.5 "}, 0.5), ({"Retry-After": "1e9"}, 120.0), ({}, None),
        ({"Retry-After": "-1"}, None), ({"Retry-After": "0"}, None), ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, 120.0), ({"Retry-After": "soon"}, None), ({"Retry-After": ""}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:07 GMT", "Date": NOW}, 7.0),
        ({"Retry-After": "Sat, 21 Nov 2026 09:00:00 GMT", "Date": NOW}, None),
        ({"Retry-After": "Fri, 21 Nov 9999 10:00:00 GMT", "Date": NOW}, 120.0),
        ({"Retry-After": "Sat, 99 Nov 2026 10:00:07 GMT", "Date": "never"}, None),
    ],
)  # fmt: skip
def test_retry_after_in_all_its_forms(told: dict[str, str], seconds: float | None) -> None:
    response = httpx2.Response(429, headers=told, request=httpx2.Request("POST", "http://127.0.0.1"))
    assert retry_after(openai.APIStatusError("busy", response=response, body=None)) == seconds


def test_a_truncated_answer_that_only_reasons_is_empty() -> None:
    data = body("<think>on and on")
    data["choices"][0]["finish_reason"] = "length"
    found = parse(json.dumps(data).encode())
    assert (found.text, found.reasoning, found.finish_reason) == ("", "on and on", "length")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"7", b"\xff", b'{"choices": null}', b'{"choices": [null]}', b'{"choices": [{"message": 3}]}',
        b'{"choices": [{"message": {"content": 3}}]}', b'{"choices": [{"message": {"content": "x"}, "error": {"code": 502}}]}',
        b'{"choices": [{"message": {"content": "x"}, "finish_reason": "error"}]}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "many"}}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_completion_is_told_as_malformed(data: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        parse(data)


@pytest.mark.parametrize("key", ["sk-\u00e9", "sk-\x07bell", "two\nlines"])
def test_a_key_that_no_header_can_hold_is_told(server, tmp_path: Path, monkeypatch, key: str) -> None:
    monkeypatch.setenv("PLANTED_KEY", key)
    with pytest.raises(StudyError, match="PLANTED_KEY holds no key") as caught:
        client(server, tmp_path)
    assert key not in str(caught.value)


def test_a_line_end_after_a_key_does_not_matter(server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", f"{KEY}\r\n")
    gather([ask(client(server, tmp_path))])
    assert server.requests[0]["key"] == f"Bearer {KEY}"


def test_all_that_wait_end_at_once_when_the_days_requests_are_used_up(server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    limits = Limits(concurrency=8, requests_per_day=2, requests_per_minute=120)
    asked = client(server, tmp_path / "l", limits=limits)
    begun = time.monotonic()
    with pytest.raises(LimitError):
        gather(failed_or_text(asked, f"Q{n}") for n in range(200))
    assert len(server.requests) == 2
    assert time.monotonic() - begun < 50  # one after the other they would take 100 s
