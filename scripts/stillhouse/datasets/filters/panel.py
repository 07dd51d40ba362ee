"""Filters by how an answer came about: cut off, converged, and what the tournament's panel said of it."""

import json
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from stillhouse.datasets.filters.base import Answer, Columns, Mask, written
from stillhouse.datasets.filters.patterns import as_mask
from stillhouse.errors import InputError

_ROUNDING = 1e-9


@dataclass(frozen=True)
class NotTruncated:
    """Keeps answers that ended by themselves."""

    reason = "not_truncated"
    label = "not_truncated: true"
    columns = ("truncated",)

    def keep(self, row: Answer) -> bool:
        return not row["truncated"]

    def mask(self, batch: Columns) -> Mask:
        return ~as_mask(pc.fill_null(batch.column("truncated"), False))


@dataclass(frozen=True)
class Converged:
    """Keeps answers whose tournament converged; a single pass has none, so its answers stay."""

    reason = "converged"
    label = "converged: true"
    columns = ("converged",)

    def keep(self, row: Answer) -> bool:
        return row["converged"] is not False

    def mask(self, batch: Columns) -> Mask:
        return as_mask(pc.fill_null(batch.column("converged"), True))


@dataclass(frozen=True)
class Verdict:
    """How clearly a panel chose: Borda points before the runner-up (None: there is none), share of votes for it."""

    margin: int | None
    agreement: float


@dataclass(frozen=True)
class MinMargin:
    """Keeps answers that won by at least `points` Borda points (de Borda 1781) over the runner-up.

    It goes by the last round in which a panel voted: rounds without a vote leave the answer as it is. A
    candidate with the winner's own text is no runner-up. Answers that no panel voted on stay.
    """

    points: int
    reason = "min_margin"
    columns = ("prompt_id", "transcript")

    @property
    def label(self) -> str:
        return f"min_margin: {self.points}"

    def keep(self, row: Answer) -> bool:
        verdict = verdict_of(row)
        return verdict is None or verdict.margin is None or verdict.margin >= self.points


@dataclass(frozen=True)
class JudgeAgreement:
    """Keeps answers that at least `share` of the votes put first, in the last round in which a panel voted.

    A vote that could not be read put nothing first. Answers that no panel voted on stay.
    """

    share: float
    reason = "judge_agreement"
    columns = ("prompt_id", "transcript")

    @property
    def label(self) -> str:
        return f"judge_agreement: {written(self.share)}"

    def keep(self, row: Answer) -> bool:
        verdict = verdict_of(row)
        return verdict is None or verdict.agreement + _ROUNDING >= self.share


def verdict_of(row: Answer) -> Verdict | None:
    """What the last panel said of the row's answer; None where no panel voted. Raises `InputError` as `last_vote`."""
    judged = last_vote(row)
    if judged is None:
        return None
    try:
        texts, points, votes = judged["candidates"], judged["borda"], judged["votes"]
        own = texts[judged["winner"]]
        others = [int(points.get(name, 0)) for name, text in texts.items() if text != own]
        margin = int(points.get(judged["winner"], 0)) - max(others) if others else None
        first = sum(bool(vote["ranking"]) and texts[vote["ranking"][0]] == own for vote in votes)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise _none_of_a_tournament(row, error) from None
    return Verdict(margin, first / len(votes))


def last_vote(row: Answer) -> dict[str, Any] | None:
    """The last round of the row's transcript in which votes were cast; None where there is none.

    Raises `InputError` naming the prompt where the transcript is none of a tournament.
    """
    try:
        voted = [one for one in json.loads(row["transcript"] or "{}").get("rounds", []) if one["votes"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _none_of_a_tournament(row, error) from None
    return voted[-1] if voted else None


def _none_of_a_tournament(row: Answer, error: Exception) -> InputError:
    return InputError(f"prompt {row.get('prompt_id')}: `transcript` is none of a tournament: {error!r}")
