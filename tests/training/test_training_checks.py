"""What is supervised is the answer and its end; rows that would teach something else are refused by name."""

from typing import Any

import pytest
from tiny_training import sft_row, tiny_tokenizer

from stillhouse.errors import TrainingError
from stillhouse.training.checks import Supervised, check_rows, check_supervision, supervised_rows

TOKENIZER = tiny_tokenizer()
SIDES = ("completion",)


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def supervised(row: dict[str, Any], kept: str) -> list[list[Supervised]]:
    return [[Supervised(ids("<|im_start|>user\n" + row["prompt"][0]["content"] + kept), ids(kept))]]


def test_the_answer_and_its_end_pass_and_are_counted() -> None:
    row = sft_row(3)
    learned = supervised(row, row["completion"][0]["content"] + "<|im_end|>\n")
    counts = check_supervision(learned, [row], SIDES, TOKENIZER)
    assert counts == {"tokens": len(learned[0][0].ids), "supervised_tokens": len(learned[0][0].kept)}


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ("", "no token"),
        ("Verdict 3: wait.", "end token"),
        ("weeks?Verdict 3: wait.<|im_end|>", "not the answer"),
        ("Verdict 3<|im_end|>", "not the answer"),
    ],
)
def test_a_wrong_mask_is_refused_naming_the_row(kept: str, words: str) -> None:
    with pytest.raises(TrainingError, match=rf"row 0 \(prompt plan-3\).*{words}"):
        check_supervision(supervised(sft_row(3), kept), [sft_row(3)], SIDES, TOKENIZER)


def test_two_opening_tokens_are_refused() -> None:
    row, kept = sft_row(3), ids("Verdict 3: wait.<|im_end|>")
    with pytest.raises(TrainingError, match="starts with two"):
        check_supervision([[Supervised([1, 1, *kept], kept)]], [row], SIDES, TOKENIZER)


def test_rows_that_the_trainer_dropped_are_noticed() -> None:
    with pytest.raises(TrainingError, match="kept 0 of 1"):
        check_supervision([], [sft_row(0)], SIDES, TOKENIZER)


def test_an_empty_split_an_empty_answer_and_a_long_row_are_refused() -> None:
    with pytest.raises(TrainingError, match="train split is empty"):
        check_rows([], SIDES, TOKENIZER, 100)
    with pytest.raises(TrainingError, match=r"row 1 \(prompt plan-1\): completion is empty"):
        check_rows([sft_row(0), sft_row(1, " \n")], SIDES, TOKENIZER, 500)
    with pytest.raises(TrainingError, match=r"plan-1\): \d+ tokens, more than training.max_length 90"):
        check_rows([sft_row(0), sft_row(1, "word " * 100)], SIDES, TOKENIZER, 90)


def test_labels_are_read_as_each_trainer_writes_them() -> None:
    sft = next(supervised_rows([{"input_ids": [1, 5, 6, 2], "labels": [-100, -100, 6, 2]}], "sft"))
    dpo = next(supervised_rows([{"prompt_ids": [1, 5], "chosen_ids": [6, 2], "rejected_ids": [7, 2]}], "dpo"))
    assert sft == [Supervised([1, 5, 6, 2], [6, 2])]
    assert dpo == [Supervised([1, 5, 6, 2], [6, 2]), Supervised([1, 5, 7, 2], [7, 2])]
