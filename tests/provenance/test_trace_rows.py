"""A row leads back to its prompt, votes, calls and filters; an evaluation's answer to its judgements."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from traced_house import CUT, DAYS, PLANS, REFUSED, SHORT, copied, record

from stillhouse.errors import RecordError
from stillhouse.llm.ledger import Ledger
from stillhouse.prompts.rows import SCHEMA
from stillhouse.provenance.call_facts import CallBook, tournament_roles
from stillhouse.provenance.calls import CallIndex
from stillhouse.provenance.dataset_facts import dataset_facts
from stillhouse.provenance.files import read_parquet_rows, write_parquet
from stillhouse.provenance.lineage import Lineage
from stillhouse.provenance.records import read_record, write_record
from stillhouse.provenance.rows import RowStory, find_prompt
from stillhouse.provenance.tables import Tables

TRAIN, PAIRS = "results/datasets/mixed/train.parquet", "results/datasets/pairs/train.parquet"
ANSWERS = "results/generations/plans/answers.parquet"
STUDENT = "results/evaluations/held/responses/student.parquet"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the small results folder, with its sources."""
    return copied(tmp_path)


def tables_of(house: Path) -> Tables:
    return Tables(Lineage(house))


def story(house: Path, name: str, within: str | None = None) -> dict[str, Any]:
    tables = tables_of(house)
    table = tables.get(within) if within else None
    book = CallBook(CallIndex(house / "results/ledger", house))
    facts = RowStory(tables, book, find_prompt(tables, name, table), table).facts()
    assert tables.damaged == []
    return json.loads(json.dumps(facts))


def id_of(word: str) -> str:
    return f"plan-{PLANS.index(word)}" if word in PLANS else f"day-{DAYS.index(word)}"


def test_a_row_leads_back_to_prompt_rounds_and_votes(house: Path) -> None:
    facts = story(house, "plan-0")
    row = next(row for row in read_parquet_rows(house / ANSWERS) if row["id"] == "plan-0")
    assert facts["prompts"][0]["sources"][0]["path"] == "data/prompts/plans.jsonl"
    answer = facts["answers"][0]
    assert (answer["answer"], answer["file"], answer["set"]) == (row["answer"], ANSWERS, "plans")
    assert answer["rounds"] == json.loads(row["transcript"])["rounds"]
    assert answer["rounds"][0]["winner"] == "B"
    assert answer["answered_by"].startswith("answer_shard generation=plans shard=")
    assert [call["digest"] for call in answer["calls"]] == row["calls"]


def test_every_call_has_its_role_and_what_the_ledger_says(house: Path) -> None:
    answer = story(house, "plan-0")["answers"][0]
    ledger = Ledger(house / "results/ledger")
    roles = ["teacher", "critic, round 1", "author, round 1", "synthesizer, round 1"]
    roles += [f"judge {judge}, round 1" for judge in range(3)] + ["critic, round 2"]
    assert [call["role"] for call in answer["calls"]] == roles
    for call in answer["calls"]:
        entry = ledger.entry(call["digest"])
        assert call["prompt_tokens"] == entry["usage"]["prompt_tokens"]
        assert (call["model"], call["made_by"]) == (
            "m",
            answer["answered_by"].replace(" ", "-").replace("generation=", "").replace("shard=", ""),
        )
        assert call["reused"] is False


def test_a_call_older_than_the_job_that_used_it_was_reused(house: Path) -> None:
    for file in (house / "results/generations/plans/shards").glob("*.record.json"):
        record = read_record(file)
        record["run"]["started"] = "2999-01-01T00:00:00+00:00"
        write_record(file, record)
    assert {call["reused"] for call in story(house, "plan-0")["answers"][0]["calls"]} == {True}


