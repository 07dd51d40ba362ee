"""What parsing told is kept by content, and a file that cannot be trusted is not read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stillhouse.provenance.parsed import Parsed

ROOT = Path(__file__).parents[2]

# Prints the digest of a script's closure and how many files were parsed for it.
DIGEST = """
import ast, sys
from pathlib import Path
count, parse = 0, ast.parse
def counting(*arguments, **named):
    global count
    count += 1
    return parse(*arguments, **named)
ast.parse = counting
from stillhouse.provenance.code import code_digest
print(code_digest(Path(sys.argv[1])).digest, count)
"""


@pytest.fixture
def maker(tmp_path: Path) -> Path:
    file = tmp_path / "maker.py"
    file.write_text("one")
    return file


def filled(maker: Path) -> Parsed:
    cache = Parsed(maker, maker.parent / "kept/parsed.json")
    cache.put("aa", {"digest": "1"})
    cache.save()
    return cache


def again(maker: Path) -> Parsed:
    return Parsed(maker, maker.parent / "kept/parsed.json")


def digest_in(folder: Path, script: str = "build_dataset.py") -> tuple[str, int]:
    """Digest and number of parsed files, by a process of its own in `folder`."""
    command = [sys.executable, "-c", DIGEST, str(ROOT / "scripts" / script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    digest, count = done.stdout.split()
    return digest, int(count)


def test_the_second_process_parses_nothing_and_says_the_same(tmp_path: Path) -> None:
    digest, count = digest_in(tmp_path)
    assert count > 30
    assert digest_in(tmp_path) == (digest, 0)
    other, some = digest_in(tmp_path, "train_adapter.py")
    assert other != digest and 0 < some < count  # what both reach is parsed once
    assert digest_in(tmp_path, "train_adapter.py") == (other, 0)
    assert digest_in(tmp_path) == (digest, 0)  # nothing was dropped for it


def test_what_was_put_is_there_for_the_next_process(maker: Path) -> None:
    filled(maker)
    assert again(maker).get("aa") == {"digest": "1"} and again(maker).get("bb") is None


def test_another_maker_takes_nothing_over(maker: Path) -> None:
    filled(maker)
    maker.write_text("two")
    assert again(maker).get("aa") is None


@pytest.mark.parametrize("damage", ["cut", "digit", "list", "empty", "binary", "folder"])
def test_a_damaged_file_is_not_believed(maker: Path, damage: str) -> None:
    filled(maker)
    file = maker.parent / "kept/parsed.json"
    text = file.read_text()
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        damaged = {"cut": text[:-9], "digit": text.replace('"1"', '"2"'), "list": "[]", "empty": ""}
        file.write_bytes(damaged[damage].encode() if damage in damaged else b"\xff\xfe\x00")
    assert damage == "folder" or file.read_bytes() != text.encode()
    cache = again(maker)
    assert cache.get("aa") is None
    cache.put("aa", {"digest": "3"})
    cache.save()
    assert again(maker).get("aa") == (None if damage == "folder" else {"digest": "3"})


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    expected, _ = digest_in(ROOT)
    (tmp_path / ".stillhouse").write_text("a file in the way")
    for _ in range(2):
        digest, count = digest_in(tmp_path)
        assert digest == expected and count > 30


def test_old_sources_are_dropped_when_there_are_too_many(maker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stillhouse.provenance.parsed.MOST", 3)
    for name in ("aa", "bb", "cc", "dd"):
        cache = again(maker)
        cache.put(name, {"digest": name})
        cache.save()
    kept = json.loads((maker.parent / "kept/parsed.json").read_text())["sources"]
    assert list(kept) == ["dd"]
