"""An OpenAI-compatible server on this machine that counts requests in flight, and whose latency and faults a test sets.

As a program: `python limit_server.py PORT LATENCY_S REPORT` writes its counts to the file REPORT after every request.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Seen:
    """One request as the server saw it; `at` in seconds of this machine's monotonic clock."""

    at: float
    model: str
    body: dict[str, Any]
    now: int


@dataclass
class LimitServer:
    """Answers by a digest of the request, after `latency(requests in flight)` seconds.

    `fault(request)` may give another reply (status, headers, body) instead of the answer; None answers.
    """

    latency: Callable[[int], float] = lambda now: 0.02
    fault: Callable[[Seen], Reply | None] = lambda seen: None
    words: Callable[[dict[str, Any]], str] = lambda body: "answer " + hashlib.sha256(str(body).encode()).hexdigest()
    seen: list[Seen] = field(default_factory=list)
    now: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        """Base URL for an OpenAI client."""
        return f"http://127.0.0.1:{self.port}/v1"

    def per_window(self, model: str, seconds: float) -> int:
        """Most requests to `model` that began within any `seconds`."""
        starts = sorted(item.at for item in self.seen if item.model == model)
        return max((sum(at <= other < at + seconds for other in starts) for at in starts), default=0)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = next(
                    int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length")
                )
                status, headers, data = await self._answer(json.loads(await reader.readexactly(length)))
                told = {"Content-Type": "application/json", **headers, "Content-Length": str(len(data))}
                lines = [f"HTTP/1.1 {status} Told", *(f"{name}: {value}" for name, value in told.items()), "", ""]
                writer.write("\r\n".join(lines).encode("latin-1") + data)
        writer.close()

    async def _answer(self, body: dict[str, Any]) -> Reply:
        model = body["model"]
        self.now[model] = self.now.get(model, 0) + 1
        self.most[model] = max(self.most.get(model, 0), self.now[model])
        seen = Seen(time.monotonic(), model, body, self.now[model])
        self.seen.append(seen)
        try:
            await asyncio.sleep(self.latency(self.now[model]))
        finally:
            self.now[model] -= 1
        return self.fault(seen) or (200, {}, completion(self.words(body)))

    async def serve(self, ready: Callable[[], object]) -> None:
        """Listen until cancelled."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", self.port, limit=1 << 24, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        async with server:
            await server.serve_forever()

    @contextlib.contextmanager
    def running(self) -> Any:
        """Serve in a thread of its own for the block."""
        ready, stop = threading.Event(), asyncio.Event()

        async def until_stopped() -> None:
            serving = asyncio.create_task(self.serve(ready.set))
            await stop.wait()
            serving.cancel()

        runner = asyncio.Runner()
        thread = threading.Thread(target=lambda: (runner.run(until_stopped()), runner.close()), daemon=True)
        thread.start()
        assert ready.wait(20)
        try:
            yield self
        finally:
            runner.get_loop().call_soon_threadsafe(stop.set)
            thread.join(20)


def completion(text: str, finish: str = "stop") -> bytes:
    """The body of a good answer."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 20, "completion_tokens": 20, "total_tokens": 40}
    plain = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "served",
        "choices": [choice],
        "usage": usage,
    }
    return json.dumps(plain).encode()


def error(words: str, **more: Any) -> bytes:
    """The body of an error."""
    return json.dumps({"error": {"message": words, **more}}).encode()


if __name__ == "__main__":
    port, pause, report = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]

    def told(seen: Seen) -> None:
        """Leave the counts where another process reads them."""
        with open(report, "a", encoding="utf-8") as file:
            file.write(json.dumps({"at": seen.at, "model": seen.model, "now": seen.now}) + "\n")

    asyncio.run(LimitServer(latency=lambda now: pause, fault=told, port=port).serve(lambda: None))
