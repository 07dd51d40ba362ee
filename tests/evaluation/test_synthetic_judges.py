"""Judges whose taste is known, asked through the real functions: what the statistics must say of them."""

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from stillhouse.evaluation.lengths import length_controlled
from stillhouse.evaluation.pairs import compare
from stillhouse.evaluation.pairwise import judge_pairs
from stillhouse.evaluation.respond import RESPONSES
from stillhouse.evaluation.rubric import judge_rubric
from stillhouse.evaluation.settings import PairwiseSettings, RubricSettings
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.study.base import Sampling

PROMPTS = 120
SAMPLING = Sampling(max_tokens=50)


def answers(folder: Path, subject: str, word: str, words: Any) -> Path:
    """Answers of `words(number)` words to each prompt, one of them `word`."""
    rows = [
        {
            **dict.fromkeys(RESPONSES.names), "prompt_id": f"{n:016x}", "set": "s", "id": f"p-{n}", "role": "target",
            "prompt": f"Prompt {n}?", "subject": subject, "condition": subject, "system": False, "sample": 0,
            "answer": " ".join([word, *["and"] * (words(n) - 1)]), "finish_reason": "stop", "calls": [],
        }
        for n in range(PROMPTS)
    ]  # fmt: skip
    write_parquet(folder / f"{subject}.parquet", rows, RESPONSES)
    return folder / f"{subject}.parquet"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two subjects; the first is longer on two prompts of three, by chance and a little."""
    luck = random.Random(4)
    lengths = [(luck.randint(12, 40), luck.randint(8, 34)) for _ in range(PROMPTS)]
    return [
        answers(tmp_path, "new", "GOOD", lambda n: lengths[n][0]),
        answers(tmp_path, "old", "PLAIN", lambda n: lengths[n][1]),
    ]


def verdicts(files: list[Path], client: Any) -> list[dict[str, Any]]:
    settings = PairwiseSettings(pairs=[("new", "old")], judges=["j"], sampling=SAMPLING)
    target = files[0].with_name("pairwise.parquet")
    judge_pairs(files, {"j": client}, settings, target)
    return read_parquet_rows(target)


def shown(text: str) -> tuple[str, str]:
    one, two, end = (text.index(mark) for mark in ("Answer 1:", "Answer 2:", "The answers are material"))
    return text[one:two], text[two:end]


def chance(text: str, index: int) -> float:
    """A number in [0, 1) that depends on what is asked, and not on when."""
    return int(hashlib.sha256(f"{text}{index}".encode()).hexdigest()[:8], 16) / 2**32


def test_always_first_is_half_and_flips_every_time(files: list[Path], judge: Any) -> None:
    found = compare(verdicts(files, judge("j", lambda text, index: "VERDICT: 1")))
    assert (found["rate"], found["flip_rate"], found["n"]) == (0.5, 1.0, 2 * PROMPTS)
    assert found["interval"][0] <= 0.5 <= found["interval"][1]
    assert (found["win"], found["loss"], found["tie"]) == (PROMPTS, PROMPTS, 0)


def test_longer_wins_is_half_at_equal_length(files: list[Path], judge: Any) -> None:
    def longer(text: str, index: int) -> str:
        one, two = (len(part.split()) for part in shown(text))
        return "VERDICT: TIE" if one == two else f"VERDICT: {1 if one > two else 2}"

    rows = verdicts(files, judge("j", longer))
    plain, controlled = compare(rows), length_controlled(rows)
    assert plain["interval"][0] > 0.5
    assert plain["flip_rate"] == 0.0
    assert controlled["rate"] == pytest.approx(0.5, abs=0.1)
    assert controlled["interval"][0] < 0.5 < controlled["interval"][1]


def test_garbage_makes_n_smaller_and_leaves_the_rate(files: list[Path], judge: Any) -> None:
    def decided(text: str) -> str:
        """Prefers GOOD on seven prompts of ten, whatever the order."""
        [prompt] = [line for line in text.splitlines() if line.startswith("Prompt ")]
        better = "GOOD" if chance(prompt, 0) < 0.7 else "PLAIN"
        return f"VERDICT: {1 if better in shown(text)[0] else 2}"

    def garbage(text: str, index: int) -> str:
        unusable = ["", "VERDICT: 1 or 2", "I cannot say.", '{"winner": "1', "VERDICT: 1\nVERDICT: 2"]
        broken = chance(text, 0) < 0.1  # of one question both tries
        return unusable[int(chance(text, 0) * 50)] if broken else decided(text)

    clean = compare(verdicts(files, judge("j", lambda text, index: decided(text))))
    rows = verdicts(files, judge("j", garbage))
    dirty = compare(rows)
    assert clean["n"] == 2 * PROMPTS
    assert 0.05 < dirty["unscored"] / len(rows) < 0.16
    assert dirty["n"] == 2 * PROMPTS - dirty["unscored"] - dirty["incomplete"]
    assert dirty["n"] < clean["n"]
    assert dirty["rate"] == pytest.approx(clean["rate"], abs=0.05)
    assert all(len(row["calls"]) == 2 for row in rows if row["verdict"] is None)


def test_garbage_scores_are_never_zero(files: list[Path], tmp_path: Path, judge: Any) -> None:
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text("components: {gate: {weight: 1, scale: [1, 10]}}")
    settings = RubricSettings(judges=["j"], subjects=["new"], sampling=SAMPLING)

    def garbage(text: str, index: int) -> str:
        return '{"gate": {"score"' if chance(text, 0) < 0.1 else '{"gate": {"score": 7}}'

    target = tmp_path / "rubric.parquet"
    facts = judge_rubric(files, {"j": judge("j", garbage)}, rubric, settings, target)
    rows = read_parquet_rows(target)
    assert 0 < facts["unscored"] < 0.2 * PROMPTS
    assert {row["overall"] for row in rows} == {7.0, None}
    assert facts["second_chances"] == facts["unscored"]
