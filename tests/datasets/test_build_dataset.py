"""A whole build: books that balance, splits that load, bytes that stay."""

import json
import random
from collections import Counter
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.books import SourceBooks
from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.formats import FORMATS
from stillhouse.datasets.settings import BuildSettings
from stillhouse.errors import InputError
from stillhouse.provenance.files import read_json, read_parquet_rows, write_text

FILES = ["dropped.parquet", "report.json", "test.parquet", "train.parquet", "valid.parquet"]
ANSWER = "The keystone is the pump; it gives way first."


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def make(dataset: dict, name: str = "mixed") -> BuildSettings:
    return BuildSettings.model_validate({"name": name, "dataset": dataset})


def all_rows(folder: Path) -> list[dict]:
    return [row for name in ("train", "valid", "test") for row in read_parquet_rows(folder / f"{name}.parquet")]


def counted(folder: Path) -> dict[str, int]:
    return {name: pq.read_metadata(folder / f"{name}.parquet").num_rows for name in ("train", "valid", "test")}


def dropped_rows(folder: Path) -> list[dict]:
    return read_parquet_rows(folder / "dropped.parquet")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def plans(house) -> list[dict]:
    """30 good plans, and one answer for each way to be dropped."""
    good = [house.answer_row(house.distinct_prompt(n), f"{ANSWER} Case {n}.") for n in range(30)]
    bad = [
        house.answer_row("A very short one", "Too short."),
        house.answer_row("One that thinks", f"<think>Hm.</think> {ANSWER}"),
        house.answer_row("One that thinks, unclosed", f"<think>Hm. {ANSWER}"),
        house.answer_row("One that says nothing", " \n"),
        house.answer_row("One cut off by its limit", ANSWER, truncated=True),
        house.answer_row(house.distinct_prompt(0).upper() + "!", ANSWER, row_id="again"),
        house.answer_row(house.distinct_prompt(1) + " and " + house.distinct_prompt(1, "dam"), ANSWER),
        house.answer_row(house.distinct_prompt(1) + " and " + house.distinct_prompt(1, "dam") + " now", ANSWER),
        house.answer_row("What language is spoken in Brazil?", ANSWER),
    ]
    return [*good, *bad]


def everyday(house) -> list[dict]:
    topics = [house.distinct_prompt(n, "poem") for n in range(40)]
    rows = [house.answer_row(text, f"A rhyme on number {n}.", set_name="day") for n, text in enumerate(topics)]
    rows[3]["answer"] = "The keystone of a poem is its rhyme."
    return [{**row, "generation": "everyday"} for row in rows]


@pytest.fixture
def study(house, tmp_path):
    """Settings and keyword arguments of a build of two sources with every check on."""
    write_text(tmp_path / "markers.yaml", "markers: [keystone]\n")
    dataset = {
        "sources": [
            {"generation": "plans", "filters": [{"min_words": 4}, {"not_truncated": True}]},
            {"generation": "everyday", "share": 0.3, "filters": [{"without_markers": "data/markers.yaml"}]},
        ],
        "near_duplicates": {"threshold": 0.7},
        "decontaminate": {"against": ["held"]},
        "split": {"train": 0.8, "valid": 0.1},
    }
    answers = {
        "plans": house.write_answers(tmp_path / "plans.parquet", plans(house)),
        "everyday": house.write_answers(tmp_path / "everyday.parquet", everyday(house)),
    }
    held_out = [
        house.write_prompts(tmp_path / "held.parquet", ["What is the language spoken in Brazil?", "Name a river"])
    ]
    files = {"data/markers.yaml": tmp_path / "markers.yaml"}
    return make(dataset), {"answers": answers, "held_out": held_out, "files": files}


