"""One row traced back: its prompt, answer, rounds, votes, calls, filters, split, and what evaluations made of it."""

import json
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.provenance.call_facts import CallBook
from stillhouse.provenance.dataset_facts import dataset_facts
from stillhouse.provenance.lineage import Node
from stillhouse.provenance.tables import DATASETS, Table, Tables, is_shard, may_hold

Facts = dict[str, Any]

WHO = ("set", "id", "category", "difficulty")
ROUND = {"round", "critique", "no_flaws", "votes", "borda", "winner"}
VOTE = {"judge", "model", "labels", "ranking", "raw", "call"}
TURN = {"turn", "speaker", "calls"}
"""What a transcript tells of each round and vote, and of each turn of a dialogue."""
SUBJECTS = ("subject", "first", "second")
JUDGEMENTS = ("markers", "breaks", "checks", "rubric", "pairwise")
SHOWN_CANDIDATES = 12


def find_prompt(tables: Tables, name: str, within: Table | None = None) -> str:
    """The prompt id that `name` means: a prompt id, the `id` of a prompt in the user's file, or a unique beginning.

    Only rows of `within` count where it is given. Raises `RecordError` when nothing or more than one fits.
    """
    for group in [[within]] if within else [tables.prompts(), tables.all()]:
        for look in (_same, Table.named, Table.beginning_with):
            found = {one: table for table in group for one in tables.tried(lambda t=table, f=look: f(t, name), [])}
            if len(found) == 1:
                return next(iter(found))
            if found:
                raise RecordError(_ambiguous(tables, name, found))
    where = f"{within.path} holds no row of" if within else "no prompt below results/ has the id or prompt id"
    raise RecordError(f"{where} {name!r}{_elsewhere(tables, name) if within else ''}")


def _same(table: Table, name: str) -> list[str]:
    return [name] if table.count(name) else []


def _ambiguous(tables: Tables, name: str, found: dict[str, Table]) -> str:
    shown = []
    for prompt_id, table in list(found.items())[:SHOWN_CANDIDATES]:
        row = next(iter(tables.rows_of(table, prompt_id)), {})
        shown.append(f"{prompt_id} (id {row.get('id')} of {table.path})")
    more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    return f"{name!r} may mean {len(found)} prompts: {', '.join(shown)}{more}; give the prompt id, or `--in FILE`"


def _elsewhere(tables: Tables, name: str) -> str:
    """Which artefacts hold what `--in` does not."""
    try:
        prompt_id = find_prompt(tables, name)
    except RecordError:
        return ""
    places = [table.path for table in tables.all() if tables.tried(lambda t=table: t.count(prompt_id), 0)]
    return f"; it stands in {', '.join(places[:SHOWN_CANDIDATES])} (`--row {name}` alone tells why)"


