"""An OpenAI-compatible server on this machine that answers by what it is asked, and remembers every request."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = [
    "harbour",
    "ferry",
    "ledger",
    "gate",
    "keystone",
    "crack",
    "timetable",
    "engine",
    "budget",
    "storm",
    "week",
    "ticket",
    "crew",
    "orchard",
    "kiln",
    "market",
    "risk",
    "verdict",
    "hold",
    "rework",
    "proceed",
    "proof",
    "check",
    "number",
    "Friday",
    "margin",
    "load",
    "water",
    "window",
    "rope",
    "anchor",
    "tide",
]


def words_for(text: str, count: int = 40) -> str:
    """`count` words that depend on every byte of `text`."""
    digest = hashlib.shake_256(text.encode()).digest(count)
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest)


def role_of(prompt: str) -> str:
    """Which role's template a request was made from."""
    for mark, role in (
        ("RANKING:", "judge"),
        ("exactly: NO FLAWS", "critic"),
        ("Parts to score", "rubric"),
        ('{"score": 0', "quality"),
        ("VERDICT: 1", "pairwise"),
        ("BREAK: YES", "break"),
        ("without placeholders, headings", "expander"),
        ("Write one answer", "synthesizer"),
        ("Write a better answer", "author"),
    ):
        if mark in prompt:
            return role
    return "teacher"


def ranking(prompt: str) -> str:
    """Rank the candidates by a digest of their texts, so that labels and wording do not matter."""
    found = re.findall(r"^(X[123]):\n(.*?)(?=\n\nX[123]:|\n\nReply)", prompt, flags=re.M | re.S)
    order = sorted(found, key=lambda item: hashlib.sha256(item[1].strip().encode()).digest())
    return "RANKING: " + " > ".join(label for label, _ in order)


def reply_to(prompt: str, seed: int) -> str:
    """What the server says to a conversation."""
    role = role_of(prompt)
    if role == "judge":
        return ranking(prompt)
    if role == "critic" and hashlib.sha256(prompt.encode()).digest()[0] % 3 == 0:
        return "NO FLAWS"
    if role == "rubric":
        names = re.findall(r'"(\w+)": \{"score"', prompt)
        scores = {name: {"score": 1 + len(prompt) % 9, "justification": "as asked"} for name in names}
        return json.dumps({**scores, "critical_failures": [], "overall": 5})
    if role == "quality":
        return json.dumps({"score": 1 + hashlib.sha256(prompt.encode()).digest()[0] % 10, "reason": "as asked"})
    if role == "pairwise":
        return f"VERDICT: {1 + hashlib.sha256(prompt.encode()).digest()[0] % 2}"
    if role == "expander":
        count = int(re.search(r"numbered list of (\d+)", prompt).group(1))
        return "\n".join(f"{n}. What becomes of {words_for(f'{n} {prompt}', 6)}?" for n in range(1, count + 1))
    if role == "break":
        return f"BREAK: {'YES' if hashlib.sha256(prompt.encode()).digest()[0] % 2 else 'NO'}"
    return words_for(f"{seed} {prompt}")


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions."""

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = sent["messages"][-1]["content"]
        with self.server.lock:
            self.server.requests.append({"role": role_of(prompt), **sent})
        text = reply_to("\n".join(message["content"] for message in sent["messages"]), sent.get("seed", 0))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4, "total_tokens": 1}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "served-teacher", "choices": [choice]}
        data = json.dumps({**answer, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class CountingServer(ThreadingHTTPServer):
    """Listens on a free port of this machine until closed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Base URL for an OpenAI client."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"