def preference(house, path: Path, **dataset) -> tuple[BuildSettings, dict[str, Path]]:
    rounds = [house.round_of(1, "AB", {"A": 3, "B": 1, "AB": 5}), house.round_of(2, "A", {"A": 6, "B": 2, "AB": 1})]
    rows = [house.answer_row(house.distinct_prompt(n), rounds=rounds) for n in range(20)]
    rows.append(house.answer_row("No tournament was held for this one"))
    settings = make({"format": "preference", "sources": [{"generation": "plans"}], **dataset}, "pairs")
    return settings, {"plans": house.write_answers(path, rows)}


def test_books_balance_and_every_reason_is_counted(study, tmp_path):
    built, inputs = study
    facts = build_dataset(built, output=tmp_path / "out", **inputs)
    report = read_json(tmp_path / "out" / "report.json")
    plans_books, day_books = report["sources"]
    assert plans_books["dropped"] == {
        "min_words": 1, "think_tag": 2, "empty_answer": 1, "not_truncated": 1, "exact_duplicate": 1,
        "near_duplicate": 1, "decontamination": 1,
    }  # fmt: skip
    assert plans_books["rows_kept"] == 31
    assert day_books["dropped"] == {"without_markers": 1, "not_sampled": 26} and day_books["rows_kept"] == 13
    for books in report["sources"]:
        assert books["rows_in"] == books["rows_kept"] + sum(books["dropped"].values())
    assert report["rows"] == 44 == sum(report["splits"].values()) == len(all_rows(tmp_path / "out"))
    assert day_books["realised_share"] == pytest.approx(0.3, abs=1 / 44)
    assert report["near_duplicates"] == {"proposed": 7, "dropped": 1}
    assert report["splits"] == facts["splits"] == counted(tmp_path / "out")
    (hit,) = report["decontamination"]
    assert hit["held_out"]["id"] == "h0" and hit["test"] == "content"
    assert {one["kept"]["prompt_id"] for one in report["duplicates"]} <= {
        r["prompt_id"] for r in all_rows(tmp_path / "out")
    }
    assert report["warnings"] == facts["warnings"] == []


def test_sft_rows(study, tmp_path, house):
    built, inputs = study
    build_dataset(built, output=tmp_path / "out", **inputs)
    rows = all_rows(tmp_path / "out")
    assert pq.read_schema(tmp_path / "out" / "train.parquet").names == FORMATS["sft"].schema().names == [
        "prompt", "completion", "tools", "prompt_id", "set", "id", "category", "generation", "sample", "copy", "calls",
    ]  # fmt: skip
    sources = {row["prompt_id"]: row for row in plans(house) + everyday(house)}
    for row in rows:
        answer = sources[row["prompt_id"]]
        assert row["prompt"] == json.loads(answer["messages"])
        assert row["completion"] == [{"role": "assistant", "content": answer["answer"]}]
        assert {row[k] == answer[k] for k in ("set", "id", "category", "generation", "sample", "calls")} == {True}
        assert row["copy"] == 0
    assert len({row["prompt_id"] for row in rows}) == len(rows)


def test_no_output_depends_on_the_run_or_on_the_order_of_the_inputs(study, tmp_path, house):
    built, inputs = study
    build_dataset(built, output=tmp_path / "one", **inputs)
    draw = random.Random(3)
    for name, rows in (("plans", plans(house)), ("everyday", everyday(house))):
        draw.shuffle(rows)
        house.write_answers(inputs["answers"][name], rows)
    build_dataset(built, output=tmp_path / "two", **inputs)
    assert list(bytes_of(tmp_path / "one")) == FILES
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert not any(str(tmp_path).encode() in content for content in bytes_of(tmp_path / "one").values())


