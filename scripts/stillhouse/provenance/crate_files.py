"""Entities of an RO-Crate, each once; names, types and licences of a study's files in it."""

import base64
import mimetypes
import posixpath
import uuid
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stillhouse.provenance.digests import digest_json
from stillhouse.provenance.lineage import Node

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

BYTES = "application/octet-stream"
TYPES = {
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
    **dict.fromkeys((".gbnf", ".j2", ".jinja", ".smk"), "text/plain"),
}
SPDX = {
    name.lower(): name
    for name in (
        "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "CC0-1.0",
        "ISC", "MIT", "MPL-2.0", "ODbL-1.0", "Unlicense",
    )
}  # fmt: skip
"""Licences with a page of their own in the SPDX list; any other is told by its name alone."""


class Entities:
    """What a crate holds besides its root, by identifier: the first entity of a name stays.

    The library's own lookup walks all entities, which is slow in a study of many jobs.
    """

    def __init__(self, crate: "ROCrate") -> None:
        self.crate = crate
        self._known: dict[str, Entity] = {}

    def thing(self, identifier: str, kind: str, properties: dict[str, Any]) -> "Entity":
        """A contextual entity."""
        from rocrate.model import ContextEntity

        if identifier not in self._known:
            entity = ContextEntity(self.crate, identifier, {"@type": kind, **properties})
            self._known[identifier] = self.crate.add(entity)
        return self._known[identifier]

    def file(self, identifier: str, properties: dict[str, Any]) -> "Entity":
        """A data entity whose bytes lie outside the crate's folder."""
        from rocrate.model import File

        if identifier not in self._known:
            self._known[identifier] = self.crate.add(File(self.crate, identifier, properties=properties))
        return self._known[identifier]

    def licence(self, name: str) -> "Entity":
        """A licence: its page in the SPDX list, or an entity that has no more than the name."""
        spdx = SPDX.get(name.lower())
        identifier = f"https://spdx.org/licenses/{spdx}" if spdx else f"#licence/{quote(name, safe='')}"
        words = {"name": spdx or name, "description": f"The licence {spdx or name}."}
        return self.thing(identifier, "CreativeWork", words)


class CrateFiles:
    """The entities of a study's files, one for a path and what it held.

    A file below the study's folder is `arcp://uuid,STUDY/PATH` (draft-soilandreyes-arcp), where STUDY stands for this
    state of the study. One from elsewhere is named by its content (`ni`, RFC 6920), never by a place on some machine.
    """

    def __init__(self, entities: Entities, nodes: list[Node]) -> None:
        self._entities = entities
        state = digest_json(sorted(node.record["seal"] for node in nodes))
        self.base = f"arcp://uuid,{uuid.uuid5(uuid.NAMESPACE_OID, state)}/"
        self._current = {item["path"]: item["sha256"] for node in nodes for item in node.inputs}
        self._current |= {item["path"]: item["sha256"] for node in nodes for item in node.record["artefacts"]}
        self._licences = card_licences(nodes)

    def entity(self, item: dict[str, Any]) -> "Entity":
        """The entity of a file as a record names it: path, sha256, size."""
        identifier = self._identifier(item["path"], item["sha256"])
        name = item["path"] if identifier.startswith("arcp:") else PurePosixPath(item["path"]).name
        properties = {"name": name, **described(item["path"], item["sha256"], item["size"])}
        licences = self._licences.get(folder_of(item["path"]), [])
        if licences:
            properties["license"] = one_or_all([self._entities.licence(licence) for licence in licences])
        return self._entities.file(identifier, properties)

    def _identifier(self, path: str, sha256: str) -> str:
        if posixpath.isabs(path) or posixpath.normpath(path).split("/")[0] == "..":
            return content_uri(sha256)
        version = "" if self._current.get(path, sha256) == sha256 else f"?sha256={sha256}"
        return f"{self.base}{quote(path)}{version}"


def content_uri(sha256: str) -> str:
    """A file named by its sha256 (64 hex digits) and nothing else, after RFC 6920."""
    return "ni:///sha-256;" + base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")


def described(path: str, sha256: str, size: int) -> dict[str, Any]:
    """Properties that every file has."""
    return {"encodingFormat": media_type(path), "sha256": sha256, "contentSize": str(size)}


def media_type(path: str) -> str:
    """Media type by the file's ending; bytes where nothing better is known."""
    suffix = PurePosixPath(path).suffix
    return TYPES.get(suffix) or mimetypes.types_map.get(suffix, BYTES if suffix else "text/plain")


def folder_of(path: str) -> str:
    """The folder that one card covers: results/STAGE/NAME."""
    return "/".join(path.split("/")[:3])


def card_licences(nodes: list[Node]) -> dict[str, list[str]]:
    """Folder of a dataset or an export -> the licences that its card states."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        front = node.record["recipe"].get("front") or {}
        told = front.get("license") or []
        names = [told] if isinstance(told, str) else told
        names = [front.get("license_name", name) if name == "other" else name for name in names if name != "unknown"]
        if names:
            found[folder_of(node.artefacts[0])] = list(dict.fromkeys(names))
    return found


def one_or_all(values: list[Any]) -> Any:
    """A value that stands alone goes without a list (RO-Crate's compact form)."""
    return values[0] if len(values) == 1 else values
