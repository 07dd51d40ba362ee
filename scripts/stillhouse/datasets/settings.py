"""What the stage is told."""

from pydantic import Field

from stillhouse.study.base import Name, Section
from stillhouse.study.datasets import Dataset


class BuildSettings(Section):
    """One dataset of the study, by name."""

    name: Name = Field(description="name of the dataset")
    dataset: Dataset = Field(description="the study's section")
