"""Lengths in tokens by a tokenizer of one token a byte, counted by hand."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_rows import AGENT, PLAIN, TALK, TOOLS, answered, context_of, examples_of, said, user, write_split
from tiny_model import SPECIAL, tiny_tokenizer, write_tiny_tokenizer

from stillhouse.datasets import tokens
from stillhouse.datasets.tokens import EDGES, Counter, statistics
from stillhouse.errors import InputError


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Counter:
    return Counter(write_tiny_tokenizer(tmp_path_factory.mktemp("models") / "tiny"))


def size(*messages: dict[str, Any]) -> int:
    """Bytes of the rendered messages; the two special tokens of each are one token."""
    return sum(2 + len(f"{one['role']}\n{one['content'] or ''}\n".encode()) for one in messages)


def pair(number: int, chosen: str, rejected: str) -> dict[str, Any]:
    row = answered(f"p{number}", [user(f"Plan {number}?")], chosen)
    others = {"student": {(row["prompt_id"], 0): rejected}}
    told = context_of("preference", others, pairs={"rejected": [{"generation": "student"}]})
    (example,) = examples_of("preference", [row], told)
    return example


def test_texts_are_counted_alone(counter: Counter) -> None:
    texts = ["", "abc", "na\u00efve \u65e5", "x" * 5_000]
    counted = counter.count(texts)
    assert counted.dtype == np.int32 and counted.tolist() == [0, 3, 10, 5_000]
    assert counter.count([]).tolist() == []


def test_rows_are_counted_as_the_chat_template_renders_them(counter: Counter) -> None:
    rows = examples_of("sft", [PLAIN, TALK])
    expected = [size(*row["prompt"], *row["completion"]) for row in rows]
    assert counter.count_rows(rows).tolist() == expected
    assert counter.count_rows([]).tolist() == []


def test_of_a_pair_both_conversations_are_read(counter: Counter) -> None:
    row = pair(1, "Yes, go.", "No.")
    assert counter.count_rows([row, row]).tolist() == 2 * [
        2 * size(user("Plan 1?")) + size(said("Yes, go."), said("No."))
    ]
    sides = counter.count_sides([row])
    assert sides["chosen"] - sides["rejected"] == len("Yes, go.") - len("No.")


def test_tools_count(counter: Counter) -> None:
    (row,) = examples_of("sft", [AGENT])
    bare = counter.count_rows([{**row, "tools": None}])
    assert counter.count_rows([row]) - bare == 2 + len(f"tools\n{json.dumps(TOOLS, sort_keys=True)}\n")


def test_a_refusal_of_the_template_names_the_prompt(counter: Counter) -> None:
    (row,) = examples_of("sft", [answered("odd", [{"role": "judge", "content": "x"}], "y")])
    with pytest.raises(
        InputError, match=rf"prompt {row['prompt_id']}: the chat template of tiny refuses it: no judges"
    ):
        counter.count_rows([row])


def test_a_folder_without_a_usable_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no tokenizer that can be loaded"):
        Counter(tmp_path / "empty")
    for number, damaged in enumerate(("", "{", '{"version": "1.0"}')):
        folder = write_tiny_tokenizer(tmp_path / str(number))
        (folder / "tokenizer.json").write_text(damaged)
        with pytest.raises(InputError, match="no tokenizer that can be loaded"):
            Counter(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "bare")
    with pytest.raises(InputError, match="no chat template"):
        Counter(tmp_path / "bare")


def splits_of(folder: Path, form: str, **rows: list[dict[str, Any]]) -> dict[str, Path]:
    return {name: write_split(folder / f"{name}.parquet", form, own) for name, own in rows.items()}


@pytest.mark.parametrize("block", [1, 2, 1_000])
def test_statistics_of_answers(block: int, counter: Counter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "BLOCK", block)
    rows = [examples_of("sft", [answered(f"r{n}", [user("Go?")], "y" * n)])[0] for n in (10, 20, 70)]
    rows[2]["generation"] = "other"
    lengths = [size(*row["prompt"], *row["completion"]) for row in rows]
    assert lengths == [34, 44, 94]
    told = statistics(counter, splits_of(tmp_path, "sft", train=rows, valid=rows[:1], test=[]), 44)
    assert told["tokenizer"] == "tiny" and told["max_length"] == 44 and told["chosen_minus_rejected"] is None
    assert told["splits"]["train"] == {
        "rows": 3, "tokens": 172, "mean": 57.33, "median": 44.0, "p95": 89.0, "longest": 94,
        "truncated": 1, "truncated_share": 0.333333,
    }  # fmt: skip
    assert told["splits"]["test"] == {"rows": 0, "tokens": 0, "truncated": 0, "truncated_share": None}
    assert told["all"]["rows"] == 4 and told["all"]["tokens"] == 206 and told["all"]["truncated"] == 1
    assert told["histogram"]["edges"] == list(EDGES)
    assert told["histogram"]["train"] == [0, 2, 1] + [0] * (len(EDGES) - 3)
    assert told["mix"] == [
        {"generation": "other", "rows": 1, "tokens": 94, "share_of_rows": 0.25, "share_of_tokens": 0.456311},
        {"generation": "plans", "rows": 3, "tokens": 112, "share_of_rows": 0.75, "share_of_tokens": 0.543689},
    ]
    assert json.loads(json.dumps(told)) == told


def test_statistics_of_pairs(counter: Counter, tmp_path: Path) -> None:
    rows = [pair(1, "a" * 20, "b" * 10), pair(2, "a" * 10, "b" * 34)]
    told = statistics(counter, splits_of(tmp_path, "preference", train=rows))
    assert told["chosen_minus_rejected"] == {
        "mean": -7.0, "median": -7.0, "p5": -22.3, "p95": 8.3, "chosen_longer_share": 0.5
    }  # fmt: skip
    longest = [size(user("Plan 1?"), said("a" * 20)), size(user("Plan 2?"), said("b" * 34))]
    assert told["splits"]["train"]["longest"] == longest[1] > longest[0]
    assert told["splits"]["train"]["tokens"] == int(counter.count_rows(rows).sum())
    assert "truncated" not in told["all"]


def test_a_length_beyond_the_last_edge_is_counted(counter: Counter, tmp_path: Path) -> None:
    rows = examples_of("sft", [answered("long", [user("Go?")], "y" * (EDGES[-1] + 1))])
    told = statistics(counter, splits_of(tmp_path, "sft", train=rows), 512)
    assert told["histogram"]["train"][-1] == 1 and told["all"]["truncated_share"] == 1.0


def test_a_dataset_without_rows(counter: Counter, tmp_path: Path) -> None:
    told = statistics(counter, splits_of(tmp_path, "preference", train=[], valid=[], test=[]), 512)
    assert told["all"]["rows"] == 0 and told["mix"] == [] and told["chosen_minus_rejected"] is None


def test_special_tokens_in_a_text_count_as_training_reads_them(counter: Counter) -> None:
    assert counter.count([SPECIAL[2]]).tolist() == [1]


def test_transformers_is_loaded_only_to_count() -> None:
    told = "import sys, stillhouse.datasets.tokens; sys.exit('transformers' in sys.modules)"
    scripts = Path(__file__).parents[2] / "scripts"
    assert subprocess.run([sys.executable, "-c", told], cwd=scripts, check=False).returncode == 0
