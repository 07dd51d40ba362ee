"""Collecting a prompt set: what is taken down stays out, the limit moves nobody up, and the books add up."""

import json
import logging
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.prompts.collect import Collected, CollectSettings, collect, tell
from stillhouse.prompts.read import read_prompts
from stillhouse.prompts.shards import rows_of_shard
from stillhouse.provenance.digests import digest_json

CHAT = [
    {"role": "system", "content": "You work for Acme."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "Two?"},
]


def write(folder: Path, count: int = 12) -> Path:
    lines = [
        {"id": f"p{n}", "prompt": f"Question {n} about {'a bakery' if n % 4 == 0 else 'a mill'}?"} for n in range(count)
    ]
    file = folder / "prompts.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in [*lines, {"id": "chat", "messages": CHAT}]))
    return file


def run(file: Path, limit: int | None = None, **exclude: list[str]) -> Collected:
    return collect([file], CollectSettings.model_validate({"set": "plans", "limit": limit, "exclude": exclude}))


def ids(rows: pa.Table) -> set[str]:
    return set(rows["id"].to_pylist())


def test_nothing_excluded_is_the_file(tmp_path: Path) -> None:
    file = write(tmp_path)
    found = run(file)
    assert found.kept.to_pylist() == read_prompts(file, "plans")
    assert found.facts() == {
        "lines": 13,
        "prompts": 13,
        "excluded": 0,
        "over_limit": 0,
        "not_sampled": 0,
        "other_categories": 0,
        "repeated": 0,
        "rejected": 0,
        "reasons": {},
        "exclude": [],
    }


def test_prompts_go_by_id_of_the_file_by_prompt_id_and_by_pattern(tmp_path: Path) -> None:
    file = write(tmp_path)
    third = next(row["prompt_id"] for row in read_prompts(file, "plans") if row["id"] == "p3")
    assert ids(run(file, prompts=["plans:p1"]).excluded) == {"p1"}
    assert ids(run(file, prompts=[third]).excluded) == {"p3"}
    assert ids(run(file, patterns=["(?i)BAKERY"]).excluded) == {"p0", "p4", "p8"}
    assert ids(run(file, patterns=["Acme"]).excluded) == {"chat"}, "every turn counts, the system's too"
    assert ids(run(file, patterns=["^One"]).excluded) == {"chat"}
    assert run(file, prompts=["other:p1", "0" * 16], patterns=["bakery mill"]).excluded.num_rows == 0


def test_a_source_takes_the_whole_set(tmp_path: Path) -> None:
    found = run(write(tmp_path), sources=["plans"], prompts=["plans:p1"])
    assert len(found.kept) == 0 and len(found.excluded) == 13
    assert found.entries == {("sources", "plans"): 13, ("prompts", "plans:p1"): 1}


def test_an_id_may_hold_a_colon(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"id": "a:b", "prompt": "One?"}\n{"id": "b", "prompt": "Two?"}\n')
    assert ids(run(file, prompts=["plans:a:b"]).excluded) == {"a:b"}


def test_no_prompt_moves_up_under_the_limit(tmp_path: Path) -> None:
    file = write(tmp_path)
    before = run(file, limit=6)
    gone, beyond = before.kept["id"][2].as_py(), run(file).kept["id"][9].as_py()
    after = run(file, limit=6, prompts=[f"plans:{gone}", f"plans:{beyond}"])
    assert after.kept.to_pylist() == [row for row in before.kept.to_pylist() if row["id"] != gone]
    assert after.facts()["excluded"] == 2 and after.facts()["over_limit"] == 6


def test_facts_name_entries_and_no_text_of_a_prompt(tmp_path: Path) -> None:
    facts = run(write(tmp_path), prompts=["plans:p1", "plans:nobody"], patterns=["b[a]kery"]).facts()
    assert facts["exclude"] == [
        {"key": "prompts", "entry": "plans:p1", "prompts": 1},
        {"key": "prompts", "entry": "plans:nobody", "prompts": 0},
        {"key": "patterns", "entry": "b[a]kery", "prompts": 3},
    ]
    assert "Question" not in json.dumps(facts)


def test_the_log_warns_of_an_id_that_the_set_does_not_have(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exclude = {"prompts": ["plans:nobody", "0" * 16], "patterns": ["zeppelin"]}
    given_settings = CollectSettings.model_validate({"set": "plans", "exclude": exclude})
    with caplog.at_level(logging.INFO):
        tell(given_settings, collect([write(tmp_path)], given_settings))
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["exclude.prompts 'plans:nobody' takes 0 prompts of set plans"]
    assert len(caplog.records) == 3


def test_the_log_warns_of_a_set_that_is_empty_now(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given_settings = CollectSettings.model_validate({"set": "plans", "exclude": {"sources": ["plans"]}})
    tell(given_settings, collect([write(tmp_path)], given_settings))
    assert "set plans has no prompt left" in caplog.text


def test_shards_that_lose_no_row_keep_what_their_build_key_counts(tmp_path: Path) -> None:
    """scripts/answer_shard.py counts a shard's own rows; so the others are neither built nor asked again."""
    file = write(tmp_path, 40)
    before, after = run(file).kept.to_pylist(), run(file, prompts=["plans:p7"]).kept.to_pylist()
    digests = [[digest_json(rows_of_shard(rows, shard, 5)) for shard in range(5)] for rows in (before, after)]
    assert sum(one != two for one, two in zip(*digests, strict=True)) == 1


@settings(max_examples=40, deadline=None)
@given(
    limit=st.none() | st.integers(1, 20),
    gone=st.lists(st.integers(0, 14), max_size=6),
    patterns=st.lists(st.sampled_from(["bakery", "mill", "1", "Acme"]), max_size=2),
)
def test_lines_are_prompts_and_excluded_and_over_the_limit(
    tmp_path_factory: pytest.TempPathFactory, limit: int | None, gone: list[int], patterns: list[str]
) -> None:
    file = write(tmp_path_factory.mktemp("books"))
    found = run(file, limit, prompts=[f"plans:p{n}" for n in gone], patterns=patterns)
    facts = found.facts()
    assert facts["lines"] == 13 == facts["prompts"] + facts["excluded"] + facts["over_limit"]
    assert facts["prompts"] == len(found.kept)
    assert not ids(found.kept) & ids(found.excluded)
    gone_ids = ids(found.excluded)
    assert found.kept.to_pylist() == [row for row in run(file, limit).kept.to_pylist() if row["id"] not in gone_ids]
