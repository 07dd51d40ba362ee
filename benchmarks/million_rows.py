"""Makes a results folder with as many rows and calls as wanted, by the workflow's own writers; texts are invented.

python benchmarks/million_rows.py ROWS SHARDS     into the working directory; asked.json says what to ask it
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from stillhouse.datasets.rows import SFT_SCHEMA
from stillhouse.llm.ledger import Bill, Ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.prompts.rows import SCHEMA as PROMPTS
from stillhouse.provenance.digests import canonical_json, digest_json, digest_text, prompt_id
from stillhouse.provenance.files import write_json, write_parquet
from stillhouse.provenance.records import digest_of, write_record
from stillhouse.tournament.columns import ANSWERS, FAILURES, SHARD

Row = dict[str, Any]

CALLS = 9
ROLES = 4
"""Calls of a row that are no votes: teacher, critic, author, synthesizer."""
GENERATION = "results/generations/big"
ANSWER = "Hold, for the keystone is the date and not the budget, so look at the date before the work goes on. " * 2


def make_results(rows: int, shards: int) -> Row:
    """Write results/ into the working directory; returns what to ask it: a prompt id, an id, a call and paths."""
    digests = _ledger(rows, shards)
    answers = sorted(_answers(rows, digests), key=lambda row: row["prompt_id"])
    _prompts(answers)
    _generation(answers, shards, len(digests))
    for name, share in (("big", 1.0), ("less", 0.9)):
        _dataset(name, answers, share)
        _adapter(name)
    asked = answers[rows // 3]
    return {"prompt_id": asked["prompt_id"], "id": asked["id"], "call": asked["calls"][-1]}


def _ledger(calls: int, files: int) -> list[str]:
    """As many calls as there are rows, in as many files as there are shards; returns their digests."""
    digests = []
    for number in range(files):
        ledger = Ledger(f"results/ledger-parts/{number}", f"answer_shard-big-{number}")
        for index in range(number * calls // files, (number + 1) * calls // files):
            messages = (("system", "You review plans."), ("user", f"Review our plan number {index}, please."))
            request = Request({"backend": "scripted", "model": "m"}, messages, {"max_tokens": 200, "seed": index})
            ledger.append(request, "m", Completion(ANSWER, "stop", None, 40, 50, "scripted"), Bill(0.001, 1.5, 1))
            digests.append(request.digest)
        ledger.close()
    _gather_ledger(files)
    return digests


def _gather_ledger(files: int) -> None:
    """Each job wrote where it saw no other's file, as reading them all for every job would take hours here."""
    Path("results/ledger").mkdir()
    for number in range(files):
        folder = Path(f"results/ledger-parts/{number}")
        for file in folder.iterdir():
            file.rename(Path("results/ledger") / file.name)
        folder.rmdir()
    Path("results/ledger-parts").rmdir()


def _answers(rows: int, digests: list[str]) -> Iterator[Row]:
    empty = dict.fromkeys(SHARD.names)
    for number in range(rows):
        text = f"Review our plan number {number}, please."
        messages = [{"role": "user", "content": text}]
        calls = [digests[(number * CALLS + place) % rows] for place in range(CALLS)]
        yield {
            **empty,
            "prompt_id": prompt_id(messages),
            "set": "big",
            "id": f"plan-{number:07d}",
            "category": "plans",
            "prompt": text,
            "messages": canonical_json(messages),
            "metadata": "{}",
            "generation": "big",
            "method": "tournament",
            "answer": ANSWER,
            "draft": ANSWER,
            "truncated": False,
            "converged": True,
            "rounds": 1,
            "winners": ["B"],
            "transcript": _transcript(calls),
            "calls": calls,
            "answer_call": calls[2],
        }


def _transcript(calls: list[str]) -> str:
    labels, ranking = {"X1": "A", "X2": "B", "X3": "AB"}, ["B", "A", "AB"]
    votes = [
        {
            "judge": judge,
            "model": "m",
            "labels": labels,
            "ranking": ranking,
            "raw": "RANKING: X2 > X1 > X3",
            "call": call,
        }
        for judge, call in enumerate(calls[ROLES:])
    ]
    texts = {"A": ANSWER, "B": ANSWER, "AB": ANSWER}
    points = {"A": 10, "B": 15, "AB": 5}
    one = {"round": 1, "critique": "1. It is vague.", "no_flaws": False, "candidates": texts, "votes": votes}
    return canonical_json({"rounds": [{**one, "borda": points, "winner": "B", "note": None}]})


