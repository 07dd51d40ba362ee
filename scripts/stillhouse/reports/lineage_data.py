"""What the lineage page knows: every file and job once, shortened so that a page of 500 artefacts stays small."""

from collections.abc import Iterator
from typing import Any

from jinja2.utils import htmlsafe_json_dumps

from stillhouse.provenance.lineage import Node
from stillhouse.provenance.study_records import COUNTED, usage_of

Plain = dict[str, Any]

BOUNDS = {"recipe": 3000, "facts": 2000, "models": 1000, "accepted": 1000, "wildcards": 500, "software": 1000}
"""Bytes that a part of a record may take in the page, more or less; the record itself holds all of it."""
LONGEST = 600
"""Bytes of one text."""


def page_data(nodes: list[Node]) -> Plain:
    """Files and jobs for the page's script, as plain JSON types.

    `files` are artefacts in the order of their jobs, then sources by path; jobs and files name one another by index.
    An input whose bytes are not those that the file has now carries the digest that was read.
    """
    files = _files(nodes)
    index = {file["path"]: number for number, file in enumerate(files)}
    return {
        "files": files,
        "jobs": [_job(node, files, index) for node in nodes],
        "code": {node.record["code"]["digest"]: node.record["code"]["files"] for node in nodes},
    }


def _files(nodes: list[Node]) -> list[Plain]:
    made = {
        item["path"]: {**_file(item), "job": number}
        for number, node in enumerate(nodes)
        for item in node.record["artefacts"]
    }
    read = {item["path"]: _file(item) for node in nodes for item in node.inputs}
    return [*made.values(), *(read[path] for path in sorted(read.keys() - made.keys()))]


def _file(item: Plain) -> Plain:
    return {"path": item["path"], "sha256": item["sha256"], "size": item["size"]}


def _job(node: Node, files: list[Plain], index: dict[str, int]) -> Plain:
    record = node.record
    facts = {name: value for name, value in record["facts"].items() if name not in COUNTED}
    parts = {**record, "facts": facts}
    return {
        "rule": node.rule,
        "record": node.file.as_posix(),
        "key": record["key"],
        "inputs": [_input(item, files[index[item["path"]]], index) for item in node.inputs],
        "outputs": [index[path] for path in node.artefacts],
        "code": record["code"]["digest"],
        "usage": usage_of(node),
        "reused": record["reused"],
        "origin": record.get("origin"),
        "run": record["run"],
        "seeds": record.get("seeds") or {},
        **{name: shortened(parts.get(name), most) for name, most in BOUNDS.items()},
    }


def _input(item: Plain, file: Plain, index: dict[str, int]) -> list[Any]:
    other = [] if item["sha256"] == file["sha256"] else [item["sha256"]]
    return [item["name"], index[item["path"]], *other]


def shortened(value: Any, most: int) -> Any:
    """`value` with about `most` bytes in the page at most; what was left out is told in its place."""
    return _Shortener(most).cut(value)


class _Shortener:
    """Counts down while it copies."""

    def __init__(self, left: int) -> None:
        self.left = left

    def cut(self, value: Any) -> Any:
        """A copy within what is left."""
        if isinstance(value, dict):
            return dict(self._items(value))
        if isinstance(value, list):
            return [item for _, item in self._items(dict(enumerate(value)))]
        if isinstance(value, str):
            value = _cut_text(value, min(LONGEST, max(self.left, 0)))
        self.left -= _cost(value)
        return value

    def _items(self, values: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
        for number, (name, value) in enumerate(values.items()):
            if self.left <= 0:
                yield "…", f"{len(values) - number} more in the record"
                return
            key = _cut_text(name, LONGEST) if isinstance(name, str) else name
            self.left -= _cost(key)
            yield key, self.cut(value)


def _cost(value: Any) -> int:
    """Bytes that a plain value takes in the page, with its escapes and what stands around it."""
    return len(htmlsafe_json_dumps(value)) + 2


def _cut_text(text: str, most: int) -> str:
    """The start of `text`; signs that the page escapes take more of it."""
    cost = _cost(text)
    if cost <= most + 4:
        return text
    kept = text[: int(len(text) * most / cost)]
    return f"{kept}… ({len(text) - len(kept)} more characters in the record)"
