"""Finds out which artefact a name means: a path, a folder, a record, or a GGUF file that lies anywhere."""

from dataclasses import dataclass
from pathlib import Path

from stillhouse.errors import RecordError
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.gguf_header import BUILD_KEY, FILE_TYPE, is_gguf, read_gguf_header
from stillhouse.provenance.lineage import Lineage, Node


@dataclass(frozen=True)
class Origin:
    """The job that made what was named, the artefact `path` of it, and `said`: what a file from elsewhere told."""

    node: Node
    path: str
    said: str = ""
    same_bytes: bool | None = None


def identify(lineage: Lineage, name: str) -> Origin:
    """The job and artefact that `name` means.

    A file from elsewhere is known by its bytes, and a GGUF also by the build key in its metadata, which
    quantisation carries over from the f16 file. Raises `RecordError` when no record can be found for it, or
    several fit.
    """
    relative = lineage.relative(name)
    file = Path(name) if Path(name).exists() else lineage.root / name
    if lineage.node_of(relative) is None and file.is_file():
        known = _by_bytes(lineage, file) or (_by_key(lineage, file) if is_gguf(file) else None)
        if known:
            return known
    node = lineage.find(name)
    return Origin(node, relative if relative in node.artefacts else node.artefacts[0])


def _by_bytes(lineage: Lineage, file: Path) -> Origin | None:
    """The recorded artefact with the bytes of `file`; it is hashed only when one has its size."""
    size = file.stat().st_size
    alike = [(node, item) for node in lineage.nodes for item in node.record["artefacts"] if item["size"] == size]
    sha256 = digest_file(file) if alike and size else ""
    for node, item in alike:
        if item["sha256"] == sha256:
            said = f"{file} has the very bytes of {item['path']} (sha256 {sha256})"
            return Origin(node, item["path"], said, True)
    return None


def _by_key(lineage: Lineage, file: Path) -> Origin:
    """Bytes of no recorded artefact: the GGUF's build key names the job, its number format the nearest artefact."""
    header = read_gguf_header(file)
    key = header.get(BUILD_KEY)
    if not isinstance(key, str):
        raise RecordError(
            f"{file}: no record has its bytes, and it carries no {BUILD_KEY}: it cannot be told where it is from"
        )
    made = lineage.keys.get(key)
    if not made:
        kept = key.isalnum() and (lineage.root / "results/.store" / key).is_dir()
        where = "results/.store still holds what was made under it" if kept else "it was made elsewhere or earlier"
        raise RecordError(f"{file}: no record below {lineage.root / 'results'} has its build key {key}; {where}")
    found = _ggufs(lineage, made[0])
    alike = [(node, path) for node, path in found if _format_of(lineage.root / path) == header.get(FILE_TYPE)]
    node, path = [*alike, *found, (made[0], made[0].artefacts[0])][0]
    likeness = "the same number format, other bytes" if alike else "no artefact of its number format is recorded"
    said = (
        f"{file} carries build key {key}, that of {made[0].job}; its bytes are those of no recorded artefact. "
        f"Nearest: {path} ({likeness})"
    )
    return Origin(node, path, said, False)


def _ggufs(lineage: Lineage, maker: Node) -> list[tuple[Node, str]]:
    """GGUF artefacts that carry the key of `maker`: its own, and quantisations made of them."""
    nodes = [maker, *(node for node in lineage.children(maker) if _makes_gguf(node))]
    return [(node, path) for node in nodes for path in node.artefacts if path.endswith(".gguf")]


def _makes_gguf(node: Node) -> bool:
    return any(path.endswith(".gguf") for path in node.artefacts)


def _format_of(file: Path) -> object:
    try:
        return read_gguf_header(file).get(FILE_TYPE)
    except RecordError:
        return None
