"""Words of a pairwise verdict: what judges call the choice and their reason, and so no axis may be called."""

KEYS = (
    "verdict", "final_verdict", "overall", "overall_verdict", "winner", "overall_winner", "choice", "final_choice", "pick",
    "selected", "decision", "final_decision", "judgement", "judgment", "preference", "preferred", "preferred_answer",
    "preferred_response", "better", "better_answer", "better_response", "best", "answer", "final_answer",
)  # fmt: skip
WHY = ("rationale", "reason", "reasons", "reasoning", "explanation", "justification", "why")


def normal(name: str) -> str:
    """A name without what judges change in it: case, spaces, hyphens."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def check_axes(names: list[str]) -> list[str]:
    """The names; raises `ValueError` for one that a reader of replies would take for the verdict, or for another."""
    taken = [name for name in names if normal(name) in (*KEYS, *WHY)]
    if taken or len({normal(name) for name in names}) < len(names):
        found = repr(taken[0]) if taken else ", ".join(names)
        raise ValueError(f"expected names that differ and are no word of a verdict; found {found}")
    return names
