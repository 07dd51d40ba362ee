"""An API key that a server even repeats in its errors is nowhere on disk afterwards."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from counting_server import CountingServer, words_for
from house import House, copy_workflow

KEY = "sk-planted-0badc0ffee"
pytestmark = pytest.mark.slow


class Tattler(BaseHTTPRequestHandler):
    """Fails every other request, and repeats the key in its words and headers."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Authorization"])
        wrong = len(self.server.keys) % 2
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": words_for(str(body))},
        }
        good = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        data = json.dumps({"error": {"message": f"overloaded; you are {KEY}"}} if wrong else good).encode()
        self.send_response(self.server.status if wrong else 200)
        self.send_header("X-Your-Key", KEY)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def tattler() -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Tattler)
    found.daemon_threads, found.keys, found.status = True, [], 503
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()


@pytest.mark.parametrize(("status", "fails"), [(503, False), (401, True)])
def test_a_planted_key_is_nowhere_on_disk(
    tmp_path: Path, server: CountingServer, tattler: ThreadingHTTPServer, status: int, fails: bool
) -> None:
    tattler.status = status
    house = House(tmp_path, server, {"PLANTED_KEY": KEY})
    house.study.mkdir()
    copy_workflow(house.workflow)
    (house.study / "prompts.jsonl").write_text('{"prompt": "One?"}\n{"prompt": "Two?"}\n')
    model = {
        "backend": "openai", "base_url": f"http://127.0.0.1:{tattler.server_port}/v1", "model": "m",
        "api_key_env": "PLANTED_KEY",
    }  # fmt: skip
    study = {"study": "secret", "models": {"m": model}, "prompts": {"p": {"file": "prompts.jsonl"}}}
    study["generations"] = {"g": {"prompts": "p", "model": "m"}}
    (house.study / "study.yaml").write_text(yaml.safe_dump(study))
    run = house.run("--verbose", fails=fails)
    assert set(tattler.keys) == {f"Bearer {KEY}"}
    assert KEY not in run.text
    places = [house.study / name for name in ("results", "logs", ".snakemake", ".stillhouse")]
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    assert len(files) > 5
    assert [file for file in files if KEY.encode() in file.read_bytes()] == []