@settings(max_examples=15, deadline=None)
@given(
    picks=st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3)), max_size=25, unique=True),
    draw=st.randoms(use_true_random=False),
    order=st.sampled_from(["shuffle", "source"]),
    fmt=st.sampled_from(["sft", "preference"]),
)
def test_any_build_balances_whatever_the_order(house, tmp_path_factory, picks, draw, order, fmt):
    folder = tmp_path_factory.mktemp("any")
    borda = [{"A": 1, "B": 2, "AB": 6}, {"A": 3, "B": 3, "AB": 3}]
    rows = [
        house.answer_row(
            house.distinct_prompt(n), ["Fine words.", "", "<think> x", "No."][kind], row_id=f"{n}-{kind}",
            rounds=[house.round_of(1, "AB", borda[kind % 2], A=f"a{kind}")] * (kind + 1),
        )
        for n, kind in picks
    ]  # fmt: skip
    sources = [{"generation": "a"}, {"generation": "b", "share": 0.25, "filters": [{"min_words": 2}]}]
    built = make({"format": fmt, "sources": sources, "order": order, "near_duplicates": {}})
    results = []
    for name in ("one", "two"):
        draw.shuffle(rows)
        answers = {
            "a": house.write_answers(folder / f"a{name}.parquet", [row for row in rows if row["prompt_id"] < "8"]),
            "b": house.write_answers(folder / f"b{name}.parquet", rows),
        }
        build_dataset(built, answers, [], folder / name)
        results.append(bytes_of(folder / name))
    assert results[0] == results[1]
    report = read_json(folder / "one" / "report.json")
    for books in report["sources"]:
        assert books["rows_in"] == books["rows_kept"] + sum(books["dropped"].values())
    assert b"<think" not in b"".join(json.dumps(row).encode() for row in all_rows(folder / "one"))


def test_preference_rows(house, tmp_path):
    built, answers = preference(house, tmp_path / "plans.parquet")
    build_dataset(built, answers, [], tmp_path / "out")
    rows, report = all_rows(tmp_path / "out"), read_json(tmp_path / "out" / "report.json")
    assert pq.read_schema(tmp_path / "out" / "train.parquet").equals(FORMATS["preference"].schema())
    (books,) = report["sources"]
    assert books["dropped"] == {"no_pair": 1} and books["rows_kept"] == 20
    assert books["pairs"] == {"considered": 81, "kept": 80, "dropped": {"missing": 1}}
    assert len(rows) == 80 and report["prompts"] == 20
    assert all(row["chosen"] != row["rejected"] and row["margin"] >= 1 for row in rows)


def test_all_pairs_of_a_prompt_are_in_one_split(house, tmp_path):
    built, answers = preference(house, tmp_path / "plans.parquet", split={"train": 0.5, "valid": 0.25})
    build_dataset(built, answers, [], tmp_path / "out")
    ids = [
        {row["prompt_id"] for row in read_parquet_rows(tmp_path / "out" / f"{name}.parquet")}
        for name in ("train", "valid", "test")
    ]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 20 and all(ids)


def test_sampled_pairs_balance(house, tmp_path):
    _, answers = preference(house, tmp_path / "plans.parquet")
    sources = [{"generation": "plans", "filters": [{"min_words": 1}]}, {"generation": "more", "share": 0.2}]
    built = make({"format": "preference", "sources": sources})
    rounds = [house.round_of(1, "AB", {"A": 3, "B": 1, "AB": 5})]
    more = [house.answer_row(house.distinct_prompt(n, "mill"), rounds=rounds) for n in range(30)]
    answers["more"] = house.write_answers(tmp_path / "more.parquet", more)
    build_dataset(built, answers, [], tmp_path / "out")
    books = read_json(tmp_path / "out" / "report.json")["sources"][1]
    assert books["pairs"] == {"considered": 60, "kept": 20, "dropped": {"not_sampled": 40}}
    assert books["rows_in"] == books["rows_kept"] + books["dropped"]["not_sampled"]
    assert books["realised_share"] == 0.2


