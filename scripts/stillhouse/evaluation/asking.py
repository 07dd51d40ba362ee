"""What rubric and pairwise judging share: templates, one second chance, and judges that fail."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from stillhouse.errors import CallError, EvaluationError, InputError
from stillhouse.llm.client import Client
from stillhouse.llm.requests import Call, Message
from stillhouse.study.base import Sampling

logger = logging.getLogger(__name__)

WORKFLOW = Path(__file__).resolve().parents[3]
MAX_FAILED = 0.2  # share of a judge's verdicts whose call failed; above it the judge is out, not the prompts
CALL_FAILED = "the call failed"


class Verdict(Protocol):
    """What a reply was read as; `reason` says why it cannot be used, None when it can."""

    @property
    def reason(self) -> str | None: ...


V = TypeVar("V", bound=Verdict)


@dataclass(frozen=True)
class Asked(Generic[V]):
    """A verdict, the reply that it was read from (the last one), and the digests of the calls made."""

    verdict: V
    raw: str
    calls: list[str]


@dataclass(frozen=True)
class Question:
    """What a judge is asked. The seed of the call derives from `seed_parts`."""

    messages: list[Message]
    sampling: Sampling
    seed_parts: tuple[object, ...]
    grammar: str | None


async def ask_judge(
    client: Client, question: Question, read: Callable[[Call], V], failed: Callable[[str], V]
) -> Asked[V]:
    """Ask once, and once more with twice the tokens when the reply cannot be used.

    A call that fails for good (a refusal, a prompt beyond the context) makes an unusable verdict out of
    `failed`, so that one prompt does not stop an evaluation.
    """
    calls: list[str] = []
    raw, verdict = "", failed(CALL_FAILED)
    longer = question.sampling.model_copy(update={"max_tokens": 2 * question.sampling.max_tokens})
    for index, sampling in enumerate((question.sampling, longer)):
        try:
            call = await client.ask(
                question.messages, sampling, seed_parts=question.seed_parts, grammar=question.grammar, index=index
            )
        except CallError as error:
            logger.warning("judge %s: %s", client.name, error)
            break
        calls.append(call.digest)
        raw, verdict = call.text, read(call)
        if verdict.reason is None:
            break
    return Asked(verdict, raw, calls)


def check_failed(judges: Iterable[str], failed: Iterable[str]) -> None:
    """Refuse an evaluation when too many calls of one judge failed: then the judge is out, not a prompt wrong.

    `judges` and `failed` name the judge of every verdict and of every failed one. Raises `EvaluationError`;
    the verdicts that were paid for stay in the ledger.
    """
    asked = Counter(judges)
    for judge, count in sorted(Counter(failed).items()):
        if count > MAX_FAILED * asked[judge]:
            raise EvaluationError(
                f"judge {judge}: {count} of {asked[judge]} calls failed (see the log for what it said); "
                "verdicts made so far are kept, run again when the judge answers"
            )


def render(text: str, name: str, **values: object) -> list[Message]:
    """One user message out of a Jinja template; raises `InputError` naming the template when it is wrong."""
    environment = SandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    try:
        content = environment.from_string(text).render(**values)
    except TemplateError as error:
        raise InputError(f"{name}: {error}") from error
    return [{"role": "user", "content": content.strip()}]


def read_template(template: Path) -> str:
    """Text of a template: from the working directory or, for a relative path, from the workflow's folder."""
    for candidate in (template, WORKFLOW / template):
        if candidate.is_file():
            return candidate.read_text(encoding="utf-8")
    raise InputError(f"{template}: there is no such template")
