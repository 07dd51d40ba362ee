"""Whether a report may be read at all: too many verdicts without a score make it invalid."""

from collections import defaultdict

from stillhouse.evaluation.figures import percent
from stillhouse.evaluation.summary_evidence import Evidence
from stillhouse.study.gates import Rules

KINDS = {"rubric": "rubric verdicts", "pairwise": "comparisons", "breaks": "verdicts on character breaks"}


def invalid_reasons(evidence: Evidence, rules: Rules) -> list[str]:
    """A sentence for every judge whose share of unscored verdicts of one kind is above `rules.max_unscored`.

    Recorded verdicts are left out: nobody can ask for them again, so the headline warns of them and the run goes on.
    """
    unscored: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in (row for row in evidence.rubric if row["source"] == "live"):
        unscored[row["judge"], "rubric"].append(row["status"] != "scored")
    for row in (row for row in evidence.pairwise if row["source"] == "live"):
        unscored[row["judge"], "pairwise"].append(row["verdict"] is None)
    for row in evidence.breaks:
        if row["judge"] is not None:
            unscored[row["judge"], "breaks"].append(row["broken"] is None)
    return [
        f"Judge {judge}: {percent(sum(found) / len(found))} of its {len(found)} {KINDS[kind]} are unscored, "
        f"and the limit is {percent(rules.max_unscored)}."
        for (judge, kind), found in sorted(unscored.items())
        if sum(found) > rules.max_unscored * len(found)
    ]