class RowStory:
    """Everything that results/ tell of one prompt, or of its rows in one artefact (`within`)."""

    def __init__(self, tables: Tables, calls: CallBook, prompt_id: str, within: Table | None = None) -> None:
        self.tables, self.calls, self.prompt_id, self.within = tables, calls, prompt_id, within
        self.lineage = tables.lineage
        self._rows: dict[str, list[Facts]] = {}
        self._allowed: set[str] | None = None
        if within:
            behind = self.lineage.ancestry(within.node)
            self._allowed = {within.path} | {path for node in behind[1:] for path in node.artefacts}
            own = self.rows(within)
            self._generations = {row["generation"] for row in own if row.get("generation")}
            self._subjects = {row[name] for row in own for name in SUBJECTS if row.get(name)}

    def facts(self) -> Facts:
        """The story as plain JSON types."""
        answers, failures = self._answers(), self._failures()
        return {
            "prompt_id": self.prompt_id,
            "in": self.within.path if self.within else None,
            "prompts": [one for table in self._allowed_of(self.tables.prompts()) for one in self._prompts(table)],
            "answers": answers,
            "failures": failures,
            "datasets": self._datasets(answers),
            "responses": self._responses(),
        }

    def rows(self, table: Table) -> list[Facts]:
        """The prompt's rows in `table`, read once."""
        if table.path not in self._rows:
            self._rows[table.path] = self.tables.rows_of(table, self.prompt_id)
        return self._rows[table.path]

    def _some(self, *kinds: str) -> list[Table]:
        return self._allowed_of(self.tables.all(*kinds))

    def _allowed_of(self, tables: list[Table]) -> list[Table]:
        return [one for one in tables if self._allowed is None or one.path in self._allowed]

    def _wanted(self, generation: str) -> bool:
        return not self.within or not self._generations or generation in self._generations

    def _prompts(self, table: Table) -> list[Facts]:
        sources = [{name: item[name] for name in ("path", "sha256")} for item in self.lineage.sources(table.node)]
        return [
            {**_place(table, row), **_who(row), "prompt": row["prompt"], "sources": sources} for row in self.rows(table)
        ]

    def _answers(self) -> list[Facts]:
        found = [
            self._answer(table, row)
            for table in self._some("answers")
            for row in self.rows(table)
            if self._wanted(row["generation"])
        ]
        merged = {one["generation"] for one in found}
        return found + [
            self._answer(table, row)
            for table in self._shards()
            for row in self.rows(table)
            if row["stage"] is None and row["generation"] not in merged and self._wanted(row["generation"])
        ]

    def _shards(self) -> list[Table]:
        nodes = [node for node in self.lineage.nodes if is_shard(node) and may_hold(node, self.prompt_id)]
        return self._allowed_of([table for node in nodes for table in self.tables.of(node)])

    def _answer(self, table: Table, row: Facts) -> Facts:
        rounds, turns = self._transcript(table, row)
        node = self._who_answered(table)
        texts = (
            "generation",
            "method",
            "sample",
            "answer",
            "draft",
            "reasoning",
            "truncated",
            "converged",
            "answer_call",
        )
        return {
            **_place(table, row),
            **_who(row),
            **{name: row.get(name) for name in texts},
            "answered_by": node.job,
            **_trained(node),
            "rounds": rounds,
            "calls": self.calls.describe_answer(row, rounds, turns, node),
            "scores": self._scores(table, row),
        }

    def _scores(self, table: Table, row: Facts) -> list[Facts]:
        """What models said of an answer's quality, with their calls."""
        found = [one for reader in self.lineage.readers(table.path) for one in self.tables.of(reader)]
        return [
            self._judgement(one, score)
            for one in found
            if one.kind == "quality"
            for score in self.rows(one)
            if score["set"] == row["set"] and score["sample"] == (row.get("sample") or 0)
        ]

    def _transcript(self, table: Table, row: Facts) -> tuple[list[Facts], list[Facts]]:
        """Rounds and turns of a transcript; one that is not as the generation writes it is told as damaged."""
        try:
            transcript = json.loads(row["transcript"])
            rounds, turns = transcript["rounds"], transcript.get("turns", [])
            sound = all(one.keys() >= ROUND and all(vote.keys() >= VOTE for vote in one["votes"]) for one in rounds)
            if sound and all(one.keys() >= TURN for one in turns):
                return rounds, turns
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        damage = f"{table.path} ({table.node.job}): the transcript of row {row['row']} cannot be read"
        self.tables.damaged.append(damage)
        return [], []

    def _who_answered(self, table: Table) -> Node:
        """The job that made the calls of a merged file: the shard that holds the prompt."""
        shards = [node for node in self.lineage.parents(table.node) if is_shard(node)]
        likely = [node for node in shards if may_hold(node, self.prompt_id)]
        for node in likely or shards:
            if any(self.rows(one) for one in self.tables.of(node)):
                return node
        return table.node

    def _failures(self) -> list[Facts]:
        return [
            {
                **_place(table, row),
                **_who(row),
                **{name: row[name] for name in ("generation", "stage", "reason", "attempts", "raw")},
                "calls": self.calls.describe(row["calls"] or (), self._who_answered(table)),
            }
            for table in self._some("failures")
            for row in self.rows(table)
            if self._wanted(row["generation"])
        ]

    def _datasets(self, answers: list[Facts]) -> list[Facts]:
        nodes = dict.fromkeys(table.node for table in self._some(*DATASETS))
        facts = [
            one for node in nodes for one in dataset_facts(self.tables, node, answers, *self._kept_and_dropped(node))
        ]
        if self.within and self.within.node in nodes:
            facts = [one for one in facts if any(row["file"] == self.within.path for row in one["rows"])]
        return facts

    def _kept_and_dropped(self, node: Node) -> tuple[dict[str, list[Facts]], list[Facts]]:
        """The prompt's rows in the splits of a dataset, by path, and those that it dropped."""
        found = {table: self.rows(table) for table in self.tables.of(node)}
        dropped = [row for table, rows in found.items() if table.kind == "dropped" for row in rows]
        return {table.path: rows for table, rows in found.items() if table.kind in DATASETS}, dropped

    def _responses(self) -> list[Facts]:
        return [
            self._response(table, row)
            for table in self._some("responses")
            for row in self.rows(table)
            if not self.within or row["subject"] in self._subjects
        ]

    def _response(self, table: Table, row: Facts) -> Facts:
        texts = ("subject", "condition", "role", "system", "sample", "answer", "finish_reason", "completion_tokens")
        judged = {kind: [] for kind in JUDGEMENTS}
        for reader in self.lineage.readers(table.path):
            for found in self.tables.of(reader):
                if found.kind in judged:
                    judged[found.kind] += [
                        self._judgement(found, one)
                        for one in self.rows(found)
                        if row["subject"] in (one.get(n) for n in SUBJECTS)
                        and all(row.get(n) == one.get(n) for n in ("set", "sample"))
                    ]
        return {
            **_place(table, row),
            **_who(row),
            **{name: row.get(name) for name in texts},
            "calls": self.calls.describe(row["calls"] or (), table.node, "subject"),
            **judged,
        }

    def _judgement(self, table: Table, row: Facts) -> Facts:
        facts = {name: value for name, value in row.items() if name not in (*WHO, "prompt_id", "row", "calls")}
        if "components" in facts:
            facts["components"] = _json(facts["components"], {})
        facts = {**_place(table, row), **facts}
        if "calls" in row:
            facts["calls"] = self.calls.describe(row["calls"] or (), table.node, "judge")
        return facts


def _place(table: Table, row: Facts) -> Facts:
    return {"file": table.path, "row": row["row"], "job": table.node.job}


def _who(row: Facts) -> Facts:
    return {name: row.get(name) for name in WHO}


def _json(text: str | None, otherwise: Any) -> Any:
    try:
        return json.loads(text or "")
    except ValueError:
        return otherwise


def _trained(node: Node) -> Facts:
    """The models of a job that the study trains: what they are, and the file that was trained; no key without any."""
    models = [one for one in node.record["recipe"].get("models", []) if isinstance(one, dict) and "serve" in one]
    told = [
        {
            "name": one["name"],
            "what": f"adapter {one['adapter']}" if "adapter" in one else f"export {one['export']}",
            "serve": one["serve"],
            "file": one["weights"][-1],
        }
        for one in models
    ]
    return {"trained": told} if told else {}
