"""What is measured with is split as training splits it, whatever a template does with reasoning, tools and messages."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from export_house import TEMPLATE

from stillhouse.errors import ExportError
from stillhouse.exports.held_out import read_passages
from stillhouse.training.rows import read_rows
from stillhouse.training.tokens import render, tokenise

OPENED = "<|im_start|>assistant\n"
TEMPLATES = {
    "plain": TEMPLATE,
    "opens reasoning": TEMPLATE.replace(f"'{OPENED[:-1]}\n'", f"'{OPENED[:-1]}\n<think>\n'"),
    "opens empty reasoning": TEMPLATE.replace(f"'{OPENED[:-1]}\n'", f"'{OPENED[:-1]}\n<think>\n\n</think>\n\n'"),
    "shows tools": "{% if tools %}{{ tools[0]['name'] }}{% endif %}" + TEMPLATE,
    "shows reasoning": TEMPLATE.replace("m['content']", "(m.reasoning_content or '') + m['content']"),
}
ASKED, SAID = {"role": "user", "content": "Shall we move?"}, {"role": "assistant", "content": "Verdict: wait."}
THOUGHT = {"role": "assistant", "content": "<think>\nToo soon.\n</think>\n\nVerdict: wait."}
ROWS: dict[str, dict[str, Any]] = {
    "plain": {"prompt": [ASKED], "completion": [SAID]},
    "reasoning": {"prompt": [ASKED, SAID, ASKED], "completion": [THOUGHT]},
    "json": {"prompt": [json.dumps(ASKED)], "completion": [json.dumps({**SAID, "reasoning_content": "Soon?"})]},
    "tools": {"prompt": [ASKED], "completion": [SAID], "tools": json.dumps([{"name": "clock"}])},
    "pair": {"prompt": [ASKED], "chosen": [THOUGHT], "rejected": [SAID]},
}


def _write(file: Path, row: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist([{**row, "prompt_id": "a", "id": "b"}]), file)
    return file


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("row", ROWS)
def test_an_answer_begins_where_training_lets_it_begin(
    tmp_path: Path, tiny_tokenizer: Any, template: str, row: str
) -> None:
    tiny_tokenizer.chat_template = TEMPLATES[template]
    file, objective = _write(tmp_path / "train.parquet", ROWS[row]), "dpo" if row == "pair" else "sft"
    trained = tokenise([render(read_rows(file, objective)[0], objective, tiny_tokenizer)], objective, tiny_tokenizer)
    newline = tiny_tokenizer.encode("\n")
    (passage,) = read_passages({"train": file}, 4, 999, tiny_tokenizer)[1]
    assert passage.ids + newline == trained[0][0].ids and passage.targets + newline == trained[0][0].answer
    assert tiny_tokenizer.decode(passage.targets).endswith("wait.<|im_end|>")
    assert passage.ids[: passage.places.start + 1] == trained[0][0].prompt


@pytest.mark.parametrize("tokens", [1, 7])
def test_tokens_bound_the_answer_and_leave_its_prompt_whole(tmp_path: Path, tiny_tokenizer: Any, tokens: int) -> None:
    file = _write(tmp_path / "train.parquet", ROWS["plain"])
    whole, cut = (read_passages({"train": file}, 4, bound, tiny_tokenizer)[1][0] for bound in (999, tokens))
    assert cut.answer == tokens and cut.targets == whole.targets[:tokens]
    assert cut.ids[:-tokens] == whole.ids[: -whole.answer]


def _raising(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('no such turns') }}"


def _silent(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"


@pytest.mark.parametrize(
    ("spoil", "words"), [(_raising, "refuses it: no such turns"), (_silent, "no token of its ans")]
)
def test_a_row_that_cannot_be_read_is_named(
    tmp_path: Path, tiny_tokenizer: Any, spoil: Callable[[Any], None], words: str
) -> None:
    spoil(tiny_tokenizer)
    with pytest.raises(ExportError, match=rf"row a \(id 'b'\): .*{words}"):
        read_passages({"train": _write(tmp_path / "train.parquet", ROWS["plain"])}, 4, 99, tiny_tokenizer)