def test_splits_load_with_datasets(study, tmp_path):
    built, inputs = study
    build_dataset(built, output=tmp_path / "out", **inputs)
    files = {name: str(tmp_path / "out" / f"{name}.parquet") for name in ("train", "valid", "test")}
    loaded = datasets.load_dataset("parquet", data_files=files)
    assert {name: len(split) for name, split in loaded.items()} == counted(tmp_path / "out")
    assert [message["role"] for message in loaded["train"][0]["completion"]] == ["assistant"]


def test_an_empty_dataset_is_written_and_warned_of(house, tmp_path):
    answers = {"plans": house.write_answers(tmp_path / "plans.parquet", [])}
    facts = build_dataset(make({"sources": [{"generation": "plans"}]}), answers, [], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    for name in ("train", "valid", "test"):
        assert pq.read_schema(tmp_path / "out" / f"{name}.parquet").equals(FORMATS["sft"].schema())
    assert facts["rows"] == 0 and facts["warnings"] == [
        "the train split is empty: nothing can be trained on this dataset"
    ]


def test_a_share_that_cannot_be_met_is_reported(house, tmp_path):
    answers = {
        "plans": house.write_answers(
            tmp_path / "p.parquet", [house.answer_row(house.distinct_prompt(n)) for n in range(30)]
        ),
        "few": house.write_answers(tmp_path / "f.parquet", [house.answer_row("Name a river in Peru")]),
    }
    built = make({"sources": [{"generation": "plans"}, {"generation": "few", "share": 0.5}]})
    facts = build_dataset(built, answers, [], tmp_path / "out")
    (warning,) = facts["warnings"]
    assert "source 2 (few): share 0.5 needs 29 more rows than the 1 that are left" in warning
    assert facts["rows"] == 31 and warning in read_json(tmp_path / "out" / "report.json")["warnings"]


def test_one_more_row_changes_little(house, tmp_path):
    def build(count: int) -> set[tuple[str, str]]:
        day = [house.answer_row(house.distinct_prompt(n, "poem")) for n in range(count)]
        answers = {
            "plans": house.write_answers(
                tmp_path / "p.parquet", [house.answer_row(house.distinct_prompt(n)) for n in range(40)]
            ),
            "day": house.write_answers(tmp_path / "d.parquet", day),
        }
        built = make({"sources": [{"generation": "plans"}, {"generation": "day", "share": 0.2}]})
        build_dataset(built, answers, [], tmp_path / "out")
        return {
            (name, row["prompt_id"])
            for name in ("train", "valid")
            for row in read_parquet_rows(tmp_path / "out" / f"{name}.parquet")
        }

    assert len(build(60) - build(61)) <= 3


def test_faults_of_the_inputs(house, tmp_path):
    built = make({"sources": [{"generation": "plans"}]})
    with pytest.raises(InputError, match="generation 'plans'"):
        build_dataset(built, {}, [], tmp_path / "out")
    with pytest.raises(InputError, match=r"none\.parquet: there is no such"):
        build_dataset(built, {"plans": tmp_path / "none.parquet"}, [], tmp_path / "out")
    prompts = house.write_prompts(tmp_path / "prompts.parquet", ["Name a river"])
    with pytest.raises(InputError, match=r"prompts\.parquet: not a parquet file with the columns"):
        build_dataset(built, {"plans": prompts}, [], tmp_path / "out")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"text\.parquet: not a parquet file"):
        build_dataset(built, {"plans": tmp_path / "text.parquet"}, [], tmp_path / "out")
    broken = house.write_answers(tmp_path / "b.parquet", [{**house.answer_row("Name a river"), "messages": "[1]"}])
    with pytest.raises(InputError, match=r"b\.parquet: row 0: prompt .* no list of messages"):
        build_dataset(built, {"plans": broken}, [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_lost_row_is_a_bug():
    books = SourceBooks("plans", None, 3, 1, 1, Counter(min_words=1), [])
    with pytest.raises(RuntimeError, match=r"source 1 \(plans\): 3 rows in, 1 kept, 1 dropped"):
        books.check(0)
