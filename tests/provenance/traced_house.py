"""A small results folder with everything that trace.py can meet, made by the workflow's own stages and writers.

Only the model is scripted and the weights are noise: prompts, tournaments, calls, datasets, judgements, records and
store entries come from the code that a study runs.
"""

import atexit
import contextlib
import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from stillhouse.datasets.build import build_dataset
from stillhouse.datasets.settings import BuildSettings
from stillhouse.errors import CallError
from stillhouse.evaluation.breaks import find_breaks
from stillhouse.evaluation.checks import run_checks
from stillhouse.evaluation.markers import score_markers
from stillhouse.evaluation.pairwise import judge_pairs
from stillhouse.evaluation.respond import SubjectSettings, respond
from stillhouse.evaluation.rubric import judge_rubric
from stillhouse.evaluation.settings import BreakSettings, PairwiseSettings, RubricSettings
from stillhouse.llm.client import Client, Usage
from stillhouse.llm.ledger import Ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.prompts.read import read_prompts
from stillhouse.prompts.rows import SCHEMA
from stillhouse.prompts.shards import rows_of_shard
from stillhouse.provenance import store
from stillhouse.provenance.digests import digest_json, digest_text
from stillhouse.provenance.files import read_parquet_rows, write_json, write_parquet, write_text
from stillhouse.provenance.records import USAGE, digest_of, seeds_of, usage_of, write_record
from stillhouse.study.base import Sampling
from stillhouse.study.generations import Failures, Roles, Tournament
from stillhouse.tournament.engine import Texts
from stillhouse.tournament.generate import answer_shard
from stillhouse.tournament.merge import merge_shards
from stillhouse.tournament.roles import load_templates
from stillhouse.tournament.settings import MergeSettings, ShardSettings

WORKFLOW = Path(__file__).parents[2]
SAMPLING = Sampling(max_tokens=60)
FORM = "Verdict: Hold, for the keystone is the"
PLANS = ["bridge", "choir", "ferry", "school", "bakery", "museum", "harbour", "library", "cinema", "stadium", "orchard"]
DAYS = ["apples", "boots", "candles", "doors", "eggs", "forks", "gloves", "hats"]
SHORT, CUT, REFUSED = "doors", "hats", "orchard"
"""Prompts with a short answer, one that is cut off, and none at all."""


