"""Rubric files: what is refused, how the overall is made, and the judge's grammar."""

from pathlib import Path

import pytest

from stillhouse.errors import InputError
from stillhouse.evaluation.asking import read_template
from stillhouse.evaluation.rubric import TEMPLATE
from stillhouse.evaluation.rubric_file import load_rubric
from stillhouse.llm.llama_cpp_backend import compile_grammar

PART = "{weight: 1, scale: [1, 10]}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("components: {}", "components"),
        ("components: [", ":1"),
        ("- a", "expected {components"),
        ("components: {a: {weight: 0, scale: [1, 10]}}", "components.a.weight"),
        ("components: {a: {weight: 1, scale: [10, 1]}}", "components.a.scale: expected [low, high]"),
        ("components: {a: {weight: 1}}", "components.a.scale"),
        (f"components: {{a: {PART}, b: {{weight: 1, scale: [0, 5]}}}}", "one common scale"),
        (f"components: {{overall: {PART}}}", "components.overall"),
        (f"components: {{a-b: {PART}, a_b: {PART}}}", "differ in case"),
        (f"components: {{'a b!': {PART}}}", "components.a b!"),
        (f"components: {{a: {PART}}}\ncritical: [x]", "critical"),
    ],
)
def test_bad_rubric_names_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "rubric.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_rubric(file)
    assert str(caught.value).startswith(str(file))
    assert words in str(caught.value)


def test_missing_rubric(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such rubric"):
        load_rubric(tmp_path / "none.yaml")


def test_overall_is_the_weighted_mean(tmp_path: Path) -> None:
    file = tmp_path / "rubric.yaml"
    file.write_text("components: {a: {weight: 3, scale: [1, 5]}, b: {weight: 1, scale: [1, 5]}}")
    assert load_rubric(file).overall({"a": 5, "b": 1}) == pytest.approx(4.0)


@pytest.mark.parametrize("faults", ["", "\ncritical_failures: [one]", "\ncritical_failures: [one, two, three]"])
def test_grammar_compiles(tmp_path: Path, faults: str) -> None:
    file = tmp_path / "rubric.yaml"
    file.write_text(f"components: {{a: {PART}, b_c: {PART}}}{faults}")
    compile_grammar(load_rubric(file).grammar)


def test_message_holds_question_answer_and_parts(tmp_path: Path) -> None:
    file = tmp_path / "rubric.yaml"
    file.write_text(
        "components: {gate: {weight: 1, scale: [1, 7], description: A cheap check.}}\n"
        "critical_failures: [No verdict.]\nreference: Be dry."
    )
    [message] = load_rubric(file).messages("Why {{ x }}?", "Because {% no %}.", read_template(TEMPLATE))
    for words in (
        "Why {{ x }}?",
        "Because {% no %}.",
        "- gate: A cheap check.",
        "1. No verdict.",
        "Be dry.",
        "from 1",
        "7",
    ):
        assert words in message["content"]


def test_own_prompt_replaces_the_template(tmp_path: Path) -> None:
    file = tmp_path / "rubric.yaml"
    file.write_text(f"components: {{a: {PART}}}\nprompt: 'Rate {{{{ answer }}}} for {{{{ prompt }}}}'")
    assert load_rubric(file).messages("q", "a", "unused")[0]["content"] == "Rate a for q"
    file.write_text(f"components: {{a: {PART}}}\nprompt: 'Rate {{{{ nothing }}}}'")
    with pytest.raises(InputError, match="rubric's prompt"):
        load_rubric(file).messages("q", "a", "unused")
