"""Conservation of rows: at every stage of a results tree, what came in is there again, or was dropped for a reason.

Counts come from the files themselves: lines of prompt files, rows of parquet files and their identities. Records are
asked only which files a job read, and for the reasons that no file holds (taken down, over the limit).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.provenance.conserved import ORDERS, differences, inputs_of, record_of
from stillhouse.provenance.conserved_judgements import check_judgements, check_responses
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import parquet_columns, read_json, read_parquet_rows
from stillhouse.provenance.records import read_record

Row = dict[str, Any]
SPLITS = ("train", "valid", "test")
REJECTED = ".rejected.parquet"
LINES = (".jsonl", ".ndjson", ".txt")


def check_conservation(root: Path) -> list[str]:
    """Faults of everything below `root`/results, one line each: the file, and what is lost, doubled or foreign.

    Works on results/ and the prompt files that its records name; a stage that was not built has no faults. A prompt
    file that was changed or removed since is taken for what its record counted.
    """
    results = root / "results"
    stages: list[tuple[Callable[[Path, Path], Iterator[str]], Iterable[Path]]] = [
        (_prompts, _prompt_sets(results)),
        (_read_answers, results.glob("answers/*/record.json")),
        (_generation, results.glob("generations/*/record.json")),
        (_checked, results.glob("generations/*/check.parquet")),
        (_scored, [*results.glob("generations/*/quality.parquet"), *results.glob("answers/*/quality.parquet")]),
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


def _prompt_sets(results: Path) -> list[Path]:
    """Files of prompts; what a set rejected lies beside it."""
    found = [*results.glob("prompts/*.parquet"), *results.glob("evaluations/*/prompts/*.parquet")]
    return [file for file in found if not file.name.endswith(REJECTED)]


def _prompts(root: Path, file: Path) -> Iterator[str]:
    yield from _collected(root, record_of(file), "prompts", _ids(file), file.with_name(file.stem + REJECTED))


def _read_answers(root: Path, file: Path) -> Iterator[str]:
    kept = _answers(file.with_name("answers.parquet"))
    yield from _collected(root, read_record(file), "answers", kept, file.with_name(REJECTED[1:]))


def _collected(root: Path, record: Row, what: str, kept: list[Any], rejected: Path) -> Iterator[str]:
    """Every line of the user's files is kept, listed as rejected, or counted for another reason; nothing is kept twice."""
    facts = record["facts"]
    lines = _lines(root, record)
    # records of version 1 have no books: nothing was excluded then, and the limit took the rest
    over = facts.get("over_limit", max(0, lines - (record["recipe"].get("limit") or lines)))
    books = ("excluded", "not_sampled", "other_categories", "repeated", "rejected")
    others = {name: facts.get(name, 0) for name in books}
    dropped = {**others, "over_limit": over}
    yield from _sum({"stage": what, "in": lines, "kept": len(kept), "dropped": dropped})
    yield from differences(set(kept), kept)
    if rejected.is_file() and (listed := len(read_parquet_rows(rejected, ["line"]))) != facts.get("rejected", 0):
        yield f"{facts.get('rejected', 0)} rows rejected, and {listed} are listed"


def _lines(root: Path, record: Row) -> int:
    """Lines with something in them of a set's source files, as they were read; other kinds as the job counted."""
    sources = [(root / item["path"], item["sha256"]) for item in inputs_of(record, "source")]
    plain = record["recipe"].get("format") in (None, "jsonl", "lines") and sources
    if plain and all(path.suffix in LINES and path.is_file() and digest_file(path) == sha for path, sha in sources):
        texts = (path.read_text(encoding="utf-8-sig", errors="replace") for path, _ in sources)
        return sum(bool(line.strip()) for text in texts for line in text.split("\n"))
    return record["facts"].get("lines", record["facts"].get("prompts"))


def _ids(file: Path) -> list[str]:
    return [row["prompt_id"] for row in read_parquet_rows(file, ["prompt_id"])]


def _answers(file: Path) -> list[tuple[str, int]]:
    """Prompt and number of each answer; older files have one answer a prompt."""
    columns = [name for name in ("prompt_id", "sample") if name in parquet_columns(file)]
    return [(row["prompt_id"], row.get("sample") or 0) for row in read_parquet_rows(file, columns)]


