"""The record as typed classes, and the JSON schema that is published of it (docs/record.schema.json).

Nothing that runs a job imports this: records are written as they are, and a test holds them against the schema.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.json_schema import GenerateJsonSchema

from stillhouse.provenance.records import SCHEMA

DIALECT = "https://json-schema.org/draft/2020-12/schema"
STAGES = "models|prompts|answers|generations|datasets|adapters|exports|evaluations|provenance"
SEGMENTS = r"(?:/(?!\.{1,2}(?:/|$))[^/]+)+"
BELOW_RESULTS = rf"results(?!/(?:\.store|ledger)/){SEGMENTS}"
ELSEWHERE = rf"(?!results(?:/|$))(?!/(?:[\s\S]*/)?results/(?:{STAGES})/)[\s\S]+"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}(?:[0-9a-f]{24})?$")]
Time = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
Word = Annotated[str, StringConstraints(min_length=1)]
ArtefactPath = Annotated[str, StringConstraints(pattern=rf"^{BELOW_RESULTS}$")]
InputPath = Annotated[str, StringConstraints(pattern=rf"^(?:{BELOW_RESULTS}|{ELSEWHERE})$")]
Count = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """A part of a record; unknown keys are refused."""

    # lookaheads in patterns are beyond pydantic's own engine
    model_config = ConfigDict(extra="forbid", strict=True, regex_engine="python-re")


class Artefact(Part):
    """A file that the job made."""

    path: ArtefactPath = Field(description="relative to the study's folder")
    sha256: Sha256
    size: Count = Field(description="bytes")


class Input(Part):
    """A file that the job read, hashed before the job started."""

    name: Word = Field(description="the rule's name for it")
    path: InputPath = Field(
        description="relative to the study's folder; absolute only for a file outside of any study's results"
    )
    sha256: Sha256
    size: Count = Field(description="bytes")


class Code(Part):
    """The code behind the job, by syntax trees: comments and formatting do not count."""

    digest: Sha256 = Field(description="of `files`")
    files: dict[Word, Sha256] = Field(description="source and data file below the workflow's folder -> its digest")


class Model(Part):
    """A model that the job asked, trained or merged."""

    name: Word = Field(description="its name in the study; for an evaluation the subject's")
    backend: Literal["llama_cpp", "openai", "recorded", "transformers"]
    weights: Sha256 | list[Sha256] | None = Field(None, description="of the weights; of base and adapter")
    sha256: Sha256 | None = Field(None, description="of the weights")
    adapter: Sha256 | None = Field(None, description="of an adapter that is applied to the weights")
    file: Sha256 | None = Field(None, description="of recorded answers")
    model: str | None = Field(None, description="its name at the server")
    served: str | list[str] | None = Field(None, description="the names that the server reported")
    context: Count | None = Field(None, description="context window in tokens")
    dtype: str | None = Field(None, description="number type that it ran in")


class Usage(Part):
    """Calls, tokens and cost; in a reused record those of the run that did the work."""

    calls_made: Count
    calls_replayed: Count = Field(description="answered by the ledger")
    calls_without_price: Count
    prompt_tokens: Count
    completion_tokens: Count
    usd: float | None = Field(ge=0, description="null where no call had a known price")


class Workflow(Part):
    """The state of the workflow's folder in git."""

    commit: Commit
    dirty: bool = Field(description="whether tracked files differed from the commit")


class Run(Part):
    """When, where and by what the work was done."""

    started: Time
    finished: Time
    seconds: float = Field(ge=0)
    host: str
    python: Word = Field(description="version")
    threads: int = Field(ge=1)
    workflow: Workflow | None = Field(description="null outside git")
    slurm_job: str | None


class Study(Part):
    """The config as the run saw it."""

    name: str | None
    digest: Sha256


class Acceptance(Part):
    """An artefact that was kept after its code changed (`scripts/accept.py`)."""

    key: Sha256 = Field(description="the build key that it had")
    code: Sha256 = Field(description="the code digest that it was made with")
    files: list[Word] = Field(description="the code files that changed")
    reason: str
    at: Time
    workflow: Workflow | None


class Record(Part):
    """Where the files of one job came from. A JSON document beside them: X.record.json, or record.json in a folder."""

    format: Literal[2] = Field(alias="schema", description="version of this format")
    seal: Sha256 = Field(description="sha256 of the canonical JSON of the record without this field")
    artefacts: list[Artefact] = Field(min_length=1)
    inputs: list[Input]
    key: Sha256 = Field(description="build key: rule, contents of inputs, recipe, code digest, software")
    contents: dict[Word, Sha256] = Field(
        description="digests that stand for whole inputs in the key, by input name: a shard depends on its own rows only"
    )
    rule: Word = Field(description="the rule that the job is of")
    wildcards: dict[Word, str] = Field(description="what tells the job from others of its rule")
    recipe: dict[str, JsonValue] = Field(description="the values of the study that decide the result")
    seeds: dict[Word, int] = Field(description="every seed in the recipe, by its dotted path")
    code: Code
    software: dict[Word, Word] = Field(description="versions of the packages that can change the result")
    models: list[Model]
    usage: Usage | None = Field(description="null for a job that asks no model")
    facts: dict[str, JsonValue] = Field(description="what else the job counted")
    reused: bool = Field(description="whether the files came out of the store")
    origin: Run | None = Field(description="the run that did the work, where `reused`")
    accepted: list[Acceptance]
    study: Study
    run: Run


class _Untitled(GenerateJsonSchema):
    """Leaves out titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def record_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a record."""
    schema = Record.model_json_schema(by_alias=True, schema_generator=_Untitled)
    assert schema["properties"]["schema"]["const"] == SCHEMA
    reused = {"properties": {"reused": {"const": True}}}
    schema["if"], schema["then"] = reused, {"properties": {"origin": {"type": "object"}}}
    schema["else"] = {"properties": {"origin": {"type": "null"}}}
    return {"$schema": DIALECT, **schema, "title": "Record of a Stillhouse job"}
