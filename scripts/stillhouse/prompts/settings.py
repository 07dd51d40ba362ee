"""What decides a prompt set, as its rule's recipe tells it."""

from typing import Literal

from pydantic import Field

from stillhouse.study.answers import AnswerField
from stillhouse.study.base import Name, Section
from stillhouse.study.excludes import Exclude
from stillhouse.study.prompt_sets import Categorise, Hub, Sample


class CollectSettings(Section):
    """One prompt set, or answers beside their prompts: its name, how its sources are read, which prompts to take, and what of `exclude` can concern it."""

    set: Name
    format: Literal["jsonl", "json", "csv", "tsv", "parquet", "lines"] | None = None
    hub: Hub | None = None
    columns: dict[AnswerField, str] = {}
    rules: list[Categorise] = []  # categories by rule
    sample: Sample | None = None
    limit: int | None = Field(None, ge=1)
    bad_rows: Literal["error", "reject"] = "error"
    categories: list[str] | None = None  # only prompts of these
    except_categories: list[str] = []  # none of these
    recorded: bool = False  # whether the file may hold recorded answers beside the prompts
    answers: bool = False  # whether every row holds an answer, and is known by its prompt and that
    exclude: Exclude = Exclude()
    excluded_files: dict[str, list[str]] = {}  # exclude.sources entries that name some of the files only -> those files

    @property
    def whole(self) -> list[str]:
        """Entries of `exclude.sources` that take down the whole set."""
        return [entry for entry in self.exclude.sources if entry not in self.excluded_files]