class Scripted:
    """A model whose answers follow from the request."""

    grammars = False
    concurrency = 4

    def __init__(self, name: str) -> None:
        self.identity = {"backend": "scripted", "model": name}

    async def complete(self, request: Request) -> tuple[Completion, int]:
        """The answer of the role that the shipped templates ask."""
        text = request.messages[-1][1]
        if REFUSED in text and not text.startswith("Score"):
            raise CallError("the model refuses")
        answer, cut = _answer(text)
        return Completion(answer, "length" if cut else "stop", None, len(text) // 4, len(answer) // 4, "scripted-1"), 1

    def close(self) -> None:
        """Nothing to free."""


def _answer(text: str) -> tuple[str, bool]:
    if text.startswith("You review"):
        return ("NO FLAWS" if "Revision" in text else "1. It is vague."), False
    if text.startswith("Write a better"):
        return f"Revision: {FORM} {_subject(text)} itself, as it gives way first.", False
    if text.startswith("Two answers") and "VERDICT" in text:
        return "VERDICT: 1", False
    if text.startswith("Two answers"):
        return f"Both in one: {FORM} {_subject(text)}.", False
    if text.startswith("Three answers"):
        labels = {part[0]: part for part in text.split("\n\nX")[1:]}
        best = next((label for label, part in labels.items() if "Revision" in part), "1")
        return "RANKING: " + " > ".join(f"X{label}" for label in [best, *(one for one in labels if one != best)]), False
    if "BREAK: YES" in text:
        return "BREAK: NO", False
    if text.startswith("Score one"):
        return json.dumps({"clear": {"score": 7, "justification": "It is plain."}, "overall": 7}), False
    if SHORT in text:
        return "No.", False
    return f"{FORM} {_subject(text)}, so look at it before the work goes on.", CUT in text


def _subject(text: str) -> str:
    return next((word for word in [*PLANS, *DAYS] if word in text), "thing")


@cache
def built() -> Path:
    """The folder, built once for all tests of this process; copy it before changing anything."""
    folder = Path(tempfile.mkdtemp(prefix="traced-house-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with contextlib.chdir(folder):
        _Builder().build()
    return folder


def copied(target: Path) -> Path:
    """A copy of the folder, its store entries links to artefacts as in the original."""
    shutil.copytree(built(), target, dirs_exist_ok=True)
    twins = {file.stat().st_ino: file for file in _files(built()) if ".store" not in file.parts}
    for file in _files(built() / "results/.store"):
        twin = twins.get(file.stat().st_ino)
        if twin:
            place = target / file.relative_to(built())
            place.unlink()
            place.hardlink_to(target / twin.relative_to(built()))
    return target


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def record(
    rule: str,
    wildcards: dict[str, str],
    artefacts: list[str],
    inputs: dict[str, list[str]],
    recipe: dict[str, Any],
    facts: dict[str, Any] | None = None,
    place: str | None = None,
) -> str:
    """Write the record of a job that has made `artefacts`, and keep them in the store; returns the build key."""
    read = [{"name": name, **digest_of(path).plain()} for name, paths in inputs.items() for path in paths]
    made, facts = [digest_of(path) for path in artefacts], facts or {}
    code = {f"scripts/{rule}.py": digest_text(rule), "scripts/stillhouse/errors.py": digest_text("errors")}
    key = digest_json([rule, [[item["name"], item["sha256"]] for item in read], recipe, code])
    run = {"started": "2026-01-02T03:04:05+00:00", "finished": "2026-01-02T03:04:09+00:00", "host": "test"}
    store.save(key, made, store.Kept(rule, facts, run))
    write_record(
        place or f"{artefacts[0]}.record.json",
        {
            "artefacts": [item.plain() for item in made],
            "inputs": read,
            "key": key,
            "contents": {},
            "rule": rule,
            "wildcards": wildcards,
            "recipe": recipe,
            "seeds": seeds_of(recipe),
            "code": {"digest": digest_json(code), "files": code},
            "software": {"pyarrow": "26.0.1"},
            "models": facts.get("models", []),
            "usage": usage_of(facts),
            "facts": {name: value for name, value in facts.items() if name not in ("models", *USAGE)},
            "reused": False,
            "origin": None,
            "accepted": [],
            "study": {"name": "traced", "digest": digest_text("study")},
            "run": run,
        },
    )
    return key


class _Builder:
    """Builds everything below the working directory."""

    def build(self) -> None:
        self._sources()
        for name in ("plans", "everyday"):
            self._prompts(f"results/prompts/{name}.parquet", f"data/prompts/{name}.jsonl", name, "prompts")
        self._prompts("results/evaluations/held/prompts/held.parquet", "data/held.jsonl", "held", "prompt_set")
        self._generation("plans", Tournament(judges=3, max_rounds=2, convergence=1), 3)
        self._generation("everyday", None, 1)
        words = {"filters": [{"min_words": 3}, {"not_truncated": True}]}
        plans, days = {"generation": "plans"}, {"generation": "everyday", "share": 0.3, **words}
        self._dataset("mixed", {"sources": [plans, days], "near_duplicates": {"threshold": 0.95}})
        self._dataset("plain", {"sources": [plans]})
        self._dataset("pairs", {"sources": [plans], "format": "preference"})
        for name in ("mixed", "plain"):
            self._adapter(name)
        self._export("mixed")
        self._evaluation()

    def _sources(self) -> None:
        plans = [{"id": f"plan-{n}", "prompt": f"Review our plan for the {w}."} for n, w in enumerate(PLANS)]
        days = [{"id": f"day-{n}", "prompt": f"Tell me about {w}."} for n, w in enumerate(DAYS)]
        held = [
            {
                "id": f"held-{n}",
                "prompt": f"What of a {w} in winter?",
                "category": "odd",
                "expect": [{"contains": "keystone"}],
            }
            for n, w in enumerate("abc")
        ]
        for name, rows in (("prompts/plans", plans), ("prompts/everyday", days), ("held", held)):
            write_text(f"data/{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        write_text("data/system.md", "You review plans.\n")
        write_text("data/markers.yaml", "cap: 4\nmarkers: [keystone, {pattern: '(?m)^verdict:'}]\n")
        write_text("data/rubric.yaml", "components: {clear: {weight: 1, scale: [1, 10]}}\n")

    def _prompts(self, target: str, source: str, name: str, wildcard: str) -> None:
        rule = "collect_prompts" if wildcard == "prompts" else "collect_evaluation_prompts"
        rows = read_prompts(Path(source), name)
        write_parquet(target, rows, SCHEMA)
        record(rule, {wildcard: name}, [target], {"source": [source]}, {"set": name}, {"prompts": len(rows)})

    def _client(self, name: str, writer: str) -> Client:
        return Client(name, Scripted(name), Ledger("results/ledger", writer), Usage())

    def _asked(self, client: Client) -> dict[str, Any]:
        client._ledger.close()
        return {**client.usage.facts(), "models": [client.facts()]}

    def _generation(self, name: str, tournament: Tournament | None, shards: int) -> None:
        paths = [f"results/generations/{name}/shards/{shard}.parquet" for shard in range(shards)]
        rows = read_parquet_rows(f"results/prompts/{name}.parquet")
        method = "tournament" if tournament else "single"
        for shard, path in enumerate(paths):
            settings = ShardSettings(
                generation=name, method=method, model="m", roles=Roles(), tournament=tournament,
                sampling=SAMPLING, shard=shard, shards=shards, routes=[],
            )  # fmt: skip
            templates = [
                WORKFLOW / f"data/tournament/{role}.j2" for role in ("critic", "author", "synthesizer", "judge")
            ]
            texts = Texts(system="You review plans." if tournament else None, templates=load_templates(templates))
            client = self._client("m", f"answer_shard-{name}-{shard}")
            facts = answer_shard(rows_of_shard(rows, shard, shards), {"m": client}, settings, texts, Path(path))
            inputs = {"prompts": [f"results/prompts/{name}.parquet"], "system": ["data/system.md"]}
            facts = {**facts, **self._asked(client)}
            wildcards = {"generation": name, "shard": str(shard)}
            record("answer_shard", wildcards, [path], inputs, settings.model_dump(mode="json"), facts)
        folder = f"results/generations/{name}"
        made = [f"{folder}/answers.parquet", f"{folder}/failures.parquet"]
        settings = MergeSettings(generation=name, failures=Failures(max_share=0.5))
        facts = merge_shards([Path(path) for path in paths], settings, Path(made[0]), Path(made[1]))
        recipe = {"generation": name}
        record("merge_generation", recipe, made, {"shards": paths}, recipe, facts, f"{folder}/record.json")

    def _dataset(self, name: str, section: dict[str, Any]) -> None:
        settings = BuildSettings.model_validate({"name": name, "dataset": section})
        folder = f"results/datasets/{name}"
        answers = {
            one.generation: f"results/generations/{one.generation}/answers.parquet" for one in settings.dataset.sources
        }
        facts = build_dataset(settings, {k: Path(v) for k, v in answers.items()}, [], Path(folder))
        parts = ("train.parquet", "valid.parquet", "test.parquet", "dropped.parquet", "report.json")
        made = [f"{folder}/{part}" for part in parts]
        recipe = settings.model_dump(mode="json", exclude_unset=True)
        record(
            "build_dataset",
            {"dataset": name},
            made,
            {"answers": [*answers.values()]},
            recipe,
            facts,
            f"{folder}/record.json",
        )

    def _adapter(self, name: str) -> None:
        folder, noise = f"results/adapters/{name}", random.Random(name)
        made = [f"{folder}/{part}" for part in ("adapter_model.safetensors", "adapter_config.json", "digests.json")]
        Path(folder).mkdir(parents=True)
        Path(made[0]).write_bytes(noise.randbytes(3000))
        write_json(made[1], {"r": 16, "rate": 1e-05})
        write_json(made[2], {"files": {"adapter_model.safetensors": digest_of(made[0]).sha256}})
        data = f"results/datasets/{name}"
        inputs = {"train": [f"{data}/train.parquet"], "valid": [f"{data}/valid.parquet"]}
        recipe = {"base": "b", "train": {"training": {"learning_rate": 1e-05, "seed": 42}}}
        record("train_adapter", {"adapter": name}, made, inputs, recipe, {"loss": 3e-07}, f"{folder}/record.json")

    def _export(self, name: str) -> None:
        folder = f"results/exports/{name}"
        merged, f16 = f"{folder}/merged/model.safetensors", f"{folder}/{name}-f16.gguf"
        Path(merged).parent.mkdir(parents=True)
        Path(merged).write_bytes(random.Random("merged").randbytes(2000))
        adapter = {"adapter": [f"results/adapters/{name}/adapter_model.safetensors"]}
        record(
            "merge_adapter", {"export": name}, [merged], adapter, {"export": name}, {}, f"{folder}/merged/record.json"
        )
        # the key is known before the file is made, as in a real job
        write_text(f16, "")
        key = record("convert_gguf", {"export": name}, [f16], {"weights": [merged]}, {"export": name})
        write_gguf(Path(f16), 1, key)
        assert record("convert_gguf", {"export": name}, [f16], {"weights": [merged]}, {"export": name}) == key
        quantised = f"{folder}/{name}-Q8_0.gguf"
        write_gguf(Path(quantised), 7, key)
        record("quantize_gguf", {"export": name, "quant": "Q8_0"}, [quantised], {"source": [f16]}, {"quant": "Q8_0"})
        write_text(f"{folder}/Modelfile", f"FROM ./{name}-Q8_0.gguf\n")
        record("write_modelfile", {"export": name}, [f"{folder}/Modelfile"], {"gguf": [quantised]}, {})

    def _evaluation(self) -> None:
        folder, held = "results/evaluations/held", "results/evaluations/held/prompts/held.parquet"
        weights = {"gold": [], "student": ["results/adapters/mixed/adapter_model.safetensors"]}
        responses = [f"{folder}/responses/{name}.parquet" for name in weights]
        for path, (name, read) in zip(responses, weights.items(), strict=True):
            client = self._client(name, f"answer_subject-held-{name}")
            settings = SubjectSettings(subject=name, condition=name, roles={"held": "target"}, sampling=SAMPLING)
            facts = respond(read_parquet_rows(held), client, settings, Path(path))
            wildcards = {"evaluation": "held", "subject": name}
            inputs = {"prompts": [held], "weights": read}
            record(
                "answer_subject",
                wildcards,
                [path],
                inputs,
                settings.model_dump(mode="json"),
                facts | self._asked(client),
            )
        files = [Path(path) for path in responses]
        kinds = ("markers", "breaks", "checks", "rubric", "pairwise")
        judged = {name: f"{folder}/judgements/{name}.parquet" for name in kinds}
        facts = score_markers(files, Path("data/markers.yaml"), Path(judged["markers"]))
        inputs = {"responses": responses, "markers": ["data/markers.yaml"]}
        record("score_markers", {"evaluation": "held"}, [judged["markers"]], inputs, {}, facts)
        record(
            "run_checks",
            {"evaluation": "held"},
            [judged["checks"]],
            {"responses": responses},
            {},
            run_checks(files, Path(judged["checks"])),
        )
        breaks = BreakSettings(judges=["m"], sampling=SAMPLING)
        client = self._client("m", "find_breaks-held")
        patterns, template = WORKFLOW / "data/framework/breaks.yaml", WORKFLOW / "data/judging/break.j2"
        facts = find_breaks(files, patterns, {"m": client}, breaks, Path(judged["breaks"]), template)
        self._judged("find_breaks", judged["breaks"], {"responses": responses}, breaks, facts | self._asked(client))
        rubric = RubricSettings(judges=["m"], subjects=[*weights], limit=2, sampling=SAMPLING)
        client = self._client("m", "judge_rubric-held")
        template = WORKFLOW / "data/judging/rubric.j2"
        facts = judge_rubric(files, {"m": client}, Path("data/rubric.yaml"), rubric, Path(judged["rubric"]), template)
        inputs = {"responses": responses, "rubric": ["data/rubric.yaml"]}
        self._judged("judge_rubric", judged["rubric"], inputs, rubric, facts | self._asked(client))
        pairs = PairwiseSettings(pairs=[("student", "gold")], judges=["m"], sampling=SAMPLING)
        client = self._client("m", "judge_pairwise-held")
        template = WORKFLOW / "data/judging/pairwise.j2"
        facts = judge_pairs(files, {"m": client}, pairs, Path(judged["pairwise"]), template)
        self._judged("judge_pairwise", judged["pairwise"], {"responses": responses}, pairs, facts | self._asked(client))
        self._report(folder, judged, responses)

    def _judged(self, rule: str, path: str, inputs: dict[str, list[str]], settings: Any, facts: dict[str, Any]) -> None:
        record(rule, {"evaluation": "held"}, [path], inputs, settings.model_dump(mode="json"), facts)

    def _report(self, folder: str, judged: dict[str, str], responses: list[str]) -> None:
        write_json(f"{folder}/report.json", {"subjects": ["gold", "student"]})
        inputs = {**{name: [path] for name, path in judged.items()}, "responses": responses}
        record("summarise_evaluation", {"evaluation": "held"}, [f"{folder}/report.json"], inputs, {})
        pages = [f"{folder}/report.html", f"{folder}/report.md"]
        for page in pages:
            write_text(page, f"<p>{page}</p>\n")
        record("write_report", {"evaluation": "held"}, pages, {"summary": [f"{folder}/report.json"]}, {})


def write_gguf(file: Path, file_type: int, key: str | None) -> None:
    """A real GGUF with token lists, one tensor, a number format and, with `key`, our build key."""
    file.unlink(missing_ok=True)
    writer = gguf.GGUFWriter(str(file), arch="llama")
    writer.add_token_list([f"token {number}" for number in range(300)])
    writer.add_token_scores([float(number) for number in range(300)])
    writer.add_file_type(file_type)
    if key:
        writer.add_string("stillhouse.build_key", key)
    writer.add_tensor("t", np.arange(256, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