def _generation(root: Path, file: Path) -> Iterator[str]:
    """Every answer that was wanted to every prompt is there or has failed, once, in the shards and in the merged files."""
    shards = [root / item["path"] for item in inputs_of(read_record(file), "shards")]
    sources = {item["path"] for shard in shards for item in inputs_of(record_of(shard), "prompts")}
    samples = max((record_of(shard)["recipe"].get("samples", 1) for shard in shards), default=1)
    prompts = [identity for source in sorted(sources) for identity in _ids(root / source)]
    wanted = [(identity, sample) for identity in prompts for sample in range(samples)]
    merged = [*_answers(file.with_name("answers.parquet")), *_answers(file.with_name("failures.parquet"))]
    sharded = [answer for shard in shards for answer in _answers(shard)]
    yield from (f"prompts in the shards: {fault}" for fault in differences(wanted, sharded))
    yield from (f"prompts answered or failed: {fault}" for fault in differences(wanted, merged))


def _checked(root: Path, file: Path) -> Iterator[str]:
    """Every prompt of an external check has its verdicts, scored or not; one row where its draft was left as it was."""
    record = record_of(file)
    source, recipe = root / inputs_of(record, "answers")[0]["path"], record["recipe"]
    columns = [name for name in ("prompt_id", "answer", "draft", "sample") if name in parquet_columns(source)]
    first = [row for row in read_parquet_rows(source, columns) if not row.get("sample")]
    rows = sorted(first, key=lambda row: row["prompt_id"])
    asked = [(judge, order) for judge in sorted(set(recipe["judges"])) for order in ORDERS]
    expected = [
        (row["prompt_id"], *way)
        for row in rows[: recipe["limit"]]
        for way in ([(None, None)] if row["answer"] == row["draft"] else asked)
    ]
    keys = ["prompt_id", "judge", "order"]
    yield from differences(expected, [tuple(row[key] for key in keys) for row in read_parquet_rows(file, keys)])


def _scored(root: Path, file: Path) -> Iterator[str]:
    """Every answer has one line of scores, with a score or the reason why there is none."""
    source = root / inputs_of(record_of(file), "answers")[0]["path"]
    yield from differences(_answers(source), _answers(file))
    for row in read_parquet_rows(file, ["prompt_id", "score", "failure"]):
        if (row["score"] is None) == (row["failure"] is None):
            yield f"prompt {row['prompt_id']}: score {row['score']}, failure {row['failure']}"


# datasets

IDENTITY = ["prompt_id", "set", "id"]
LISTED = 1_000
"""A report lists so many duplicates and leaks one by one; dropped.parquet names them all."""


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
    yield from _dropped(file.with_name("dropped.parquet"), report)
    for name, sources in _by_generation(report["sources"]).items():
        for source in sources:
            yield from _sum({"stage": name, "in": len(answers[name]), **_kept(source)})
        written = [_identity(row) for row in rows if row["generation"] == name]
        claimed = sum(_rows_of(source) for source in sources)
        if len(written) != claimed:
            yield f"{name}: {claimed} rows kept, and {len(written)} are in the splits"
        strangers = set(written) - {_identity(row) for row in answers[name]}
        yield from (f"{name}: {fault}" for fault in differences((), strangers))
    yield from differences((), {row["generation"] for row in rows} - set(answers))
    yield from _lists(report)


def _rows_of(source: Row) -> int:
    """Rows of a source in the splits; before there were repeats the report told them under other names."""
    if "rows" in source:
        return source["rows"]
    return (source.get("pairs") or {"kept": source["rows_kept"]})["kept"]


def _dropped(file: Path, report: Row) -> Iterator[str]:
    """dropped.parquet names as many rows as the report counts, for each generation and reason; older datasets have none."""
    if not file.is_file():
        return
    counted: Counter[tuple[str, str]] = Counter()
    for source in report["sources"]:
        counted.update({(source["generation"], reason): count for reason, count in source["dropped"].items()})
    named = [(row["generation"], row["reason"]) for row in read_parquet_rows(file, ["generation", "reason"])]
    yield from (f"dropped rows: {fault}" for fault in differences(counted.elements(), named))


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
        if min(counted, LISTED) != min(len(report[key]), LISTED):
            yield f"{key}: {counted} rows dropped, and {len(report[key])} are listed"