def _prompts(answers: list[Row]) -> None:
    write_parquet("results/prompts/big.parquet", answers, PROMPTS)
    _record("collect_prompts", {"prompts": "big"}, ["results/prompts/big.parquet"], {}, {"set": "big"})


def _generation(answers: list[Row], shards: int, calls: int) -> None:
    paths = [f"{GENERATION}/shards/{shard}.parquet" for shard in range(shards)]
    parts: list[list[Row]] = [[] for _ in paths]
    for row in answers:
        parts[int(row["prompt_id"][:8], 16) % shards].append(row)
    for shard, (path, part) in enumerate(zip(paths, parts, strict=True)):
        write_parquet(path, part, SHARD)
        usage = {"calls_made": calls // shards, "calls_replayed": 0, "prompt_tokens": 40, "completion_tokens": 50}
        read = {"prompts": ["results/prompts/big.parquet"]}
        recipe = {"generation": "big", "shard": shard, "shards": shards}
        _record("answer_shard", {"generation": "big", "shard": str(shard)}, [path], read, recipe, usage)
    made = [f"{GENERATION}/answers.parquet", f"{GENERATION}/failures.parquet"]
    write_parquet(made[0], answers, ANSWERS)
    write_parquet(made[1], [], FAILURES)
    _record("merge_generation", {"generation": "big"}, made, {"shards": paths}, {}, place=f"{GENERATION}/record.json")


def _dataset(name: str, answers: list[Row], share: float) -> None:
    """A shuffled dataset; no other split has rows."""
    rng = random.Random(name)
    taken = rng.sample(answers, int(share * len(answers)))
    rows = [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["answer"]}],
            **{key: row[key] for key in ("prompt_id", "set", "id", "category", "generation", "calls")},
        }
        for row in taken
    ]
    folder = f"results/datasets/{name}"
    made = [f"{folder}/{split}.parquet" for split in ("train", "valid", "test")]
    for path, part in zip(made, (rows, [], []), strict=True):
        write_parquet(path, part, SFT_SCHEMA)
    counts = {
        "generation": "big",
        "share": None,
        "realised_share": 1.0,
        "rows_in": len(answers),
        "rows_kept": len(rows),
    }
    dropped = {"not_sampled": len(answers) - len(rows)}
    write_json(f"{folder}/report.json", {"sources": [{**counts, "filters": [], "dropped": dropped}]})
    made.append(f"{folder}/report.json")
    read = {"answers": [f"{GENERATION}/answers.parquet"]}
    _record(
        "build_dataset", {"dataset": name}, made, read, {"name": name, "share": share}, place=f"{folder}/record.json"
    )


def _adapter(name: str) -> None:
    folder = f"results/adapters/{name}"
    write_json(f"{folder}/adapter_config.json", {"r": 16, "name": name})
    read = {"train": [f"results/datasets/{name}/train.parquet"]}
    made = [f"{folder}/adapter_config.json"]
    _record("train_adapter", {"adapter": name}, made, read, {"seed": 42}, place=f"{folder}/record.json")


def _record(
    rule: str,
    wildcards: dict[str, str],
    made: list[str],
    read: dict[str, list[str]],
    recipe: Row,
    facts: Row | None = None,
    place: str | None = None,
) -> None:
    inputs = [{"name": name, **digest_of(path).plain()} for name, paths in read.items() for path in paths]
    body = {
        "artefacts": [digest_of(path).plain() for path in made],
        "inputs": inputs,
        "key": digest_json([rule, [item["sha256"] for item in inputs], recipe]),
        "rule": rule,
        "wildcards": wildcards,
        "recipe": recipe,
        "code": {"digest": digest_text(rule), "files": {f"scripts/{rule}.py": digest_text(rule)}},
        "software": {"pyarrow": "26.0.1"},
        "facts": facts or {},
        "usage": facts,
        "reused": False,
        "run": {"started": "2026-01-01T00:00:00+00:00"},
    }
    write_record(place or f"{made[0]}.record.json", body)


if __name__ == "__main__":
    write_json("asked.json", make_results(int(sys.argv[1]), int(sys.argv[2])))
