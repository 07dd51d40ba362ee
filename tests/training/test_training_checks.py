"""What is supervised is the answer and its end; rows that would teach something else are refused by name."""

from typing import Any

import pytest
from tiny_training import TEMPLATE, preference_row, sft_row, tiny_tokenizer
from tokenizers import normalizers

from stillhouse.errors import TrainingError
from stillhouse.training.checks import Failure, examine, model_failures, refuse, supervision_fault
from stillhouse.training.tokens import Tokens

NO_THOUGHTS = TEMPLATE.replace("m['content']", "(m['content'].split('</think>')[-1])")
FAILING = "{% if messages|length > 2 %}{{ 1/0 }}{% endif %}"
NO_EARLIER = TEMPLATE.replace("m['content']", "(m['content'] if loop.last else m['content'].split('</think>')[-1])")


def found(
    rows: list[dict[str, Any]],
    template: str = TEMPLATE,
    objective: str = "sft",
    longest: int = 400,
    bos: str | None = None,
) -> list[Failure]:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    if bos:
        tokenizer.bos_token = bos
    return examine(rows, "train", objective, tokenizer, longest).failures


def thinking(answer: str = "<think>\nTwo trucks.\n</think>\n\nWait.") -> dict[str, Any]:
    row = sft_row(1, answer)
    earlier = {"role": "assistant", "content": "<think>\nThe lease ends.\n</think>\n\nNo."}
    return row | {"prompt": [*row["prompt"], earlier, {"role": "user", "content": "And now?"}]}


def test_sound_rows_have_no_failures() -> None:
    assert found([sft_row(n) for n in range(3)]) == []
    assert found([preference_row(n) for n in range(3)], objective="dpo") == []
    assert found([preference_row(n) for n in range(3)], objective="orpo") == []
    assert found([thinking()]) == []
    assert found([thinking("Wait.")]) == []


def test_a_template_that_writes_an_empty_thought_is_sound() -> None:
    template = TEMPLATE.replace(
        "m['content'] +", "('<think>\n\n</think>\n\n' if m['role'] == 'assistant' else '') + m['content'] +"
    )
    assert found([sft_row(1)], template) == []


@pytest.mark.parametrize(
    ("name", "rows", "template", "longest"),
    [
        ("empty_answer", [sft_row(0), sft_row(1, " \n")], TEMPLATE, 400),
        ("truncated", [sft_row(0), sft_row(1, "word " * 100)], TEMPLATE, 120),
        ("missing_eos", [sft_row(0), sft_row(1)], TEMPLATE.replace("'<|im_end|>'", "''"), 400),
        ("extra_eos", [sft_row(0), sft_row(1, "Wait.<|im_end|>\nMore.")], TEMPLATE, 400),
        ("doubled_bos", [sft_row(0), sft_row(1)], "{{ '<|im_start|>' }}" + TEMPLATE, 400),
        ("no_supervision", [sft_row(0), sft_row(1)], "{{ '<|im_start|>user\nHello<|im_end|>' }}", 400),
        ("earlier_reasoning_dropped", [sft_row(0), thinking()], NO_EARLIER, 400),
        ("reasoning_dropped", [sft_row(0), sft_row(1, "<think>\nTwo.\n</think>\n\nWait.")], NO_THOUGHTS, 400),
        ("template_error", [sft_row(0), thinking()], FAILING + TEMPLATE, 400),
        ("prompt_supervised", [sft_row(0), sft_row(1)], TEMPLATE.replace("{{ '<|im_start|>assistant\n' }}", ""), 400),
        ("wrong_text", [sft_row(0), sft_row(1)], TEMPLATE.replace("m['content']", "m['content'] | upper"), 400),
    ],
)  # fmt: skip
def test_each_failure_has_its_name_and_its_row(
    name: str, rows: list[dict[str, Any]], template: str, longest: int
) -> None:
    failures = found(rows, template, longest=longest)
    assert name in {failure.name for failure in failures if (failure.row, failure.prompt) == (1, "plan-1")}
    assert {failure.name for failure in failures} == {name}
    with pytest.raises(TrainingError, match=rf"train row 1 \(prompt plan-1\): {name}: "):
        refuse(failures)


def test_an_empty_split_is_a_failure_of_no_row() -> None:
    assert [(f.name, f.row) for f in found([])] == [("empty_split", None)]
    assert examine([], "valid", "sft", tiny_tokenizer(), 100).failures == []


def test_both_answers_of_a_pair_are_looked_at() -> None:
    row = preference_row(0) | {"rejected": [{"role": "assistant", "content": ""}]}
    assert [(f.name, f.side) for f in found([row], objective="dpo")] == [("empty_answer", "rejected")]


def test_a_tool_call_is_an_answer() -> None:
    template = TEMPLATE.replace("m['content']", "((m.tool_calls | tojson) if m.tool_calls else m['content'])")
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {}}}]}
    assert found([sft_row(0) | {"completion": [call]}], template) == []


CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 3}}}],
}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "of a place", "parameters": {}}}]
CALLS = TEMPLATE.replace("m['content']", "(m.tool_calls | tojson if m.tool_calls else m['content'])")
OFFERED = "{% if tools %}{{ tools | tojson }}{% endif %}" + CALLS


def test_a_tool_call_that_the_template_drops_is_no_silence_to_learn() -> None:
    row = sft_row(0) | {"completion": [CALL]}
    assert [failure.name for failure in found([row])] == ["tool_call_dropped"]
    nameless = CALLS.replace("m.tool_calls | tojson", "m.tool_calls[0].function.name")
    [failure] = found([row], nameless)
    assert failure.name == "tool_call_dropped" and "'city' is not there" in failure.text
    assert found([row], CALLS) == []
    one_by_one = CALLS.replace(
        "m.tool_calls | tojson",
        "m.tool_calls[0].function.name ~ ':' ~ m.tool_calls[0].function.arguments.items() | list",
    )
    assert found([row], one_by_one) == []


