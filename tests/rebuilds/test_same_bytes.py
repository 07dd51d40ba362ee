"""Two builds from nothing give the same bytes, whatever the number of cores."""

from pathlib import Path

import pytest
from house import House

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("cores", [1, 4])
def test_a_build_from_nothing_gives_the_same_bytes(unbuilt: House, built: House, tmp_path: Path, cores: int) -> None:
    again = unbuilt.copy(tmp_path / "again")
    again.run(cores=cores)
    ours, theirs = again.artefacts(), built.artefacts()
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == set()
    endings = {Path(name).suffix for name in ours}
    assert {".parquet", ".gguf", ".md", ".html", ".safetensors", ".json", ".svg"} <= endings
