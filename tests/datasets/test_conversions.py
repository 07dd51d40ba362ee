"""Splits in the forms of other training tools, held against golden files and read back by `datasets`."""

import json
import runpy
from pathlib import Path
from typing import Any

import datasets
import pytest
from format_rows import (
    AGENT,
    CALL,
    CALLER,
    PLAIN,
    REVISED,
    ROWS,
    TALK,
    TOOLS,
    answered,
    examples_of,
    golden,
    said,
    user,
    write_split,
)  # fmt: skip

from stillhouse.datasets.conversions import FORMS, convert_dataset
from stillhouse.datasets.formats import FORMATS
from stillhouse.errors import InputError
from stillhouse.study.datasets import CONVERSIONS

SPLITS = ("train", "valid", "test")
COMBINATIONS = [
    (kind, form) for kind in sorted(FORMATS) for form in sorted(FORMS) if (kind, form) != ("preference", "mlx")
]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("hf")))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def convert(folder: Path, kind: str, form: Any, rows: Any = ROWS, rich: bool = False, **splits: Any) -> dict[str, Path]:
    """The files of the three splits; the rows go to train unless `splits` says otherwise."""
    dealt = {"train": rows, "valid": [], "test": [], **splits}
    sources = {
        name: write_split(folder / f"{name}.parquet", kind, examples_of(kind, own), rich) for name, own in dealt.items()
    }
    targets = {name: folder / form / f"{name}.jsonl" for name in SPLITS}
    convert_dataset(sources, form, targets)
    return targets


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("kind", "form"), COMBINATIONS)
def test_golden_lines_of_each_format_and_form(kind: str, form: str, tmp_path: Path) -> None:
    files = convert(tmp_path, kind, form, ROWS[:2] if kind == "sft" else ROWS)
    golden(f"{kind}.{form}.jsonl", files["train"].read_text(encoding="utf-8"))
    loaded = datasets.load_dataset("json", data_files=str(files["train"]), split="train")
    assert loaded.to_list() == lines(files["train"])


@pytest.mark.parametrize(("kind", "form"), COMBINATIONS)
def test_empty_splits_are_empty_files(kind: str, form: str, tmp_path: Path) -> None:
    files = convert(tmp_path, kind, form, valid=[], test=[])
    assert files["valid"].read_bytes() == files["test"].read_bytes() == b"" and files["train"].stat().st_size
    empty = convert(tmp_path / "none", kind, form, [])
    assert [file.read_bytes() for file in empty.values()] == [b"", b"", b""]


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_line_of_every_split_has_the_same_keys(form: str, tmp_path: Path) -> None:
    files = convert(tmp_path, "sft", form, [TALK], valid=[PLAIN])
    first, second = lines(files["train"])[0], lines(files["valid"])[0]
    assert list(first) == list(second)
    kind = {"train": str(files["train"]), "valid": str(files["valid"])}
    assert datasets.load_dataset("json", data_files=kind).num_rows == {"train": 1, "valid": 1}


def test_alpaca_of_single_turns_has_the_three_keys_that_everyone_knows(tmp_path: Path) -> None:
    (line,) = lines(convert(tmp_path, "sft", "alpaca", [PLAIN])["train"])
    assert line == {
        "instruction": "Should the bakery move?",
        "input": "",
        "output": "Wait a year:\n\nrents fall.",
    }


def test_alpaca_keeps_system_and_history(tmp_path: Path) -> None:
    line = lines(convert(tmp_path, "sft", "alpaca", [PLAIN, TALK])["train"])[1]
    assert line["system"] == "Be brief." and line["history"] == [["Name a risk.", "Frost."]]
    assert line["instruction"] == "And the \u201csecond\u201d?" and line["output"] == "Thaw."


def test_sharegpt_with_tools(tmp_path: Path) -> None:
    plain, agent = lines(convert(tmp_path, "sft", "sharegpt", [PLAIN, AGENT], rich=True)["train"])
    assert [turn["from"] for turn in agent["conversations"]] == ["human", "function_call", "observation", "gpt"]
    call = {"name": "rainfall", "arguments": {"month": "May", "place": "Bern"}}
    assert json.loads(agent["conversations"][1]["value"]) == call
    assert json.loads(agent["tools"]) == TOOLS and plain["tools"] == ""


