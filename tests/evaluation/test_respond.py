"""What a subject is asked, and what its answers keep."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import EvaluationError, InputError
from stillhouse.evaluation.respond import SubjectSettings, SubjectTexts, conversation, respond
from stillhouse.llm.client import Client
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.prompts.read import read_prompts
from stillhouse.provenance.files import read_parquet_rows
from stillhouse.study.base import Sampling

SYSTEM = "Answer as the keystone framework does, and begin with a verdict."


class Echo:
    """Answers with its seed; the template of `render` can lose the system prompt or add one."""

    grammars, concurrency = False, 4

    def __init__(self, template: str = "{}") -> None:
        self.identity = {"backend": "echo"}
        self.asked: list[Request] = []
        self._template = template

    def render(self, request: Request) -> str:
        return self._template.format("\n".join(f"{role}: {content}" for role, content in request.messages))

    async def complete(self, request: Request) -> tuple[Completion, int]:
        self.asked.append(request)
        seed = request.sampling["seed"]
        return Completion(text=f"answer {seed}", finish_reason="stop", prompt_tokens=5, completion_tokens=3), 1

    def close(self) -> None: ...


def prompts(folder: Path, text: str) -> list[dict[str, Any]]:
    file = folder / "prompts.jsonl"
    file.write_text(text)
    return read_prompts(file, "plans", recorded=True)


def settings(samples: int = 1) -> SubjectSettings:
    sampling = Sampling(temperature=0.7, max_tokens=20)
    return SubjectSettings(
        subject="student", condition="student", roles={"plans": "target"}, samples=samples, sampling=sampling
    )


def answered(folder: Path, rows: list, backend: Echo, texts: SubjectTexts, samples: int = 1) -> list[dict[str, Any]]:
    client = Client("echo", backend, Ledger(folder / "ledger", "writer"))
    respond(rows, client, settings(samples), folder / "responses.parquet", texts)
    return read_parquet_rows(folder / "responses.parquet")


ROW = '{"id": "p-1", "prompt": "Open a bakery?", "category": "food", "ground_truth_signal": "Names the rent.", "expect": [{"contains": "rent"}]}\n'


def test_every_sample_is_a_call_of_its_own(tmp_path: Path) -> None:
    backend = Echo()
    rows = answered(tmp_path, prompts(tmp_path, ROW), backend, SubjectTexts(), samples=3)
    assert [row["sample"] for row in rows] == [0, 1, 2]
    assert len({row["answer"] for row in rows}) == 3
    assert len({row["calls"][0] for row in rows}) == 3
    one = Echo()
    (alone,) = answered(tmp_path / "one", prompts(tmp_path, ROW), one, SubjectTexts())
    assert alone["answer"] == rows[0]["answer"], "more samples must not ask the first one again"


def test_responses_carry_what_the_prompt_says_of_a_good_answer(tmp_path: Path) -> None:
    (row,) = answered(tmp_path, prompts(tmp_path, ROW), Echo(), SubjectTexts())
    assert (row["signal"], row["expect"], row["category"]) == ("Names the rent.", '[{"contains":"rent"}]', "food")


def test_context_and_wrap_stand_around_the_last_prompt(tmp_path: Path) -> None:
    (row,) = prompts(tmp_path, ROW)
    texts = SubjectTexts(SYSTEM, ("First text.", "Second text."), "Think first.\n{{ prompt }}\nBe brief.")
    assert conversation(row, texts) == [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "First text.\n\nSecond text.\n\nThink first.\nOpen a bakery?\nBe brief."},
    ]


@pytest.mark.parametrize("wrap", ["no place for it", "{{ prompt", "{{ other }}", "{% if prompt %}same{% endif %}"])
def test_a_wrap_without_the_prompt_is_refused(tmp_path: Path, wrap: str) -> None:
    with pytest.raises(InputError, match=r"\{\{ prompt \}\}"):
        answered(tmp_path, prompts(tmp_path, ROW), Echo(), SubjectTexts(wrap=wrap))


def test_a_prompt_may_hold_template_signs(tmp_path: Path) -> None:
    (row,) = prompts(tmp_path, '{"id": "1", "prompt": "What does {{ prompt }} mean?"}\n')
    (message,) = conversation(row, SubjectTexts(wrap="Q: {{ prompt }}"))
    assert message["content"] == "Q: What does {{ prompt }} mean?"


def test_a_condition_without_system_prompt_must_not_have_one_rendered(tmp_path: Path) -> None:
    bare = SubjectTexts(foreign=(SYSTEM,))
    rows = prompts(tmp_path, ROW)
    answered(tmp_path, rows, Echo(), bare)
    for template, source in ((f"system: {SYSTEM}\n{{}}", rows), ("{}", [with_system(rows[0])])):
        backend = Echo(template)
        with pytest.raises(EvaluationError, match="another subject's system prompt"):
            answered(tmp_path, source, backend, bare)
        assert backend.asked == []


def with_system(row: dict[str, Any]) -> dict[str, Any]:
    messages = row["messages"].replace("[", f'[{{"role": "system", "content": "{SYSTEM}"}},', 1)
    return {**row, "messages": messages}


def test_a_template_that_drops_the_system_prompt_is_refused(tmp_path: Path) -> None:
    class Deaf(Echo):
        def render(self, request: Request) -> str:
            return request.messages[-1][1]

    rows, own = prompts(tmp_path, ROW), SubjectTexts(SYSTEM)
    answered(tmp_path, rows, Echo(), own)
    with pytest.raises(EvaluationError, match="drops the subject's system prompt"):
        answered(tmp_path, rows, Deaf(), replace(own, foreign=()))
