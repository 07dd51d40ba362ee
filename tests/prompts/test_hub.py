"""Datasets as sources: saved folders, folders of files, splits, and a hub that nobody reaches."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prompt_files import as_bytes, gather, put, rows

from stillhouse.errors import InputError

SCRIPTS = Path(__file__).parents[2] / "scripts"
ROWS = [{"id": f"p{n}", "prompt": f"Question {n}?", "category": "food"} for n in range(2_500)]


def saved(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    """A dataset as `datasets` saves it, by a process of its own."""
    code = (
        "import json, sys, datasets as d; s = json.load(sys.stdin);"
        "made = {k: d.Dataset.from_list(v) for k, v in s.items()};"
        "(d.DatasetDict(made) if len(made) > 1 else made.popitem()[1]).save_to_disk(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], input=json.dumps(splits).encode(), check=True)
    return folder


@pytest.mark.slow
def test_a_saved_dataset_and_one_of_its_splits(tmp_path: Path) -> None:
    expected = rows(put(tmp_path, "x.jsonl", ROWS))
    one = saved(tmp_path / "one", train=ROWS)
    assert rows([], hub={"name": str(one)}) == expected
    two = saved(tmp_path / "two", train=ROWS[:3], test=ROWS)
    assert rows([], hub={"name": str(two), "split": "test"}) == expected
    assert len(rows([], hub={"name": str(two)})) == 3
    with pytest.raises(InputError, match=r"two split valid: no such split; it has test, train"):
        gather([], hub={"name": str(two), "split": "valid"})
    with pytest.raises(InputError, match=r"no column 'question'; it has 'id', 'prompt', 'category'"):
        gather([], hub={"name": str(one)}, columns={"prompt": "question"})


@pytest.mark.slow
def test_a_folder_of_files_is_read_as_it_is_now(tmp_path: Path) -> None:
    """Nothing of it comes out of a cache; conversations of columns lose the keys that columns gave them."""
    folder = tmp_path / "laid out"
    (folder / "data").mkdir(parents=True)
    chats = [
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "n": 1},
        {"messages": [{"role": "user", "content": "z", "name": "Ada"}], "n": 2},
    ]
    put(folder / "data", "train.jsonl", chats)
    found = rows([], hub={"name": str(folder)})
    assert [row["prompt_id"] for row in found] == [row["prompt_id"] for row in rows(folder / "data/train.jsonl")]
    put(folder / "data", "train.jsonl", ROWS[:7])
    assert rows([], hub={"name": str(folder)}) == rows(folder / "data/train.jsonl")
    with pytest.raises(InputError, match="split valid: "):
        gather([], hub={"name": str(folder), "split": "valid"})


@pytest.mark.slow
def test_bad_rows_of_a_dataset_are_named_by_its_rows(tmp_path: Path) -> None:
    folder = saved(tmp_path / "bad", train=[{"prompt": "x"}, {"prompt": None}, {"prompt": "y"}, {"prompt": "x"}])
    found, rejected = gather([], hub={"name": str(folder)}, bad_rows="reject")
    assert len(found.kept) == 2
    assert [(row["file"], row["line"], row["reason"]) for row in rejected] == [
        ("bad", 2, "no_prompt"),
        ("bad", 4, "duplicate_prompt"),
    ]
    with pytest.raises(InputError, match=r"dataset .*bad split train row 2: .prompt. is empty"):
        gather([], hub={"name": str(folder)})


@pytest.mark.slow
def test_a_folder_that_holds_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"dataset .*empty split train: "):
        gather([], hub={"name": str(tmp_path / "empty")})
    put(tmp_path / "empty", "train.jsonl", b'{"prompt": "x"\n')
    with pytest.raises(InputError, match=r"dataset .*empty split train: "):
        gather([], hub={"name": str(tmp_path / "empty")})
    put(tmp_path / "empty", "train.jsonl", as_bytes(ROWS[:2], "jsonl"))
    assert len(rows([], hub={"name": str(tmp_path / "empty")})) == 2


@pytest.mark.slow
def test_a_hub_that_is_not_reached_is_told_with_what_to_do(tmp_path: Path) -> None:
    code = (
        "from stillhouse.prompts.collect import CollectSettings, collect; from stillhouse.errors import InputError\n"
        "hub = {'name': 'nobody/nothing', 'revision': 'a' * 40, 'config': 'main'}\n"
        "try: collect([], CollectSettings.model_validate({'set': 's', 'hub': hub}))\n"
        "except InputError as error: print(error)"
    )
    cut_off = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", code], env=cut_off, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"dataset nobody/nothing (main) at {'a' * 40} split train: ")
    assert "The hub cannot be reached: download the dataset elsewhere and name its folder in `hub.name`" in done.stdout
    assert len(done.stdout.splitlines()) == 1
