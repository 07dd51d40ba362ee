"""What a study's calls would come to, before any is made."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHARACTERS_PER_TOKEN = 4.0
"""A rule of thumb for English; the estimate says so."""

TOKENS_PER_WORD = 1.5
"""Six characters a word with its space, for passages that are not looked up yet."""

ANSWER_SHARE = 0.6
"""Expected length of an answer as a share of max_tokens."""


@dataclass
class Estimate:
    """Calls and tokens of one part of the study; `most` counts every round and vote."""

    part: str
    calls: int = 0
    most: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = 0.0

    def add(self, calls: int, most: int, prompt_tokens: float, completion_tokens: float, price: dict | None) -> None:
        """Count calls of one kind: expected and most, tokens of one call, price of its model (None: unknown)."""
        self.calls += calls
        self.most += most
        self.prompt_tokens += round(calls * prompt_tokens)
        self.completion_tokens += round(calls * completion_tokens)
        if price is None or self.usd is None:
            self.usd = None
        else:
            self.usd += calls * (prompt_tokens * price["input"] + completion_tokens * price["output"]) / 1e6


def text_tokens(text: str) -> float:
    """Tokens of a text by the rule of thumb."""
    return len(text) / CHARACTERS_PER_TOKEN


def mean_prompt_tokens(rows: list[dict[str, Any]]) -> float:
    """Mean tokens of a prompt's messages."""
    texts = ["".join(str(message.get("content") or "") for message in json.loads(row["messages"])) for row in rows]
    return sum(map(text_tokens, texts)) / len(texts) if texts else 0.0


def mean_answer_tokens(rows: list[dict[str, Any]]) -> float:
    """Mean tokens of answers that exist."""
    return sum(text_tokens(row["answer"] or "") for row in rows) / len(rows) if rows else 0.0


def estimate_generation(
    name: str, generation: dict[str, Any], rows: list[dict[str, Any]], prices: dict[str, dict | None]
) -> Estimate:
    """Estimate one generation. A tournament is counted with all its rounds: convergence can only save calls.

    Every prompt counts as often as it has samples; passages count with `top_k` whole chunks.
    """
    found = Estimate(f"generation {name}")
    system = sum(text_tokens(Path(file).read_text(encoding="utf-8")) for file in generation["system"])
    prompts, asked, passages = len(rows) * generation["samples"], mean_prompt_tokens(rows), _passages(generation)
    answer = generation["sampling"]["max_tokens"] * ANSWER_SHARE
    roles = generation["roles"]
    first, price = system + passages + asked, prices.get(roles.get("teacher") or generation["model"])
    found.add(prompts, prompts, first, answer, price)
    if generation["method"] == "dialogue":
        partner = prices.get(generation["dialogue"]["partner"] or generation["model"])
        for turn in range(1, generation["dialogue"]["turns"]):
            own, who = (asked, partner) if turn % 2 else (first, price)
            found.add(prompts, prompts, own + turn * answer, answer, who)
    if generation["method"] != "tournament":
        return found
    rules = generation["tournament"]
    least, most = min(rules["convergence"], rules["max_rounds"]), rules["max_rounds"]
    writing = system + passages
    for role, seen, told in (("critic", 1, 0.0), ("author", 2, writing), ("synthesizer", 2, writing)):
        role_price = prices.get(roles.get(role) or generation["model"])
        found.add(prompts * least, prompts * most, told + asked + seen * answer, answer, role_price)
    for judge in range(rules["judges"]):
        pool = roles["judges"] or [generation["model"]]
        votes = asked + 3 * answer
        found.add(prompts * least, prompts * most, votes, 16, prices.get(pool[judge % len(pool)]))
    return found


def _passages(generation: dict[str, Any]) -> float:
    """Tokens of the passages that a prompt is given."""
    context = generation["context"]
    return context["top_k"] * context["chunk_words"] * TOKENS_PER_WORD if context else 0.0


def estimate_check(
    name: str, generation: dict[str, Any], rows: list[dict[str, Any]], prices: dict[str, dict | None]
) -> Estimate | None:
    """Estimate the external check of a generation, None where there is none.

    Every prompt is counted, in both orders: a draft that stays as it is can only save calls.
    """
    check = generation["external_check"]
    if check is None:
        return None
    found = Estimate(f"generation {name}: external check")
    prompts, verdict = min(check["limit"] or len(rows), len(rows)), check["judging"]["max_tokens"] * ANSWER_SHARE
    seen = mean_prompt_tokens(rows) + 2 * generation["sampling"]["max_tokens"] * ANSWER_SHARE
    for judge in sorted(set(check["judges"])):
        found.add(2 * prompts, 2 * prompts, seen, verdict, prices.get(judge))
    return found


def estimate_quality(
    part: str, quality: dict[str, Any], rows: list[dict[str, Any]], prices: dict[str, dict | None], answer: float
) -> Estimate:
    """Estimate the scores of one answer of `answer` tokens to each of the prompts `rows`."""
    found = Estimate(f"{part}: quality")
    calls, verdict = len(rows) * quality["repeats"], quality["judging"]["max_tokens"] * ANSWER_SHARE
    found.add(calls, calls, mean_prompt_tokens(rows) + answer, verdict, prices.get(quality["model"]))
    return found


def estimate_evaluation(
    name: str, evaluation: dict[str, Any], rows: list[dict[str, Any]], prices: dict[str, dict | None]
) -> list[Estimate]:
    """Estimate answers and verdicts of one evaluation; subjects that are trained here count as free calls."""
    asked, answer = mean_prompt_tokens(rows), evaluation["sampling"]["max_tokens"] * ANSWER_SHARE
    answers, samples = Estimate(f"evaluation {name}: answers"), evaluation["samples"]
    for subject in evaluation["subjects"].values():
        if subject["recorded"] is None:
            price = prices.get(subject["model"]) if subject["model"] else {"input": 0.0, "output": 0.0}
            answers.add(len(rows) * samples, len(rows) * samples, asked, answer, price)
    targets = [key for key, item in evaluation["prompts"].items() if item["role"] == "target"]
    verdict = evaluation["judging"]["max_tokens"] * ANSWER_SHARE
    found = [answers]
    for kind in ("breaks", "rubric", "pairwise"):
        section = evaluation[kind]
        if section is None or not section["judges"]:
            continue
        limit = section["limit"] or len(rows)
        judged = sum(min(limit, sum(row["set"] == key for row in rows)) for key in targets)
        judging = Estimate(f"evaluation {name}: {kind}")
        times, seen = judged * samples * _verdicts(kind, evaluation), (2 if kind == "pairwise" else 1) * answer
        for judge in sorted(set(section["judges"])):
            judging.add(times, times, asked + seen, verdict, prices.get(judge))
        found.append(judging)
    return found


def _verdicts(kind: str, evaluation: dict[str, Any]) -> int:
    """Verdicts of one judge on one prompt and sample."""
    section = evaluation[kind]
    if kind == "pairwise":
        return 2 * len(section["pairs"]) * section["repeats"]
    if kind == "rubric":
        return len(section["subjects"] or evaluation["subjects"]) * section["repeats"]
    return len(evaluation["subjects"])
