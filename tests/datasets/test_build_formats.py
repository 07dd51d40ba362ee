"""Builds of every format over several generations, and a large one whose memory is held against its size."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_model import write_tiny_tokenizer

from stillhouse.datasets import kernels
from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.formats import FORMATS
from stillhouse.datasets.messages import read_examples
from stillhouse.datasets.settings import BuildSettings
from stillhouse.datasets.tokens import Counter
from stillhouse.errors import InputError
from stillhouse.provenance.files import read_json, read_parquet_rows

CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "1", "function": {"name": "weigh", "arguments": "{}"}}],
}
TOOLS = json.dumps(
    [{"type": "function", "function": {"name": "weigh", "parameters": {"type": "object", "properties": {}}}}]
)


def generations(house, folder: Path, winner: str = "AB") -> dict[str, Path]:
    """plans: a tournament with reasoning; talk: conversations of several turns; tools: one with a call among plain ones."""
    others = {"A": 1, "B": 2, "AB": 0}
    rounds = [house.round_of(1, winner, {**others, winner: 5}), house.round_of(2, "A", {"A": 6, "B": 2, "AB": 1})]
    plans = [
        house.answer_row(
            house.distinct_prompt(n),
            f"The plan holds, case {n}.",
            rounds=rounds,
            reasoning=f"Think {n}.",
            draft="Draft.",
        )
        for n in range(24)
    ]
    talk = [
        house.answer_row(
            f"talk {n}", f"We go on, {n}.", set_name="talk", rounds=rounds, reasoning="Hm.", draft="Draft.",
            messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": house.distinct_prompt(n, "ferry")},
                      {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": f"And the {n} oxen?"}],
        )
        for n in range(12)
    ]  # fmt: skip
    asked = [
        {"role": "user", "content": "How heavy is the grain?"},
        CALL,
        {"role": "tool", "content": "9 t", "tool_call_id": "1"},
    ]
    tools = [
        house.answer_row(
            "weigh", "Nine tonnes.", set_name="tools", messages=asked, tools=TOOLS, rounds=rounds, reasoning="R."
        ),
        *[
            house.answer_row(house.distinct_prompt(n, "grain"), "No tool is needed.", set_name="tools")
            for n in range(6)
        ],
    ]
    rows = {"plans": plans, "talk": talk, "tools": tools}
    return {name: house.write_answers(folder / f"{name}.parquet", own) for name, own in rows.items()}


def make(fmt: str, names: list[str], **more) -> BuildSettings:
    sources = [{"generation": name} for name in names]
    split = {"train": 0.7, "valid": 0.2}
    return BuildSettings.model_validate(
        {"name": "d", "dataset": {"format": fmt, "sources": sources, "split": split, **more}}
    )


@pytest.mark.parametrize("names", [["plans", "talk"], ["plans", "talk", "tools"]])
@pytest.mark.parametrize("fmt", list(FORMATS))
def test_every_format(house, tmp_path, fmt, names):
    # reasoning is the teacher's own only where its draft won
    answers = generations(house, tmp_path, "A" if fmt == "reasoning" else "AB")
    build_dataset(make(fmt, names), answers, [], tmp_path / "out", threads=2)
    report = read_json(tmp_path / "out/report.json")
    rich = "tools" in names
    written = []
    for name in ("train", "valid", "test"):
        assert pq.read_schema(tmp_path / f"out/{name}.parquet").equals(FORMATS[fmt].schema(rich=rich))
        written += read_examples(tmp_path / f"out/{name}.parquet")
    assert len(written) == report["rows"] > 0
    given_rows = {(r["prompt_id"], r["set"]): r for file in answers.values() for r in read_parquet_rows(file)}
    for row in written:
        answer = given_rows[row["prompt_id"], row["set"]]
        if fmt != "critic":
            assert row["prompt"] == json.loads(answer["messages"])
        if fmt == "sft":
            assert row["completion"] == [{"role": "assistant", "content": answer["answer"]}]
        if fmt == "reasoning":
            text = f"<think>\n{answer['reasoning']}\n</think>\n\n{answer['answer']}"
            assert row["completion"] == [{"role": "assistant", "content": text}]
        if fmt == "preference":
            assert row["chosen"] != row["rejected"] and row["margin"] >= 1
        assert row["tools"] == answer["tools"] and row["calls"] == answer["calls"] and row["copy"] == 0
    dropped = read_parquet_rows(tmp_path / "out/dropped.parquet")
    behind = {(row["prompt_id"], row["set"]) for row in written}
    assert len(behind) + len(dropped) == sum(source["rows_in"] for source in report["sources"])
    assert {row["reason"] for row in dropped} <= {FORMATS[fmt].without}
    for source in report["sources"]:
        if fmt != "sft":
            assert source["pairs"]["considered"] == source["pairs"]["kept"] + sum(source["pairs"]["dropped"].values())


def test_the_rejected_answer_may_be_another_models(house, tmp_path):
    answers = generations(house, tmp_path)
    base = [{**row, "answer": f"Plainly, {n}."} for n, row in enumerate(read_parquet_rows(answers["plans"]))][:10]
    others = {"base": house.write_answers(tmp_path / "base.parquet", base)}
    settings = make("preference", ["plans"], pairs={"rejected": [{"generation": "base"}, "draft"]})
    build_dataset(settings, answers, [], tmp_path / "out", others=others)
    rows = [row for name in ("train", "valid", "test") for row in read_parquet_rows(tmp_path / f"out/{name}.parquet")]
    assert sorted(row["rejected_source"] for row in rows) == ["draft"] * 14 + ["generation:base"] * 10
    with pytest.raises(InputError, match=r"pairs\.rejected: no answers were given for generation 'base'"):
        build_dataset(settings, answers, [], tmp_path / "out2")


WHOLE = {"split": {"train": 1.0, "valid": 0.0}}


def test_filters_hold_for_texts_of_other_generations_and_of_lost_rounds(house, tmp_path):
    refusal = "As an AI language model, I cannot."
    lost = [
        house.round_of(1, "B", {"A": 0, "B": 6, "AB": 3}, B=refusal),
        house.round_of(2, "AB", {"A": 0, "B": 3, "AB": 6}, A=refusal, AB="A fine one."),
    ]
    plans = [house.answer_row("Which plan?", "A fine one.", lost), house.answer_row("Whom do I ask?", "The clerk.")]
    base = [{**plans[1], "answer": "Write to max.meier@firma.de now."}]
    files = {"plans": house.write_answers(tmp_path / "plans.parquet", plans)}
    others = {"base": house.write_answers(tmp_path / "base.parquet", base)}
    dataset = {
        "format": "preference", "pairs": {"rejected": ["losers", {"generation": "base"}]}, **WHOLE,
        "sources": [{"generation": "plans", "filters": [{"no_refusals": True}, {"pii": True}]}],
    }  # fmt: skip
    settings = BuildSettings.model_validate({"name": "d", "dataset": dataset})
    build_dataset(settings, files, [], tmp_path / "out", others=others)
    found = list(read_examples(tmp_path / "out/train.parquet"))
    assert sorted((one["round"], one["rejected_candidate"]) for one in found) == [(2, "A"), (2, "B")]
    (source,) = read_json(tmp_path / "out/report.json")["sources"]
    assert source["pairs"]["dropped"] == {"chosen_filtered": 2, "missing": 1, "rejected_filtered": 1}


@pytest.mark.parametrize("apart", ["samples", "sources"])
def test_panels_that_contradict_each_other_in_other_rows(house, tmp_path, apart):
    one, two, three = "Move the school.", "Keep the school.", "Ask the parents."
    borda = {"A": 0, "B": 6, "AB": 3}
    said = [
        house.answer_row("Which plan?", one, [house.round_of(1, "B", borda, A=two, B=one, AB=three)]),
        house.answer_row("Which plan?", two, [house.round_of(1, "B", borda, A=one, B=f" {two}", AB=three)]),
        house.answer_row("Which other?", two, [house.round_of(1, "B", borda, A=one, B=two, AB=three)]),
    ]
    said[1]["sample"] = 1 if apart == "samples" else 0
    rows = {"plans": said, "talk": []} if apart == "samples" else {"plans": said[::2], "talk": said[1:2]}
    files = {name: house.write_answers(tmp_path / f"{name}.parquet", own) for name, own in rows.items()}
    build_dataset(make("preference", list(rows), **WHOLE), files, [], tmp_path / "out")
    found = list(read_examples(tmp_path / "out/train.parquet"))
    told = sorted((row["chosen"][0]["content"].strip(), row["rejected"][0]["content"]) for row in found)
    assert told == sorted([(one, three), (two, three), (two, three), (two, one)]), "the other prompt may teach it"
    report = read_json(tmp_path / "out/report.json")
    dropped = [source["pairs"]["dropped"].get("contradicted", 0) for source in report["sources"]]
    assert dropped == ([2, 0] if apart == "samples" else [1, 1])


def test_a_verdict_that_is_not_taught_still_contradicts(house, tmp_path):
    borda = {"A": 0, "B": 6, "AB": 0}
    refused = house.round_of(1, "B", borda, A="Keep it.", B="As an AI, I cannot.")
    other = house.round_of(1, "B", borda, A="As an AI, I cannot.", B="Keep it.")
    rows = [
        house.answer_row("Which plan?", "Yes.", [refused, house.round_of(2, "AB", {"A": 0, "B": 1, "AB": 6})]),
        house.answer_row("Which plan?", "Keep it.", [other], sample=1),
    ]
    files = {"plans": house.write_answers(tmp_path / "plans.parquet", rows)}
    settings = make("preference", ["plans"], **WHOLE).model_dump(mode="json")
    settings["dataset"]["sources"][0]["filters"] = [{"no_refusals": True}]
    build_dataset(BuildSettings.model_validate(settings), files, [], tmp_path / "out")
    found = list(read_examples(tmp_path / "out/train.parquet"))
    assert [row["rejected"][0]["content"] for row in found if row["sample"] == 1] == ["Text AB of round 1."]


WIRE = json.dumps({"tool_calls": [{"id": "1", "function": {"name": "weigh", "arguments": '{"of": "grain"}'}}]})


@pytest.mark.parametrize("tools", [None, TOOLS])
def test_answers_that_call_tools_become_calls(house, tmp_path, tools):
    rows = [house.answer_row(house.distinct_prompt(n), f"Case {n}.") for n in range(4)]
    rows.append(house.answer_row("How heavy is the grain?", WIRE, tools=tools))
    files = {"plans": house.write_answers(tmp_path / "plans.parquet", rows)}
    build_dataset(make("sft", ["plans"], **WHOLE), files, [], tmp_path / "out")
    schema = pq.read_schema(tmp_path / "out/train.parquet")
    assert schema.equals(FORMATS["sft"].schema(rich=True))
    found = {row["id"]: row["completion"] for row in read_examples(tmp_path / "out/train.parquet")}
    call = {"id": "1", "function": {"name": "weigh", "arguments": {"of": "grain"}}}
    assert found.pop(rows[-1]["id"]) == [{"role": "assistant", "content": None, "tool_calls": [call]}]
    assert found == {row["id"]: [{"role": "assistant", "content": row["answer"]}] for row in rows[:-1]}


def test_tokens_need_their_tokenizer(house, tmp_path):
    with pytest.raises(InputError, match="no tokenizer of model 'base'"):
        build_dataset(
            make("sft", ["plans"], tokens={"model": "base"}), generations(house, tmp_path), [], tmp_path / "out"
        )


def test_a_small_build_never_loads_numba(house, tmp_path):
    generations(house, tmp_path)
    settings = make("sft", ["plans", "talk"], near_duplicates={}).model_dump(mode="json")
    code = (
        "import json, sys; from pathlib import Path; from stillhouse.datasets.build import build_dataset\n"
        "from stillhouse.datasets.settings import BuildSettings; folder = Path(sys.argv[1])\n"
        "files = {name: folder / f'{name}.parquet' for name in ('plans', 'talk')}\n"
        "build_dataset(BuildSettings.model_validate(json.loads(sys.argv[2])), files, [], folder / 'out')\n"
        "assert not {'numba', 'torch', 'transformers'} & sys.modules.keys(), sys.modules.keys()"
    )
    scripts = Path(__file__).parents[2] / "scripts"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), json.dumps(settings)], cwd=scripts, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def large(house, path: Path, rows: int) -> Path:
    """Answers of about 140 words; every twentieth prompt is nearly the one before."""
    schema = pq.read_schema(house.write_answers(path, []))
    words = [f"word{number}" for number in range(997)]
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 5_000):
            part = []
            for number in range(start, start + 5_000):
                like = number - (number % 20 == 19)
                asked = " ".join(words[(like * 31 + place * place * (like % 89 + 1)) % 997] for place in range(30))
                said = " ".join(words[(number * 17 + place * (number % 53 + 1)) % 997] for place in range(140))
                part.append(house.answer_row(asked + (" now" if like != number else ""), f"Caf\u00e9 {number}. {said}"))
            writer.write_table(pa.Table.from_pylist(part, schema))
    return path


FILTERS = [
    {"min_words": 10},
    {"max_contractions": 3},
    {"repetition": {"n": 4, "max": 0.6}},
    {"length_ratio": {"max": 9}},
]


def large_settings() -> BuildSettings:
    dataset = {"sources": [{"generation": "plans", "filters": FILTERS}], "near_duplicates": {}}
    return BuildSettings.model_validate({"name": "d", "dataset": dataset})


@pytest.mark.slow
def test_the_memory_of_a_large_build_is_bounded(house, tmp_path):
    rows = 50_000
    answers = {"plans": large(house, tmp_path / "plans.parquet", rows)}
    build_dataset(large_settings(), answers, [], tmp_path / "warm", threads=2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    build_dataset(large_settings(), answers, [], tmp_path / "out", threads=2)
    # in kilobytes; the texts alone are about 80 megabytes, twice over
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000
    report = read_json(tmp_path / "out/report.json")
    assert report["near_duplicates"]["dropped"] >= rows // 20 * 0.98


@pytest.mark.slow
def test_kernels_and_plain_functions_give_the_same_bytes(house, tmp_path, monkeypatch):
    answers = {"plans": large(house, tmp_path / "plans.parquet", 5_000)}
    build_dataset(large_settings(), answers, [], tmp_path / "one", threads=2)
    monkeypatch.setattr(kernels, "worth", lambda count: False)
    build_dataset(large_settings(), answers, [], tmp_path / "two", threads=1)
    for name in ("train.parquet", "valid.parquet", "test.parquet", "dropped.parquet", "report.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_shares_of_tokens_and_their_report(house, tmp_path):
    long, short = "word " * 40, "word " * 4
    rows = {
        "plans": [house.answer_row(house.distinct_prompt(n), f"{short} {n}") for n in range(60)],
        "talk": [house.answer_row(house.distinct_prompt(n, "mill"), f"{long} {n}", set_name="t") for n in range(60)],
    }
    answers = {name: house.write_answers(tmp_path / f"{name}.parquet", own) for name, own in rows.items()}
    dataset = {
        "sources": [{"generation": "plans"}, {"generation": "talk", "share": 0.25}],
        "share_of": "tokens", "tokens": {"model": "tiny", "max_length": 128}, "order": {"by": "tokens"},
        "split": {"train": 1.0, "valid": 0.0},
    }  # fmt: skip
    folder = write_tiny_tokenizer(tmp_path / "tiny")
    settings = BuildSettings.model_validate({"name": "d", "dataset": dataset})
    build_dataset(settings, answers, [], tmp_path / "out", tokenizer=folder)
    report = read_json(tmp_path / "out/report.json")
    plans, talk = report["mix"]["sources"]
    assert talk["tokens"] == pytest.approx(0.25, abs=0.01) and plans["tokens"] + talk["tokens"] == pytest.approx(1)
    assert talk["rows"] < 0.15 and report["mix"]["shares"] == "tokens"
    found = list(read_examples(tmp_path / "out/train.parquet"))
    lengths = Counter(folder).count_rows(found)
    assert sorted(lengths.tolist()) == lengths.tolist()
    assert report["tokens"]["all"]["tokens"] == int(lengths.sum()) and report["tokens"]["all"]["rows"] == len(found)
    assert sum(lengths[[row["generation"] == "talk" for row in found]]) / sum(lengths) == pytest.approx(
        talk["tokens"], abs=1e-6
    )
