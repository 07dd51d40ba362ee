"""Conservation of rows: at every stage of a results tree, what came in is there again, or was dropped for a reason.

Counts come from the files themselves: lines of prompt files, rows of parquet files and their identities. Records are
asked only which files a job read, and for the reasons that no file holds (taken down, over the limit).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.provenance.conserved import ORDERS, differences, inputs_of, record_of
from stillhouse.provenance.conserved_judgements import check_judgements, check_responses
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import read_json, read_parquet_rows
from stillhouse.provenance.records import read_record

Row = dict[str, Any]
SPLITS = ("train", "valid", "test")


def check_conservation(root: Path) -> list[str]:
    """Faults of everything below `root`/results, one line each: the file, and what is lost, doubled or foreign.

    Works on results/ and the prompt files that its records name; a stage that was not built has no faults. A prompt
    file that was changed or removed since is taken for what its record counted.
    """
    results = root / "results"
    stages: list[tuple[Callable[[Path, Path], Iterator[str]], Iterable[Path]]] = [
        (_prompts, [*results.glob("prompts/*.parquet"), *results.glob("evaluations/*/prompts/*.parquet")]),
        (_generation, results.glob("generations/*/record.json")),
        (_checked, results.glob("generations/*/check.parquet")),
        (_dataset, results.glob("datasets/*/record.json")),
        (check_responses, results.glob("evaluations/*/responses/*.parquet")),
        (check_judgements, results.glob("evaluations/*/judgements/*.parquet")),
    ]
    return [fault for check, files in stages for file in sorted(files) for fault in _guarded(check, root, file)]


def _guarded(check: Callable[[Path, Path], Iterator[str]], root: Path, file: Path) -> Iterator[str]:
    """The faults of one file; what cannot be read is one of them."""
    name = file.relative_to(root).as_posix()
    try:
        yield from (f"{name}: {fault}" for fault in check(root, file))
    except (RecordError, OSError, ValueError, KeyError, TypeError) as error:
        yield f"{name}: cannot be checked: {type(error).__name__}: {error}"


def _sum(step: Row) -> Iterator[str]:
    if step["in"] != step["kept"] + sum(step["dropped"].values()):
        yield f"{step['stage']}: {step['in']} in, {step['kept']} kept, dropped: {step['dropped']}"


# prompts and generations


def _prompts(root: Path, file: Path) -> Iterator[str]:
    record = record_of(file)
    facts, kept = record["facts"], [row["prompt_id"] for row in read_parquet_rows(file, ["prompt_id"])]
    lines = _lines(root, record)
    # records of version 1 have no books: nothing was excluded then, and the limit took the rest
    over = facts.get("over_limit", max(0, lines - (record["recipe"].get("limit") or lines)))
    others = {name: facts.get(name, 0) for name in ("excluded", "other_categories", "repeated")}
    dropped = {**others, "over_limit": over}
    yield from _sum({"stage": "prompts", "in": lines, "kept": len(kept), "dropped": dropped})
    yield from differences(set(kept), kept)


def _lines(root: Path, record: Row) -> int:
    """Lines with something in them of a prompt set's source file, as it was read."""
    source = inputs_of(record, "source")[0]
    path = root / source["path"]
    if path.is_file() and digest_file(path) == source["sha256"]:
        return sum(bool(line.strip()) for line in path.read_text(encoding="utf-8-sig").split("\n"))
    return record["facts"].get("lines", record["facts"]["prompts"])


def _ids(file: Path) -> list[str]:
    return [row["prompt_id"] for row in read_parquet_rows(file, ["prompt_id"])]


def _generation(root: Path, file: Path) -> Iterator[str]:
    """Every prompt is answered or has failed, once, in the shards and in the merged files."""
    shards = [root / item["path"] for item in inputs_of(read_record(file), "shards")]
    sources = {item["path"] for shard in shards for item in inputs_of(record_of(shard), "prompts")}
    prompts = [identity for source in sorted(sources) for identity in _ids(root / source)]
    merged = [*_ids(file.with_name("answers.parquet")), *_ids(file.with_name("failures.parquet"))]
    yield from (f"prompts in the shards: {fault}" for fault in differences(prompts, _shard_ids(shards)))
    yield from (f"prompts answered or failed: {fault}" for fault in differences(prompts, merged))