def test_a_row_in_a_dataset_tells_split_filters_and_mix(house: Path) -> None:
    rows = read_parquet_rows(house / TRAIN)
    place, row = next((place, row) for place, row in enumerate(rows) if row["generation"] == "everyday")
    facts = next(one for one in story(house, row["prompt_id"])["datasets"] if one["dataset"] == "mixed")
    assert [(one["file"], one["row"], one["split"]) for one in facts["rows"]] == [(TRAIN, place, "train")]
    assert facts["passed"][-2:] == ["min_words: 3", "not_truncated: true"]
    assert facts["mix"][0]["share"] == 0.3
    assert facts["rows"][0]["completion"] == row["completion"][0]["content"]


def test_a_row_of_a_dataset_with_calls_of_tools(house: Path) -> None:
    table = pq.read_table(house / TRAIN)
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "weigh", "arguments": {}}}]}
    plain = {"role": "assistant", "content": "No tool is needed."}
    turns = [[json.dumps(call if place else plain)] for place in range(len(table))]
    place = table.schema.get_field_index("completion")
    rich = pa.array(turns, pa.list_(pa.string())).cast(pa.list_(pa.json_()))
    pq.write_table(table.set_column(place, "completion", rich), house / TRAIN)

    def told(row: int) -> str:
        prompt = table.column("prompt_id")[row].as_py()
        facts = next(one for one in story(house, prompt)["datasets"] if one["dataset"] == "mixed")
        return next(one["completion"] for one in facts["rows"] if one["row"] == row)

    assert told(0) == "No tool is needed."
    assert json.loads(told(1)) == {"tool_calls": call["tool_calls"]}


@pytest.mark.parametrize(("word", "filter_"), [(SHORT, "min_words: 3"), (CUT, "not_truncated: true")])
def test_a_dropped_row_names_the_filter_that_took_it(house: Path, word: str, filter_: str) -> None:
    facts = next(one for one in story(house, id_of(word))["datasets"] if one["dataset"] == "mixed")
    assert facts["rows"] == []
    assert facts["dropped"] == [filter_]


def test_a_row_that_the_mix_left_out_says_so(house: Path) -> None:
    kept = {
        row["id"]
        for name in ("train", "valid")
        for row in read_parquet_rows(house / f"results/datasets/mixed/{name}.parquet")
    }
    left = next(id_of(word) for word in DAYS if word not in (SHORT, CUT) and id_of(word) not in kept)
    facts = next(one for one in story(house, left)["datasets"] if one["dataset"] == "mixed")
    assert "not_sampled" in facts["dropped"][0] and len(facts["dropped"]) == 1


NAME = {"generation": "plans", "prompt_id": "p", "set": "plans", "id": "plan-9", "sample": 0}
HELD = {"prompt_id": "h", "set": "held", "id": "held-1"}


@pytest.mark.parametrize(
    ("stage", "reason", "detail", "words"),
    [
        ("duplicates", "near_duplicate", {"kept": {**NAME, "id": "plan-1"}, "similarity": 0.97}, "duplicate: p (id plan-1"),
        ("decontamination", "decontamination", {"held_out": HELD, "test": "ngram", "similarity": 0.5}, "(id held-1, set held)"),
        ("splits", "near_of_train", {"kept": {**NAME, "id": "plan-2"}, "similarity": 0.9}, "training row, but for another"),
        ("mix", "over_limit", None, "its source's limit was reached (over_limit)"),
        ("filters", "mine", None, "mine"),
    ],
)  # fmt: skip
def test_the_reason_of_a_dropped_row_in_words(house: Path, stage: str, reason: str, detail: dict, words: str) -> None:
    answer = {**NAME, "file": ANSWERS, "answer": "a b c"}
    tables = tables_of(house)
    node = tables.lineage.find("results/datasets/plain")
    dropped = {**NAME, "stage": stage, "reason": reason, "detail": json.dumps(detail) if detail else None}
    others = [{**dropped, "sample": 1}, {**dropped, "set": "other"}]
    (facts,) = dataset_facts(tables, node, [answer], {}, [*others, dropped])
    assert len(facts["dropped"]) == 1 and words in facts["dropped"][0]


