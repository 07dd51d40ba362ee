"""Jobs of a few bytes, run by the real job wrapper in the working directory."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from stillhouse.provenance.digests import canonical_json
from stillhouse.provenance.files import read_json
from stillhouse.provenance.job import Content, Main, run_job

SOFTWARE = {"pyarrow": "26.0.1", "torch": "2.13.0"}
USAGE = {
    "calls_made": 3, "calls_replayed": 1, "calls_without_price": 0, "prompt_tokens": 40, "completion_tokens": 9,
    "usd": 0.25,
}  # fmt: skip


def run_tiny(
    main: Main,
    rule: str,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    recipe: dict[str, Any],
    wildcards: dict[str, str] | None = None,
    content: Content | None = None,
) -> dict[str, Any]:
    """Run `main` as a job of rule `rule` of the study `tiny`; its record is returned.

    `rule` is one whose script exists. Run twice, the files come out of the store.
    """
    params = SimpleNamespace(
        recipe=f"recipe {canonical_json(recipe)}", code="code", software=f"software {canonical_json(SOFTWARE)}"
    )
    job = SimpleNamespace(
        rule=rule, input=inputs, output=outputs, params=params, wildcards=wildcards or {}, log=[f"{rule}.log"],
        config={"study": "tiny"}, threads=1, resources={},
    )  # fmt: skip
    with _logging_as_before():
        run_job(main, f"{rule}.py", job, content=content)
    return read_json(outputs["record"])


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """A job sets up logging for its whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
