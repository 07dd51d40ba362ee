"""What can be told of the calls behind a row: who made them, in which role, and what they took."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from stillhouse.errors import LedgerError
from stillhouse.provenance.calls import CallIndex, Found
from stillhouse.provenance.ledger_calls import writer_of
from stillhouse.provenance.lineage import Node

Facts = dict[str, Any]


class CallBook:
    """Describes calls; `index` is None where there is no ledger."""

    def __init__(self, index: CallIndex | None) -> None:
        self._index = index

    def describe(self, digests: Iterable[str], node: Node, role: str | None = None) -> list[Facts]:
        """Facts of each call, as the job `node` used it, all in one role."""
        return [_facts(digest, self._found(digest), node, role) for digest in digests]

    def describe_answer(self, row: Facts, rounds: list[Facts], turns: list[Facts], node: Node) -> list[Facts]:
        """Facts of the calls of a row of answers, each with its role in the rounds of a tournament or turns of a dialogue."""
        found = {digest: self._found(digest) for digest in row["calls"] or ()}
        if turns:
            spoken = {digest: f"{one['speaker']}, turn {one['turn']}" for one in turns for digest in one["calls"]}
            roles = [spoken.get(digest) for digest in found]
        else:
            roles = tournament_roles(list(found), rounds, {digest: _attempt(one) for digest, one in found.items()})
        return [_facts(digest, one, node, role) for (digest, one), role in zip(found.items(), roles, strict=True)]

    def _found(self, digest: str) -> Found | LedgerError | None:
        try:
            return None if self._index is None else self._index.get(digest)
        except LedgerError as error:
            return error


def _attempt(found: Found | LedgerError | None) -> int | None:
    """Which attempt of its role a call was, from 0; None where the ledger does not tell."""
    return found.call["request"].get("index") if isinstance(found, Found) else None


def tournament_roles(digests: list[str], rounds: list[Facts], attempts: dict[str, int | None]) -> list[str | None]:
    """Role of each call of an answer, in the order in which the tournament made them.

    Votes are named by the transcript. The others follow the method: teacher, then critic, author and
    synthesizer of each round, where a second attempt (`attempts` 1 and more) keeps its role. None where that
    cannot be told: a call's attempt is not known, and the number of calls shows that there were second ones.
    """
    votes = {vote["call"]: f"judge {vote['judge']}, round {one['round']}" for one in rounds for vote in one["votes"]}
    steps = list(_steps(rounds))
    alone = sum(digest not in votes for digest in digests) == len(steps)
    roles: list[str | None] = []
    place, certain = -1, True
    for digest in digests:
        if digest in votes:
            roles.append(votes[digest])
            continue
        attempt = 0 if alone else attempts.get(digest)
        certain = certain and attempt is not None
        place += not attempt
        roles.append(steps[place] if certain and 0 <= place < len(steps) else None)
    return roles


def _steps(rounds: list[Facts]) -> Iterator[str]:
    yield "teacher"
    for one in rounds:
        yield f"critic, round {one['round']}"
        if not one["no_flaws"]:
            yield f"author, round {one['round']}"
            yield f"synthesizer, round {one['round']}"


def _facts(digest: str, found: Found | LedgerError | None, node: Node, role: str | None) -> Facts:
    if not isinstance(found, Found):
        return {"digest": digest, "role": role, "fault": str(found) if found else "not in the ledger"}
    call = found.call
    return {
        "digest": digest,
        "role": role,
        "model": call.get("name"),
        "served_model": call.get("served_model"),
        "finish_reason": call["answer"].get("finish_reason"),
        **{name: call["usage"].get(name) for name in ("prompt_tokens", "completion_tokens")},
        "usd": call.get("usd"),
        "at": call.get("at"),
        "made_by": writer_of(found.file),
        "reused": was_reused(call.get("at"), node),
    }


def was_reused(at: str | None, node: Node) -> bool | None:
    """Whether a call of the time `at` was in the ledger before the job that used it began; None when unknown."""
    run = node.record.get("origin") or node.record.get("run") or {}
    try:
        return datetime.fromisoformat(at) < datetime.fromisoformat(run["started"])
    except (KeyError, TypeError, ValueError):
        return None
