"""scripts/collect_prompts.py: its files, the same bytes from any order, and a million lines in bounded memory."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest
from prompt_files import put

from stillhouse.prompts.fetch import REJECTED_SCHEMA
from stillhouse.prompts.rows import SCHEMA
from stillhouse.provenance.job import Files, Params

SCRIPT = Path(__file__).parents[2] / "scripts/collect_prompts.py"
ROWS = [{"id": f"p{n}", "prompt": f"Question {n}?"} for n in range(50)]
BAD = b'{"id": "p1", "prompt": "Another?"}\n{"prompt": 3}\n'


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collect_prompts", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder: Path, sources: list[Path] | Path, *, evaluation: bool = False, **recipe: Any) -> dict[str, Any]:
    made = {"prompts": folder / "out.parquet"} | ({} if evaluation else {"rejected": folder / "out.rejected.parquet"})
    params = Params("collect_prompts", {}, {"set": "s", **recipe}, {}, "key", 1, {}, {})
    return script().main(Files({"source": sources}), Files(made), params)


def test_the_rule_of_a_prompt_set_always_writes_both_tables(tmp_path: Path) -> None:
    facts = run(tmp_path, [put(tmp_path, "a.jsonl", ROWS)])
    assert (facts["lines"], facts["prompts"], facts["rejected"]) == (50, 50, 0)
    assert pq.read_schema(tmp_path / "out.parquet").equals(SCHEMA)
    table = pq.read_table(tmp_path / "out.rejected.parquet")
    assert table.num_rows == 0 and table.schema.equals(REJECTED_SCHEMA)


def test_rejected_rows_are_listed_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    good, bad = put(tmp_path, "b.jsonl", ROWS), put(tmp_path, "a.jsonl", BAD)
    facts = run(tmp_path, [good, bad], bad_rows="reject")
    assert facts["reasons"] == {"no_prompt": 1, "duplicate_id": 1}
    listed = pq.read_table(tmp_path / "out.rejected.parquet").to_pylist()
    assert listed == [
        {"file": "a.jsonl", "line": 2, "reason": "no_prompt", "excerpt": '{"prompt": 3}'},
        {"file": "b.jsonl", "line": 2, "reason": "duplicate_id", "excerpt": '{"id": "p1", "prompt": "Question 1?"}'},
    ]


def test_an_evaluations_rule_names_one_file_and_no_table_of_rejected_rows(tmp_path: Path) -> None:
    recorded = [{**ROWS[0], "response": "x"}, {**ROWS[0], "response": "y"}, {**ROWS[1], "response": "z"}]
    facts = run(tmp_path, put(tmp_path, "a.jsonl", recorded), evaluation=True, recorded=True)
    assert (facts["prompts"], facts["repeated"]) == (2, 1)
    assert [path.name for path in tmp_path.glob("out*")] == ["out.parquet"]


def test_the_bytes_depend_on_neither_order_nor_format(tmp_path: Path) -> None:
    made = []
    for name, entries in (("a.jsonl", ROWS), ("b.jsonl", ROWS[::-1]), ("c.csv.gz", ROWS), ("d.parquet", ROWS)):
        run(tmp_path, [put(tmp_path, name, entries)], sample={"size": 20})
        made.append((tmp_path / "out.parquet").read_bytes())
    assert made == made[:1] * 4


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    from stillhouse.errors import InputError

    with pytest.raises(InputError):
        run(tmp_path, [put(tmp_path, "a.jsonl", BAD)])
    assert not list(tmp_path.glob("*.parquet*"))


MEASURED = """
import json, re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stillhouse.prompts.collect import CollectSettings, collect, write_prompts
settings = CollectSettings.model_validate(json.loads(sys.argv[3]))
counted = []
found = collect([Path(sys.argv[2])], settings, lambda row: counted.append(1))
write_prompts(Path(sys.argv[2]).with_name("out.parquet"), found.kept)
# not ru_maxrss: that of a child begins with what the process had that started it
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps([found.facts(), len(counted), peak]))
"""


@pytest.mark.slow
def test_a_million_lines_stream_into_a_sample(tmp_path: Path) -> None:
    """A file of some 110 MB: the sample takes a fifth of a gigabyte, interpreter and pyarrow included."""
    file = tmp_path / "prompts.txt"
    with open(file, "w") as stream:
        for number in range(1_000_000):
            stream.write(f"Question {number}: {'what will the harbour cost in a winter of ice ' * 2}and why?\n")
            if number % 100_000 == 0:
                stream.write("Which of them came twice?\n")
    recipe = {"set": "s", "sample": {"size": 10_000}, "bad_rows": "reject"}
    command = [sys.executable, "-c", MEASURED, str(SCRIPT.parent), str(file), json.dumps(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts, rejected, peak = json.loads(done.stdout)
    assert (facts["lines"], facts["prompts"], facts["not_sampled"]) == (1_000_010, 10_000, 990_001)
    assert facts["reasons"] == {"duplicate_prompt": 9} and rejected == 9
    assert peak < 400, f"{peak:.0f} MB"
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 10_000