@pytest.mark.parametrize(
    "arguments", ['{"city": "Zürich", "days": 3}', '{"city": "Z\\u00fcrich \\"old\\" town"}', "Zürich"]
)
def test_arguments_may_come_as_text(arguments: str) -> None:
    call = CALL | {"tool_calls": [{"function": {"name": "weather", "arguments": arguments}}]}
    assert found([sft_row(0) | {"completion": [call]}], CALLS) == []
    assert [failure.name for failure in found([sft_row(0) | {"completion": [call]}])] == ["tool_call_dropped"]


def test_a_tool_call_of_an_earlier_turn_counts_too() -> None:
    row = sft_row(0)
    row["prompt"] = [*row["prompt"], CALL, {"role": "tool", "content": "4 degrees"}]
    assert [failure.name for failure in found([row])] == ["tool_call_dropped"]
    assert found([row], CALLS) == []


@pytest.mark.parametrize("objective", ["sft", "orpo"])
def test_tools_that_the_template_does_not_offer_are_a_failure(objective: str) -> None:
    """Also where the prompt speaks of the tool by its name."""
    row = (sft_row if objective == "sft" else preference_row)(0) | {"tools": TOOLS}
    assert {failure.name for failure in found([row], CALLS, objective)} == {"tools_dropped"}
    row["prompt"][0]["content"] += " Ask weather."
    assert {failure.name for failure in found([row], CALLS, objective)} == {"tools_dropped"}
    assert found([row], OFFERED, objective) == []


def test_a_dropped_system_turn_is_a_failure() -> None:
    row = sft_row(0)
    row["prompt"] = [{"role": "system", "content": "Obey the house. "}, *row["prompt"]]
    without = TEMPLATE.replace("m['content']", "(m['content'] if m['role'] != 'system' else '')")
    assert [failure.name for failure in found([row], without)] == ["system_dropped"]
    assert found([row]) == [] and found([row], TEMPLATE.replace("m['content']", "m['content'] | trim")) == []


def test_a_tokenizer_that_composes_letters_changes_no_answer() -> None:
    """NFC makes one letter of e and its accent, and no decoding takes that back."""
    for normalizer in (normalizers.NFC(), normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])):
        tokenizer = tiny_tokenizer()
        tokenizer.backend_tokenizer.normalizer = normalizer
        row = sft_row(1, "<think>na\u0131\u0308ve</think>The cafe\u0301 is open.")
        assert examine([row], "train", "sft", tokenizer, 400).failures == []
        wrong = TEMPLATE.replace("m['content']", "m['content'] ~ ' Now.'")
        tokenizer.chat_template = wrong
        assert {f.name for f in examine([row], "train", "sft", tokenizer, 400).failures} == {"wrong_text"}


def test_the_end_of_a_turn_may_be_followed_by_that_of_the_text() -> None:
    tokenizer, answer = tiny_tokenizer(), sft_row(3)["completion"]
    ids = tokenizer.encode("Verdict 3: wait.<|im_end|>\n<|endoftext|>", add_special_tokens=False)
    assert supervision_fault(Tokens([1, 5], ids), answer, tokenizer, ends=[0]) is None
    ids = tokenizer.encode("Verdict 3: wait.<|im_end|>more<|endoftext|>", add_special_tokens=False)
    assert supervision_fault(Tokens([1, 5], ids), answer, tokenizer, ends=[0])[0] == "extra_eos"
    assert supervision_fault(Tokens([1, 5], ids[:-1]), answer, tokenizer, ends=[0])[0] == "wrong_text"


def test_a_wrong_mask_is_seen() -> None:
    tokenizer, answer = tiny_tokenizer(), sft_row(3)["completion"]

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    assert supervision_fault(Tokens([1, 5], ids("Verdict 3: wait.<|im_end|>\n")), answer, tokenizer) is None
    for kept, name in [
        ("", "no_supervision"),
        ("Verdict 3: wait.", "missing_eos"),
        ("weeks?Verdict 3: wait.<|im_end|>", "prompt_supervised"),
        ("Verdict 3<|im_end|>", "wrong_text"),
    ]:
        assert supervision_fault(Tokens([1, 5], ids(kept)), answer, tokenizer)[0] == name


@pytest.mark.parametrize(
    ("change", "size", "name"),
    [
        ({"pad_token": "<|im_end|>"}, 300, "pad_is_eos"),
        ({"chat_template": None}, 300, "no_template"),
        ({"eos_token": None}, 300, "no_eos"),
        ({}, 200, "vocabulary_mismatch"),
    ],
)
def test_tokenizer_and_model_must_fit(change: dict[str, Any], size: int, name: str) -> None:
    tokenizer = tiny_tokenizer()
    for key, value in change.items():
        setattr(tokenizer, key, value)
    assert [failure.name for failure in model_failures(tokenizer, {"vocab_size": size})] == [name]


def test_an_added_token_beyond_the_embedding_is_a_mismatch() -> None:
    tokenizer = tiny_tokenizer()
    size = len(tokenizer)
    assert model_failures(tokenizer, {"vocab_size": size}) == []
    tokenizer.add_tokens(["<tool>"])
    assert [failure.name for failure in model_failures(tokenizer, {"vocab_size": size})] == ["vocabulary_mismatch"]


def test_an_error_tells_how_many_failures_there_are() -> None:
    failures = found([sft_row(n, "") for n in range(30)])
    with pytest.raises(TrainingError, match=r"(?s)^30 failures .*row 19 .*and 10 more$"):
        refuse(failures)
