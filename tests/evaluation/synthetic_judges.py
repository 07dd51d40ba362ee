"""Verdicts of judges that are made up: what they would say of every prompt, in either order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
BOTH = ("first_second", "second_first")

Judge = Callable[[int, str, tuple[int, int]], str | None]
"""Prompt, order and word counts of both answers, to a verdict."""


def always_first(prompt: int, order: str, words: tuple[int, int]) -> str:
    """Takes whatever is shown first."""
    return "first" if order == "first_second" else "second"


def longer_wins(prompt: int, order: str, words: tuple[int, int]) -> str:
    """Takes the longer answer, whoever wrote it."""
    return "tie" if words[0] == words[1] else "first" if words[0] > words[1] else "second"


def says(verdicts: Sequence[str | None]) -> Judge:
    """One verdict a prompt, whatever the order."""
    return lambda prompt, order, words: verdicts[prompt]


def of_rate(rate: float, seed: int) -> Judge:
    """Each verdict by itself a win this often, else a loss."""
    rng = np.random.default_rng(seed)
    return lambda prompt, order, words: "first" if rng.random() < rate else "second"


def with_garbage(judge: Judge, share: float, seed: int) -> Judge:
    """The same judge, of whose replies a share cannot be read."""
    rng = np.random.default_rng(seed)
    return lambda prompt, order, words: None if rng.random() < share else judge(prompt, order, words)


def lengths(prompts: int, seed: int, ratio: float = 1.0) -> list[tuple[int, int]]:
    """Word counts of both answers to each prompt; those of the first are `ratio` times as long on the whole."""
    drawn = np.random.default_rng(seed).lognormal(5, 0.6, (prompts, 2))
    return [(int(ratio * first) + 1, int(second) + 1) for first, second in drawn]


def verdicts(
    judge: Judge,
    prompts: int,
    *,
    orders: Sequence[str] = BOTH,
    judges: Sequence[str] = ("j",),
    repeats: int = 1,
    words: Sequence[tuple[int, int]] | None = None,
    pair: tuple[str, str] = ("a", "b"),
) -> list[Row]:
    """Rows of pairwise.parquet, as far as statistics read them."""

    def rows() -> Iterator[Row]:
        for prompt in range(prompts):
            counts = words[prompt] if words else (10, 10)
            for name in judges:
                for repeat in range(repeats):
                    for order in orders:
                        yield {
                            "first": pair[0], "second": pair[1], "set": "s", "prompt_id": f"{prompt:05d}",
                            "category": "xy"[prompt % 2], "difficulty": None, "sample": 0, "judge": name,
                            "repeat": repeat, "order": order, "verdict": judge(prompt, order, counts), "axes": "{}",
                            "first_words": counts[0], "second_words": counts[1],
                        }  # fmt: skip

    return list(rows())
