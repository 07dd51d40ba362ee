"""What the stage is told."""

from typing import Any

from pydantic import Field

from stillhouse.study.base import Name, Section
from stillhouse.study.datasets import Dataset, OutputForm


class BuildSettings(Section):
    """One dataset of the study, by name."""

    name: Name = Field(description="name of the dataset")
    dataset: Dataset = Field(description="the study's section")


class CardSettings(BuildSettings):
    """A dataset's card: what built it, and what the study says of it to its readers."""

    front: dict[str, Any] = Field(description="license, language: what the front matter takes of the study")
    parties: list[dict[str, Any]] = Field(description="prompt sets and models behind it, with licence and terms")
    outputs: list[OutputForm] = Field([], description="other forms that the splits are written in")
