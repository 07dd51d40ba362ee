"""The store gives back what was saved under a key, whole or not at all."""

from pathlib import Path

import pytest

from stillhouse.provenance import store
from stillhouse.provenance.records import digest_of

KEPT = store.Kept("train_adapter", {"rows": 3}, {"host": "here", "finished": "2026-11-21T08:00:00+00:00"})


def save(made: list[Path]) -> None:
    store.save("key", [digest_of(path) for path in made], KEPT)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STILLHOUSE_REBUILD", raising=False)
    made = [Path("results/a/model.gguf"), Path("results/a/b/c.json")]
    for number, path in enumerate(made):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"artefact {number}")
    save(made)
    return made


def gone(outputs: list[Path]) -> None:
    for path in outputs:
        path.unlink()


def test_what_was_saved_comes_back_under_any_names(outputs: list[Path]) -> None:
    renamed = [Path("results/other") / path.name for path in outputs]
    assert store.restore("key", renamed) == KEPT
    assert [path.read_text() for path in renamed] == ["artefact 0", "artefact 1"]
    assert store.restore("another", renamed) is None


def test_restoring_over_the_same_files_leaves_no_litter(outputs: list[Path]) -> None:
    for _ in range(2):
        assert store.restore("key", outputs) == KEPT
        save(outputs)
    assert not list(Path("results").rglob("*.tmp"))


def damage_byte(entry: Path) -> None:
    file = entry / "0000"
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        damage_byte,
        lambda entry: (entry / "0001").unlink(),
        lambda entry: (entry / "manifest.json").write_text('{"files": ['),
        lambda entry: (entry / "manifest.json").write_text("[]"),
        lambda entry: (entry / "manifest.json").write_text('{"files": [], "facts": {}}'),
    ],
)
def test_a_damaged_entry_is_dropped(outputs: list[Path], damage) -> None:
    gone(outputs)
    damage(store.FOLDER / "key")
    assert store.restore("key", outputs) is None
    assert not (store.FOLDER / "key").exists()
    assert not any(path.exists() for path in outputs)


def test_an_entry_without_its_manifest_is_none(outputs: list[Path]) -> None:
    (store.FOLDER / "key/manifest.json").unlink()
    assert store.restore("key", outputs) is None


@pytest.mark.parametrize(("value", "bypassed"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_rebuild_asks_for_real_work(outputs: list[Path], monkeypatch, value: str, bypassed: bool) -> None:
    monkeypatch.setenv("STILLHOUSE_REBUILD", value)
    assert (store.restore("key", outputs) is None) is bypassed


def test_a_new_artefact_over_an_old_one_leaves_the_kept_one_alone(outputs: list[Path]) -> None:
    from stillhouse.provenance.files import write_text

    write_text(outputs[0], "newer")
    assert store.restore("key", outputs) == KEPT
    assert outputs[0].read_text() == "artefact 0"


def test_without_links_files_are_copied(outputs: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(store.os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    gone(outputs)
    assert store.restore("key", outputs) == KEPT
    assert outputs[1].read_text() == "artefact 1"


def test_an_entry_tells_what_removing_it_gives_back(outputs: list[Path]) -> None:
    size = sum(path.stat().st_size for path in outputs)
    (entry,) = store.entries()
    manifest = (store.FOLDER / "key" / store.MANIFEST).stat().st_size
    assert (entry.rule, entry.size, entry.freed) == ("train_adapter", size + manifest, manifest)
    gone(outputs)
    assert store.entries()[0].freed == size + manifest
    store.remove("key")
    assert store.entries() == [] and store.restore("key", outputs) is None


def test_an_entry_under_a_second_key(outputs: list[Path]) -> None:
    store.copy_entry("key", "accepted")
    store.remove("key")
    gone(outputs)
    assert store.restore("accepted", outputs) == KEPT
    store.copy_entry("nothing", "another")
    assert store.restore("another", outputs) is None


def test_a_torn_entry_is_listed_and_can_be_removed(outputs: list[Path]) -> None:
    (store.FOLDER / "key" / store.MANIFEST).unlink()
    assert store.entries()[0].rule == "(torn)"
    store.remove("key")
    assert store.entries() == []
