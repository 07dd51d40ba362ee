"""The tiny study, built once for all tests of this folder."""

import pytest
from study_runs import Built


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The tiny study, built from nothing with a real model at every step."""
    study = Built(tmp_path_factory.mktemp("tiny"))
    done = study.snakemake()
    assert done.returncode == 0, done.stdout[-6000:]
    return study
