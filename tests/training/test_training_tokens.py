"""Rows become the token ids and labels that TRL's own trainers make of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_training import TEMPLATE, preference_row, sft_row, tiny_tokenizer

from stillhouse.training.rows import SIDES
from stillhouse.training.tokens import IGNORED, render, tokenise

TOOLS = [{"type": "function", "function": {"name": "weather", "description": "of a place", "parameters": {}}}]
WITH_TOOLS = "{% if tools %}{{ '<|im_start|>system\n' + tools | tojson + '<|im_end|>\n' }}{% endif %}" + TEMPLATE
THINKING = TEMPLATE.replace("<|im_start|>assistant\n' }}", "<|im_start|>assistant\n<think>\n' }}")
LONGER = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Naïve café — 日本語?"},
    {"role": "assistant", "content": "<think>two\n</think>\n\nYes 🙂."},
    {"role": "user", "content": "  And\tnow?\n"},
]


def rows(objective: str) -> list[dict[str, Any]]:
    made = [sft_row(n) if objective == "sft" else preference_row(n) for n in range(4)]
    made[1]["prompt"] = LONGER
    made[2][SIDES[objective][-1]] = [{"role": "assistant", "content": "Line one\n\n  line two \U0001f642 "}]
    made[3]["tools"] = TOOLS
    return [row | {"tools": row.get("tools")} for row in made]


def trl_dataset(objective: str, wanted: list[dict[str, Any]], tokenizer: Any, base: Path, folder: Path) -> Any:
    """The train split after TRL's own preparation."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    from stillhouse.llm.weights import load_model

    trainer, config = {
        "sft": (SFTTrainer, SFTConfig),
        "dpo": (DPOTrainer, DPOConfig),
        "orpo": (ORPOTrainer, ORPOConfig),
    }[objective]
    told = [
        {key: row[key] for key in ("prompt", *SIDES[objective])} | {"tools": json.dumps(row["tools"])} for row in wanted
    ]
    if objective == "orpo":  # by text, since its own rendering ends an answer twice
        for row, plain in zip(told, wanted, strict=True):
            text = render(plain, "orpo", tokenizer)
            row |= {"prompt": text.opened}
            row |= {
                side: whole.removeprefix(text.opened) for side, whole in zip(SIDES["orpo"], text.whole, strict=True)
            }
            del row["tools"]
    arguments = config(output_dir=str(folder), max_length=600, report_to="none", use_cpu=True, bf16=False)
    data = Dataset.from_list(told)
    return trainer(model=load_model(base), args=arguments, train_dataset=data, processing_class=tokenizer).train_dataset


@pytest.mark.slow
@pytest.mark.parametrize("template", [TEMPLATE, WITH_TOOLS, THINKING], ids=["plain", "tools", "thinking"])
@pytest.mark.parametrize("objective", ["sft", "dpo", "orpo"])
def test_tokens_are_those_of_the_real_trainer(tiny_base: Path, tmp_path: Path, objective: str, template: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    wanted = rows(objective)
    ours = tokenise([render(row, objective, tokenizer) for row in wanted], objective, tokenizer)
    theirs = trl_dataset(objective, wanted, tokenizer, tiny_base / "results/models/tiny", tmp_path)
    assert len(theirs) == len(ours)
    for row, sides in zip(theirs, ours, strict=True):
        if objective == "sft":
            assert (row["input_ids"], row["labels"]) == (sides[0].ids, sides[0].labels)
        elif objective == "dpo":
            assert row["prompt_ids"] == sides[0].prompt == sides[1].prompt
            assert [row["chosen_ids"], row["rejected_ids"]] == [side.answer for side in sides]
        else:
            for name, side in zip(("chosen", "rejected"), sides, strict=True):
                assert (row[f"{name}_input_ids"], row[f"{name}_labels"]) == (side.ids, side.labels)


def test_labels_hide_the_prompt_and_show_the_answer() -> None:
    tokenizer = tiny_tokenizer()
    [[tokens]] = tokenise([render(sft_row(3), "sft", tokenizer)], "sft", tokenizer)
    assert tokens.labels == [IGNORED] * len(tokens.prompt) + tokens.answer
    assert tokenizer.decode(tokens.answer) == "Verdict 3: wait.<|im_end|>\n"
    assert tokenizer.decode(tokens.prompt).endswith("<|im_start|>assistant\n")


def test_a_template_that_opens_the_answer_with_reasoning_leaves_that_out() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = THINKING
    [[tokens]] = tokenise([render(sft_row(3), "sft", tokenizer)], "sft", tokenizer)
    assert tokens.left_out == len(tokenizer.encode("<think>\n"))
    assert tokenizer.decode(tokens.answer) == "Verdict 3: wait.<|im_end|>\n"
