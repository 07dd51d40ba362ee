"""How fast a tournament's calls run, what they cost the client, and how fast they replay. One JSON object; see README.md.

python benchmarks/tournament.py            four minutes on 2 cores
python benchmarks/tournament.py --small    the same on little, in half a minute
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WORKFLOW = Path(__file__).resolve().parents[1]
LATENCY_S = 0.2
JUDGES, ROUNDS = 3, 2
CALLS_A_PROMPT = 1 + ROUNDS * (3 + JUDGES)
FULL = {"prompts": 200, "many": 10_000, "concurrency": [8, 32]}
SMALL = {"prompts": 20, "many": 500, "concurrency": [8, 32]}


def tell(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def server(latency: float) -> Iterator[str]:
    """The base URL of a server in a process of its own."""
    command = [sys.executable, str(WORKFLOW / "benchmarks/latency_server.py"), "--latency", str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def stats(url: str) -> dict[str, Any]:
    """What the server saw."""
    with urllib.request.urlopen(url.replace("/v1", "/stats")) as answer:
        return json.load(answer)


def generation(folder: Path, **settings: Any) -> dict[str, Any]:
    """One generation in a process of its own, as a job runs it; what it measured of itself."""
    command = [sys.executable, __file__, "--job", json.dumps(settings)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


class Instant:
    """A backend without a server: it answers at once, so that nothing but the client's own work is left."""

    grammars = False

    def __init__(self, concurrency: int) -> None:
        from latency_server import reply

        self.identity = {"backend": "openai", "model": "latency"}
        self.concurrency, self._reply = concurrency, reply

    async def complete(self, request: Any) -> tuple[Any, int]:
        """The test server's answer to the request."""
        from stillhouse.llm.requests import Completion

        text = self._reply(json.dumps(request.payload()).encode())
        return Completion(text, "stop", None, 100, len(text) // 4, "latency"), 1

    def close(self) -> None:
        """Nothing to free."""


def job(url: str | None, prompts: int, concurrency: int, **more: Any) -> dict[str, Any]:
    """Answer `prompts` as rule answer_shard does, in this process; seconds count from before the imports.

    `more` are settings of the model.
    """
    started, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    sys.path.insert(0, str(WORKFLOW / "scripts"))
    from stillhouse.llm.factory import Clients
    from stillhouse.llm.operations import prompts_at_once
    from stillhouse.provenance.digests import canonical_json, prompt_id
    from stillhouse.study.base import Sampling
    from stillhouse.study.generations import Generation
    from stillhouse.tournament.engine import Texts
    from stillhouse.tournament.generate import answer_shard
    from stillhouse.tournament.roles import load_templates
    from stillhouse.tournament.settings import ShardSettings

    model = {"backend": "openai", "base_url": url or "http://127.0.0.1:1/v1", "model": "latency"}
    limits = {"concurrency": concurrency, **more.pop("limits", {})}
    config = {"models": {"m": {**model, **more, "limits": limits}}}
    values = {
        "prompts": "p",
        "method": "tournament",
        "model": "m",
        "sampling": Sampling(temperature=0.7, max_tokens=200),
    }
    whole = Generation(**values, tournament={"judges": JUDGES, "max_rounds": ROUNDS})
    fields = {name: getattr(whole, name) for name in ShardSettings.model_fields if name in Generation.model_fields}
    settings = ShardSettings(**{**fields, "generation": "g", "shard": 0, "shards": 1})
    texts = Texts(templates=load_templates(sorted((WORKFLOW / "data/tournament").glob("*.j2"))))
    rows = []
    for number in range(prompts):
        messages = [
            {"role": "user", "content": f"Question {number}: what would you do first, and why? " + "Context. " * 60}
        ]
        rows.append({
            "prompt_id": prompt_id(messages), "set": "p", "id": f"p{number}", "category": "c", "difficulty": None,
            "prompt": messages[0]["content"], "messages": canonical_json(messages), "metadata": "{}",
        })  # fmt: skip
    clients = Clients(config, Path("models"), "benchmark")
    if url is None:
        clients.add("m", Instant(concurrency))
    facts = answer_shard(rows, clients, settings, texts, Path("shard.parquet"), limit=prompts_at_once(config, ["m"]))
    clients.close()
    spent, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return {
        "seconds": spent, "cpu": cpu, "rss_mib": after.ru_maxrss / 1024, "answered": facts["answered"],
        "made": clients.usage.made, "replayed": clients.usage.replayed,
    }  # fmt: skip


def result(name: str, found: dict[str, Any], calls: int, **more: Any) -> dict[str, Any]:
    """One entry of `results`."""
    return {
        "name": name,
        **more,
        "calls": calls,
        "seconds": round(found["seconds"], 3),
        "calls_per_s": round(calls / found["seconds"], 1),
        "cpu_ms_per_call": round(1000 * found["cpu"] / calls, 3),
        "rss_mib": round(found["rss_mib"], 1),
    }


def over_http(prompts: int, concurrency: int) -> dict[str, Any]:
    """A whole generation at a server of fixed latency; `fraction` is ideal time over time, start and tail included."""
    with server(LATENCY_S) as url, tempfile.TemporaryDirectory() as folder:
        found = generation(Path(folder), url=url, prompts=prompts, concurrency=concurrency)
        seen = stats(url)
    calls = seen["requests"]
    if (found["answered"], calls) != (prompts, found["made"]) or seen["in_flight"] > concurrency:
        raise RuntimeError(f"{found} against {seen}")
    ideal = calls * LATENCY_S / concurrency
    more = {
        "concurrency": concurrency,
        "in_flight": seen["in_flight"],
        "ideal_s": round(ideal, 3),
        "fraction": round(ideal / found["seconds"], 4),
        "fraction_first_to_last_request": round(ideal / seen["seconds"], 4),
    }
    return result(f"tournament at concurrency {concurrency}", found, calls, **more)


def without_server(prompts: int) -> list[dict[str, Any]]:
    """Many prompts: first made by a model that answers at once, then all out of the ledger, by another process."""
    with tempfile.TemporaryDirectory() as folder:
        made = generation(Path(folder), url=None, prompts=prompts, concurrency=32)
        tell(f"{made['made']} calls made in {made['seconds']:.0f} s")
        again = generation(Path(folder), url=None, prompts=prompts, concurrency=32)
    if again["made"] or again["replayed"] != made["made"] + made["replayed"]:
        raise RuntimeError(f"{again} after {made}")
    return [
        result("client alone, no server", made, made["made"], prompts=prompts),
        result("replay out of the ledger", again, again["replayed"], prompts=prompts),
    ]


def main() -> None:
    """Run all parts and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="little of everything")
    parser.add_argument("--only", choices=["http", "replay"], help="one part")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(job(**json.loads(arguments.job))))
        return
    sizes, results = SMALL if arguments.small else FULL, []
    if arguments.only != "replay":
        for concurrency in sizes["concurrency"]:
            tell(f"{sizes['prompts'] * CALLS_A_PROMPT} calls at concurrency {concurrency}")
            results.append(over_http(sizes["prompts"], concurrency))
    if arguments.only != "http":
        results += without_server(sizes["many"])
    settings = {"latency_s": LATENCY_S, "prompts": sizes["prompts"], "judges": JUDGES, "rounds": ROUNDS}
    print(json.dumps({"benchmark": "tournament", "settings": settings, "results": results}, indent=2))


if __name__ == "__main__":
    main()