def test_sharegpt_takes_arguments_as_text_and_several_calls(tmp_path: Path) -> None:
    other = {"type": "function", "function": {"name": "wind", "arguments": '{"day": 2}'}}
    third = {"type": "function", "function": {"name": "odd", "arguments": "day two"}}
    messages = [user("Rain and wind?"), {"role": "assistant", "tool_calls": [CALL, other, third]},
                {"role": "tool", "content": "118"}, {"role": "tool", "content": "4"}]  # fmt: skip
    row = answered("two", messages, "Wet.")
    (line,) = lines(convert(tmp_path, "sft", "sharegpt", [row], rich=True)["train"])
    told = json.loads(line["conversations"][1]["value"])
    assert [one["arguments"] for one in told] == [{"month": "May", "place": "Bern"}, {"day": 2}, "day two"]
    assert [turn["from"] for turn in line["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert line["conversations"][2]["value"] == "118\n</tool_response>\n<tool_response>\n4"
    assert "tools" not in line


def test_an_answer_that_calls_tools_in_each_form(tmp_path: Path) -> None:
    (line,) = lines(convert(tmp_path / "s", "sft", "sharegpt", [CALLER], rich=True)["train"])
    asked, call = line["conversations"]
    assert asked == {"from": "human", "value": "How wet was May?"} and call["from"] == "function_call"
    assert json.loads(call["value"]) == {"name": "rainfall", "arguments": {"month": "May"}}
    (line,) = lines(convert(tmp_path / "m", "sft", "mlx", [CALLER], rich=True)["train"])
    assert line["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"month": "May"}
    with pytest.raises(InputError, match="row 1 does not fit alpaca: it calls tools"):
        convert(tmp_path / "a", "sft", "alpaca", [{**CALLER, "tools": None}], rich=True)


def test_pairs_whose_prompts_end_with_an_answer_do_not_fit_sharegpt(tmp_path: Path) -> None:
    row = {**REVISED, "messages": json.dumps([user("a"), said("b")])}
    with pytest.raises(InputError, match="row 1 does not fit sharegpt: its turns are human, gpt, and asking"):
        convert(tmp_path, "preference", "sharegpt", [row])


def test_mlx_keeps_messages_and_tools_as_they_are(tmp_path: Path) -> None:
    plain, agent = lines(convert(tmp_path, "sft", "mlx", [PLAIN, AGENT], rich=True)["train"])
    assert agent["messages"] == [*json.loads(AGENT["messages"]), said("118 mm fell.")]
    assert agent["tools"] == TOOLS and plain["tools"] is None


@pytest.mark.parametrize(
    ("form", "messages", "reason"),
    [
        ("alpaca", [user("a"), user("b")], "its turns are user, user, not user and assistant in turn"),
        ("alpaca", [user("a"), said("b")], "its turns are user, assistant, not"),
        ("alpaca", [user("a"), {"role": "system", "content": "x"}, user("b")], "its turns are user, system, user"),
        ("alpaca", [user("a"), {"role": "assistant", "tool_calls": [CALL]}, user("b")], "it calls tools"),
        ("sharegpt", [user("a"), {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]}, user("b")],
         "a message with a text and tool calls"),
        ("sharegpt", [user("a"), user("b")], "its turns are human, human, gpt, and asking and answering ones must alternate"),
        ("sharegpt", [user("a"), said("b")], "its turns are human, gpt, gpt, and"),
        ("sharegpt", [said("a"), user("b")], "its turns are gpt, human, gpt, and"),
        ("sharegpt", [user("a"), said("c"), {"role": "system", "content": "x"}], "its turns are human, gpt, system, gpt"),
        ("sharegpt", [{"role": "judge", "content": "x"}], "no turn for the role 'judge'"),
        ("sharegpt", [{"role": "user", "content": [{"type": "image", "url": "x"}]}], "role 'user' without a text"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_an_error_that_names_them(
    form: str, messages: list[dict], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"train\.parquet: row 2 does not fit {form}: .*{reason}"):
        convert(tmp_path, "sft", form, [PLAIN, answered("odd", messages, "An answer.")], rich=True)
    assert not (tmp_path / form / "train.jsonl").exists()


def test_tools_do_not_fit_alpaca(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 1 does not fit alpaca: it offers tools"):
        convert(tmp_path, "sft", "alpaca", [{**PLAIN, "tools": json.dumps(TOOLS)}])


def test_the_study_lets_pass_what_can_be_written() -> None:
    allowed = {(kind, form) for kind, forms in CONVERSIONS.items() for form in forms}
    assert allowed <= set(COMBINATIONS) and set(CONVERSIONS) == set(FORMATS)


def test_pairs_do_not_fit_mlx(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not fit mlx: a pair has two answers"):
        convert(tmp_path, "preference", "mlx")


def test_texts_in_parts_are_joined(tmp_path: Path) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "One "}, {"type": "text", "text": "two."}]}]
    for form, key in (("alpaca", "instruction"), ("sharegpt", "conversations")):
        (line,) = lines(convert(tmp_path / form, "sft", form, [answered("parts", parts, "Yes.")], rich=True)["train"])
        assert line[key] == "One two." or line[key][0]["value"] == "One two."


def test_one_row_is_one_line_whatever_it_holds(tmp_path: Path) -> None:
    odd = answered("odd", [user("a\u2028b\r\n\x85c")], "d\n\u2029e")
    files = convert(tmp_path, "sft", "mlx", [odd, PLAIN])
    assert files["train"].read_bytes().count(b"\n") == 2
    loaded = datasets.load_dataset("json", data_files=str(files["train"]), split="train")
    assert loaded[0]["messages"] == [user("a\u2028b\r\n\x85c"), said("d\n\u2029e")]


def test_the_script_writes_the_three_files(tmp_path: Path) -> None:
    from stillhouse.provenance.job import Files, Params

    main = runpy.run_path(str(Path(__file__).parents[2] / "scripts/convert_dataset.py"))["main"]
    inputs = {name: write_split(tmp_path / f"{name}.parquet", "sft", examples_of("sft")) for name in SPLITS}
    outputs = {name: tmp_path / f"alpaca/{name}.jsonl" for name in SPLITS}
    params = Params("convert_dataset", {}, {"form": "alpaca"}, {}, "", 1, {}, {})
    assert main(Files(inputs), Files(outputs), params) == {"lines": dict.fromkeys(SPLITS, 4)}
    assert len(lines(outputs["test"])) == 4
