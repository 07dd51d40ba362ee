"""An OpenAI-compatible chat server with a fixed latency, for benchmarks and tests of many calls at once.

python benchmarks/latency_server.py --latency 0.2      prints its base URL, then serves until it is killed
python benchmarks/latency_server.py --faults 7         answers as servers do on a bad day, drawn by seed 7

One asyncio process and nothing but the standard library, so that it costs little beside the client that is measured.
Answers vary with the whole request; a request that asks for a `RANKING:` line gets one. `GET /stats` tells what it saw.
"""

import argparse
import asyncio
import hashlib
import json
import random
from typing import Any

WORDS = (
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
    "kiln",
    "rope",
)
ANSWER_WORDS = 60
FAULTS = {"busy": 0.20, "broken": 0.05, "dropped": 0.03, "malformed": 0.02, "truncated": 0.02}
"""Shares of requests that go wrong."""
RETRY_AFTER_S = 0.05


class LatencyServer:
    """Answers every chat completion after `latency` seconds; counts requests and those in flight.

    With a seed `faults`, `FAULTS` says how many answers are a 429, a 500, a dropped connection, half a JSON, or cut off.
    """

    def __init__(self, latency: float, faults: int | None = None) -> None:
        self.latency = latency
        self.requests = self.now = self.most = 0
        self.first = self.last = 0.0
        self.arrivals: list[float] = []
        self.answered: dict[str, int] = {}
        self._draw = None if faults is None else random.Random(faults)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept alive until the client ends it."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(content_length(head))
                status, data = (200, self.stats()) if head.startswith(b"GET") else await self.complete(body)
                if not data:
                    return
                more = b"Retry-After: %g\r\n" % RETRY_AFTER_S if status == 429 else b""
                start = b"HTTP/1.1 %d Answer\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
                writer.write(start % (status, more, len(data)) + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def complete(self, body: bytes) -> tuple[int, bytes]:
        """One chat completion: status and body, an empty one for a connection to drop."""
        loop = asyncio.get_running_loop()
        self.first = self.first or loop.time()
        self.arrivals.append(loop.time())
        self.requests += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.latency)
        self.now -= 1
        self.last = loop.time()
        fault = self._fault()
        if fault in ("busy", "broken"):
            return (429 if fault == "busy" else 500), b'{"error": {"message": "bad day"}}'
        if fault == "dropped":
            return 0, b""
        answer = json.dumps(completion(body, cut=fault == "truncated")).encode()
        if fault == "malformed":
            return 200, answer[: len(answer) // 2]
        identity = hashlib.sha256(body).hexdigest()
        self.answered[identity] = self.answered.get(identity, 0) + 1
        return 200, answer

    def _fault(self) -> str | None:
        if self._draw is None:
            return None
        return self._draw.choices([*FAULTS, None], [*FAULTS.values(), 1 - sum(FAULTS.values())])[0]

    def stats(self) -> bytes:
        """Requests, answers given and how many of them twice, the greatest number in flight, seconds at work, arrivals."""
        seen = {"requests": self.requests, "in_flight": self.most, "seconds": self.last - self.first}
        given = {"answered": len(self.answered), "doubled": sum(count - 1 for count in self.answered.values())}
        return json.dumps({**seen, **given, "arrivals": self.arrivals}).encode()


def content_length(head: bytes) -> int:
    """Bytes of the body that follows an HTTP head."""
    lines = (line.lower() for line in head.split(b"\r\n"))
    return next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)


def completion(body: bytes, cut: bool = False) -> dict[str, Any]:
    """The answer to a request's body, cut off in its middle if so wanted."""
    text = reply(body)
    text = text[: len(text) // 2] if cut else text
    choice = {
        "index": 0,
        "finish_reason": "length" if cut else "stop",
        "message": {"role": "assistant", "content": text},
    }
    usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(text) // 4, "total_tokens": 1}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "latency",
        "choices": [choice],
        "usage": usage,
    }


def reply(body: bytes) -> str:
    """What the server says to a request's body."""
    digest = hashlib.sha256(body).digest()
    if b"RANKING:" in body:
        order = sorted(("X1", "X2", "X3"), key=lambda label: digest[int(label[1])])
        return f"RANKING: {' > '.join(order)}"
    noise = hashlib.shake_256(digest).digest(ANSWER_WORDS)
    return " ".join(WORDS[byte % len(WORDS)] for byte in noise)


async def run(latency: float, port: int, faults: int | None) -> None:
    """Listen on 127.0.0.1 and print the base URL."""
    server = await asyncio.start_server(LatencyServer(latency, faults).serve, "127.0.0.1", port, limit=1 << 22)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency", type=float, default=0.2, help="seconds until an answer")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--faults", type=int, help="seed of the faults; without it nothing goes wrong")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.latency, arguments.port, arguments.faults))