def test_a_dataset_of_an_older_version_tells_no_reason(house: Path) -> None:
    tables = tables_of(house)
    (facts,) = dataset_facts(tables, tables.lineage.find("results/datasets/plain"), [{**NAME, "file": ANSWERS}], {}, [])
    assert (facts["rows"], facts["dropped"]) == ([], [])


def test_a_prompt_without_an_answer_tells_where_it_failed(house: Path) -> None:
    facts = story(house, id_of(REFUSED))
    assert (facts["answers"], facts["datasets"]) == ([], [])
    assert [(one["stage"], one["reason"]) for one in facts["failures"]] == [("teacher", "the model refuses")]


def test_pairs_are_told_with_both_sides(house: Path) -> None:
    facts = story(house, "plan-1", PAIRS)
    pairs = [row for one in facts["datasets"] for row in one["rows"] if row["file"] == PAIRS]
    assert {(pair["chosen_candidate"], pair["rejected_candidate"]) for pair in pairs} <= {("B", "A"), ("B", "AB")}
    assert all(pair["chosen"].startswith("Revision") for pair in pairs) and pairs
    assert [one["dataset"] for one in facts["datasets"]] == ["pairs"]


def test_an_evaluation_answer_has_its_judgements_and_their_calls(house: Path) -> None:
    prompt = read_parquet_rows(house / "results/evaluations/held/judgements/rubric.parquet")[0]["id"]
    facts = {one["subject"]: one for one in story(house, prompt)["responses"]}
    assert set(facts) == {"gold", "student"}
    student = facts["student"]
    assert student["markers"][0]["matched"] == ["keystone", "(?m)^verdict:"]
    assert student["rubric"][0]["components"]["clear"]["score"] == 7
    assert [check["passed"] for check in student["checks"]] == [True]
    assert [(found["judge"], found["broken"]) for found in student["breaks"]] == [(None, False), ("m", False)]
    assert student["breaks"][1]["calls"][0]["role"] == "judge"
    assert [one["verdict"] for one in student["pairwise"]] == ["first", "second"]
    assert student["pairwise"][0]["calls"][0]["role"] == "judge"
    assert student["calls"][0]["made_by"] == "answer_subject-held-student"


def test_one_artefact_narrows_the_story(house: Path) -> None:
    assert [one["subject"] for one in story(house, "held-0", STUDENT)["responses"]] == ["student"]
    facts = story(house, "plan-0", "results/prompts/plans.parquet")
    assert (facts["answers"], facts["datasets"], len(facts["prompts"])) == ([], [], 1)
    facts = story(house, "plan-0", ANSWERS)
    assert (len(facts["answers"]), facts["datasets"]) == (1, [])
    facts = story(house, "plan-0", "results/generations/plans/shards/2.parquet") if _in_shard_2(house) else facts
    assert len(facts["answers"]) == 1


def _in_shard_2(house: Path) -> bool:
    return any(row["id"] == "plan-0" for row in read_parquet_rows(house / "results/generations/plans/shards/2.parquet"))


def test_shards_answer_where_nothing_was_merged_yet(house: Path) -> None:
    (house / "results/generations/plans/record.json").unlink()
    facts = story(house, "plan-0")
    assert facts["answers"][0]["file"].startswith("results/generations/plans/shards/")
    assert facts["answers"][0]["calls"][0]["role"] == "teacher"


def test_prompts_are_found_by_id_prompt_id_and_beginning(house: Path) -> None:
    tables = tables_of(house)
    known = {row["id"]: row["prompt_id"] for row in read_parquet_rows(house / "results/prompts/plans.parquet")}
    assert find_prompt(tables, "plan-3") == known["plan-3"] == find_prompt(tables, known["plan-3"])
    assert find_prompt(tables, known["plan-3"][:12]) == known["plan-3"]
    with pytest.raises(RecordError, match=r"may mean 2\d* prompts: .*give the prompt id"):
        find_prompt(tables, "")
    with pytest.raises(RecordError, match="no prompt below results/ has the id or prompt id 'nobody'"):
        find_prompt(tables, "nobody")


