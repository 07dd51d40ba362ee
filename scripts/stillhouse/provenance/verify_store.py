"""Checks the entries of results/.store: their files against their manifest, and the manifest against the records."""

import json
from pathlib import Path
from typing import Any

from stillhouse.provenance.digests import digest_json
from stillhouse.provenance.lineage import Lineage, Node, job_name
from stillhouse.provenance.records import USAGE, usage_of
from stillhouse.provenance.verification import Fault, Hashes, Note, Verification, plain_json

STORE, MANIFEST = "results/.store", "manifest.json"
UNSEALED = {"files", "rule", "facts", "run"}  # what older versions wrote: another key may be a damaged seal

Manifest = dict[str, Any]


def check_store(lineage: Lineage, hashes: Hashes, result: Verification) -> None:
    """Check every entry; faults and notes go to `result`."""
    unsealed = 0
    for folder in sorted((lineage.root / STORE).glob("*/")):
        result.entries += 1
        entry = _Entry(lineage, hashes, result, folder)
        entry.check()
        unsealed += entry.unsealed
    if unsealed:
        text = f"{unsealed} entries of earlier recipes have no seal: their files are checked, their facts cannot be"
        result.notes.append(Note("unsealed", STORE, text))


class _Entry:
    """One entry; its name is the build key."""

    def __init__(self, lineage: Lineage, hashes: Hashes, result: Verification, folder: Path) -> None:
        self.lineage, self.hashes, self.result, self.folder = lineage, hashes, result, folder
        self.key, self.unsealed = folder.name, False
        self.nodes = lineage.keys.get(self.key, [])
        self.path = folder.relative_to(lineage.root).as_posix()
        self.job = self.nodes[0].job if self.nodes else f"a job of an earlier recipe, build key {self.key}"

    def check(self) -> None:
        manifest = self._manifest()
        if manifest is None:
            return
        if not self.nodes and "rule" in manifest:
            self.job = f"{job_name(str(manifest['rule']), {})} of an earlier recipe, build key {self.key}"
        listed = {MANIFEST}
        for number, file in enumerate(manifest["files"]):
            listed.add(file["name"])
            self._check_file(number, file)
        for file in sorted(self.folder.iterdir()):
            if file.name not in listed:
                self.result.notes.append(Note("unknown", f"{self.path}/{file.name}", "its manifest does not name it"))

    def _fault(self, name: str, reason: str) -> None:
        self.result.faults.append(Fault(f"{self.path}/{name}", self.job, reason))

    def _manifest(self) -> Manifest | None:
        file = self.folder / MANIFEST
        if not file.is_file():
            self.result.notes.append(Note("torn", self.path, "an entry without a manifest: a kill cut it off"))
            return None
        try:
            data = file.read_bytes()
            manifest = json.loads(data)
            listed = [(one["name"], type(one["sha256"])) for one in manifest["files"]]
            whole = listed == [(f"{number:04d}", str) for number in range(len(listed))]
            same = data == plain_json(manifest)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            self._fault(MANIFEST, "changed: it is no manifest as the store writes them")
            return None
        if not same or not self._sealed(manifest):
            self._fault(MANIFEST, "changed after it was written")
        return manifest

    def _sealed(self, manifest: Manifest) -> bool:
        """Whether the manifest is what was written; without a seal the records that repeat it are asked."""
        if "seal" in manifest:
            return manifest["seal"] == digest_json({k: v for k, v in manifest.items() if k != "seal"})
        if not manifest.keys() <= UNSEALED:
            return False
        if not self.nodes:
            self.unsealed = True
            return True
        return any(_agree(manifest, node) for node in self.nodes)

    def _check_file(self, number: int, file: dict[str, Any]) -> None:
        fault = self.hashes.fault((self.folder / file["name"]).relative_to(self.lineage.root), file["sha256"])
        if fault:
            self._fault(file["name"], f"{fault}; kept copy of {self._stands_for(number)}")

    def _stands_for(self, number: int) -> str:
        artefacts = self.nodes[0].artefacts if self.nodes else []
        return artefacts[number] if number < len(artefacts) else "an artefact of an earlier recipe"


def _agree(manifest: Manifest, node: Node) -> bool:
    """Whether a manifest says what the record of its job repeats."""
    record, facts = node.record, manifest.get("facts")
    if not isinstance(facts, dict):
        return False
    shas = [file["sha256"] for file in manifest["files"]]
    if record.get("schema") == 1:  # such records repeat the facts as they are
        return facts == record.get("facts") and shas == [item["sha256"] for item in record["artefacts"]]
    run = record.get("origin") or record.get("run")
    paths = [file.get("path") for file in manifest["files"]]
    if not record.get("reused") and manifest.get("run") == run and paths != node.artefacts:
        return False  # the entry is this very job's; another job of the same key may have made other paths
    told = {name: value for name, value in facts.items() if name not in ("models", *USAGE)}
    return (
        told == record.get("facts")
        and facts.get("models", []) == record.get("models")
        and _usage(facts) == record.get("usage")
        and manifest.get("rule") == record["rule"]
        and manifest.get("run") == run
        and shas == [item["sha256"] for item in record["artefacts"]]
    )


def _usage(facts: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return usage_of(facts)
    except (KeyError, TypeError):
        return None