def _checked(root: Path, file: Path) -> Iterator[str]:
    """Every prompt of an external check has its verdicts, scored or not; one row where its draft was left as it was."""
    record = record_of(file)
    source, recipe = root / inputs_of(record, "answers")[0]["path"], record["recipe"]
    rows = sorted(read_parquet_rows(source, ["prompt_id", "answer", "draft"]), key=lambda row: row["prompt_id"])
    asked = [(judge, order) for judge in sorted(set(recipe["judges"])) for order in ORDERS]
    expected = [
        (row["prompt_id"], *way)
        for row in rows[: recipe["limit"]]
        for way in ([(None, None)] if row["answer"] == row["draft"] else asked)
    ]
    keys = ["prompt_id", "judge", "order"]
    yield from differences(expected, [tuple(row[key] for key in keys) for row in read_parquet_rows(file, keys)])


def _shard_ids(shards: list[Path]) -> list[str]:
    return [identity for shard in shards for identity in _ids(shard)]


# datasets

IDENTITY = ["prompt_id", "set", "id"]


def _dataset(root: Path, file: Path) -> Iterator[str]:
    record, report = read_record(file), read_json(file.with_name("report.json"))
    rows = [
        r for name in SPLITS for r in read_parquet_rows(file.with_name(f"{name}.parquet"), [*IDENTITY, "generation"])
    ]
    answers = {
        Path(item["path"]).parent.name: read_parquet_rows(root / item["path"], IDENTITY)
        for item in inputs_of(record, "answers")
    }
    failed = {Path(item["path"]).parent.name: _ids(root / item["path"]) for item in inputs_of(record, "failures")}
    yield from _flow(report.get("flow", []), answers, failed, len(rows))
    for name, sources in _by_generation(report["sources"]).items():
        for source in sources:
            yield from _sum({"stage": name, "in": len(answers[name]), **_kept(source)})
        written = [_identity(row) for row in rows if row["generation"] == name]
        claimed = sum((source.get("pairs") or {"kept": source["rows_kept"]})["kept"] for source in sources)
        if len(written) != claimed:
            yield f"{name}: {claimed} rows kept, and {len(written)} are in the splits"
        strangers = set(written) - {_identity(row) for row in answers[name]}
        yield from (f"{name}: {fault}" for fault in differences((), strangers))
    yield from differences((), {row["generation"] for row in rows} - set(answers))
    yield from _lists(report)


def _identity(row: Row) -> str:
    return f"{row['set']}:{row['id']} ({row['prompt_id']})"


def _by_generation(sources: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for source in sources:
        found.setdefault(source["generation"], []).append(source)
    return found


def _kept(source: Row) -> Row:
    return {"kept": source["rows_kept"], "dropped": source["dropped"]}


def _flow(flow: list[Row], answers: dict[str, list[Row]], failed: dict[str, list[str]], rows: int) -> Iterator[str]:
    """Every step adds up, begins with what the one before left, and both ends are what the files hold."""
    for step in flow:
        yield from _sum(step)
        name = step["source"]
        if step["stage"] == "generation" and step["in"] != len(answers[name]) + len(failed[name]):
            there = f"{len(answers[name])} answers and {len(failed[name])} failures"
            yield f"generation {name}: {step['in']} prompts, and the files hold {there}"
    stages: dict[tuple[str, str], list[Row]] = {}
    for step in flow:
        stages.setdefault((step["stage"], step["unit"]), []).append(step)
    for ((stage, unit), before), ((following, same), after) in itertools.pairwise(stages.items()):
        kept, came = sum(step["kept"] for step in before), sum(step["in"] for step in after)
        if unit == same and kept != came:
            yield f"{stage} kept {kept}, and {came} came to {following}"
    if flow and flow[-1]["kept"] != rows:
        yield f"the flow ends with {flow[-1]['kept']} rows, and {rows} are in the splits"


def _lists(report: Row) -> Iterator[str]:
    """What the report lists one by one are as many as it counts."""
    for key, reasons in (
        ("duplicates", ("exact_duplicate", "near_duplicate")),
        ("decontamination", ("decontamination",)),
    ):
        counted = sum(source["dropped"].get(reason, 0) for source in report["sources"] for reason in reasons)
        if counted != len(report[key]):
            yield f"{key}: {counted} rows dropped, and {len(report[key])} are listed"