def test_one_id_of_two_sets_is_ambiguous_until_a_file_narrows_it(house: Path) -> None:
    rows = read_parquet_rows(house / "results/prompts/everyday.parquet")
    path = "results/prompts/again.parquet"
    with contextlib.chdir(house):
        write_parquet(path, [{**row, "id": f"plan-{n}"} for n, row in enumerate(rows)], SCHEMA)
        record(
            "collect_prompts",
            {"prompts": "again"},
            [path],
            {"source": ["data/prompts/everyday.jsonl"]},
            {"set": "again"},
        )
    tables = tables_of(house)
    with pytest.raises(RecordError, match="'plan-0' may mean 2 prompts"):
        find_prompt(tables, "plan-0")
    assert find_prompt(tables, "plan-0", tables.get(path)) == rows[0]["prompt_id"]


def test_a_file_that_lacks_the_row_says_where_it_stands(house: Path) -> None:
    tables = tables_of(house)
    with pytest.raises(RecordError, match=r"holds no row of 'day-3'; it stands in .*answers\.parquet"):
        find_prompt(tables, id_of(SHORT), tables.get(TRAIN))


def test_a_damaged_file_is_left_out_and_told(house: Path) -> None:
    (house / TRAIN).unlink()
    (house / TRAIN).write_bytes(b"PAR1 nonsense PAR1")
    tables = tables_of(house)
    facts = RowStory(tables, CallBook(None), find_prompt(tables, "plan-0")).facts()
    assert len(facts["answers"]) == 1
    assert len(tables.damaged) == 1 and tables.damaged[0].startswith(f"{TRAIN} (build_dataset dataset=mixed)")


def test_without_a_ledger_calls_are_told_by_digest(house: Path) -> None:
    tables = tables_of(house)
    calls = RowStory(tables, CallBook(None), find_prompt(tables, "plan-0")).facts()["answers"][0]["calls"]
    assert calls[0]["role"] == "teacher" and calls[0]["fault"] == "not in the ledger"


def test_a_changed_ledger_line_is_told_with_its_call(house: Path) -> None:
    digest = story(house, "plan-0")["answers"][0]["calls"][0]["digest"]
    for file in (house / "results/ledger").glob("*.jsonl"):
        file.write_bytes(file.read_bytes().replace(b"so look at it", b"so kook at it"))
    call = story(house, "plan-0")["answers"][0]["calls"][0]
    assert call["digest"] == digest and "checksum differs" in call["fault"]


ROUND = {"round": 1, "no_flaws": False, "votes": [{"judge": 0, "call": "v0"}, {"judge": 1, "call": "v1"}]}
LAST = {"round": 2, "no_flaws": True, "votes": []}


@pytest.mark.parametrize(
    ("digests", "attempts", "roles"),
    [
        (["t"], {}, ["teacher"]),
        (["t", "t2"], {"t": 0, "t2": 1}, ["teacher", "teacher"]),
        (["t", "t2"], {"t": 0, "t2": None}, ["teacher", None]),
    ],
)
def test_roles_of_a_single_pass(digests: list[str], attempts: dict, roles: list) -> None:
    assert tournament_roles(digests, [], attempts) == roles


def test_roles_with_second_attempts() -> None:
    digests = ["t", "c", "a", "a2", "s", "v0", "v1", "c2"]
    attempts = dict.fromkeys(digests, 0) | {"a2": 1}
    roles = ["teacher", "critic, round 1", "author, round 1", "author, round 1", "synthesizer, round 1"]
    roles += ["judge 0, round 1", "judge 1, round 1", "critic, round 2"]
    assert tournament_roles(digests, [ROUND, LAST], attempts) == roles
    assert tournament_roles(digests, [ROUND, LAST], {})[5:7] == roles[5:7]
    assert tournament_roles(digests, [ROUND, LAST], {})[0] is None
