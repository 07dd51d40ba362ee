"""The filters of a dataset's sources: one key each, and what it takes."""

from typing import Literal

from pydantic import Field, model_validator

from stillhouse.study.base import Language, Pattern, Section, Share

PYTHON_FILTER = r"^[^:]+\.py:[A-Za-z_]\w*$"

Plugin = Literal[
    "artifactory", "aws", "azure", "basic_auth", "cloudant", "discord", "git_hub", "git_lab", "high_entropy", "hub",
    "ibm", "jwt", "mailchimp", "npm", "openai", "private_key", "pypi", "send_grid", "slack", "square", "stripe",
    "telegram", "twilio",
]  # fmt: skip
Kind = Literal["email", "phone", "iban", "card", "ip"]


class Range(Section):
    """A least and a largest value; one of them at least."""

    min: float | None = Field(None, ge=0.0, description="smaller values are dropped")
    max: float | None = Field(None, gt=0.0, description="larger values are dropped")

    @model_validator(mode="after")
    def _sound(self) -> "Range":
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is more than max {self.max:g}")
        return self


class Repetition(Section):
    """Loops: the share of an answer's word n-grams that stood in it before."""

    n: int = Field(4, ge=1, le=20, description="words of an n-gram")
    max: Share = Field(0.2, description="answers with a larger share of repeats are dropped")


class QualityBound(Section):
    """What a model's score of an answer must be."""

    min: float = Field(ge=0.0, description="answers of a lower score are dropped")
    unscored: Literal["drop", "keep"] = Field("drop", description="what becomes of answers that have no score")


class Secrets(Section):
    """Which detectors look for secrets."""

    plugins: list[Plugin] = Field([], description="detectors; empty: all that do not go by entropy alone")


class Filter(Section):
    """One filter; exactly one key is set. Every dropped row is counted under the filter's name."""

    min_words: int | None = Field(None, ge=0, description="drop shorter answers")
    max_words: int | None = Field(None, ge=1, description="drop longer answers")
    min_chars: int | None = Field(None, ge=0, description="drop answers of fewer characters")
    max_chars: int | None = Field(None, ge=1, description="drop answers of more characters")
    min_tokens: int | None = Field(None, ge=0, description="drop answers of fewer tokens; needs `tokens`")
    max_tokens: int | None = Field(None, ge=1, description="drop answers of more tokens; needs `tokens`")
    length_ratio: Range | None = Field(None, description="words of the answer over words of the prompt")
    without_markers: str | None = Field(None, description="markers file: drop answers with any of them (anti-leakage)")
    with_markers: str | None = Field(None, description="markers file: drop answers with none of them")
    without_pattern: Pattern | None = Field(None, description="drop answers that match the regular expression")
    with_pattern: Pattern | None = Field(None, description="drop answers that do not match it")
    not_truncated: Literal[True] | None = Field(None, description="drop answers cut off by max_tokens")
    converged: Literal[True] | None = Field(None, description="drop answers whose tournament did not converge")
    min_margin: int | None = Field(None, ge=1, description="drop answers that won by fewer Borda points at the end")
    judge_agreement: Share | None = Field(
        None, description="drop answers that a smaller share of the last panel put first"
    )
    quality: QualityBound | None = Field(
        None, description="drop answers that the source's `quality` model scored lower"
    )
    no_refusals: Literal[True] | None = Field(None, description='drop refusals and "as an AI" answers')
    min_contractions: float | None = Field(None, ge=0.0, description="drop answers with fewer in a hundred words")
    max_contractions: float | None = Field(None, ge=0.0, description="drop answers with more in a hundred words")
    repetition: Repetition | None = Field(None, description="drop answers that loop")
    language: list[Language] | None = Field(None, min_length=1, description="drop answers in other languages")
    valid_json: Literal[True] | None = Field(None, description="drop answers that are no JSON, in a code fence or bare")
    code_parses: Literal[True] | None = Field(None, description="drop answers whose Python code blocks do not parse")
    secrets: Literal[True] | Secrets | None = Field(None, description="drop answers or prompts with keys and tokens")
    pii: Literal[True] | list[Kind] | None = Field(None, description="drop answers or prompts with personal data")
    python: str | None = Field(
        None, pattern=PYTHON_FILTER, description="`file.py:function`, which takes a row and tells whether it stays"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> "Filter":
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("a filter is one key with its value, as in {min_words: 8}")
        return self

    @property
    def files(self) -> dict[str, str]:
        """Key -> file that the filter reads."""
        named = {"without_markers": self.without_markers, "with_markers": self.with_markers}
        if self.python is not None:
            named["python"] = self.python.rsplit(":", 1)[0]
        return {key: file for key, file in named.items() if file is not None}
