"""What came of something (impact.py) and why two artefacts differ (differences.py), for people."""

import json
from typing import Any

from rich.tree import Tree

from stillhouse.provenance.changes import ABSENT
from stillhouse.provenance.differences import Difference, Step
from stillhouse.provenance.impact import MADE_FROM, ROWS, WITHOUT, Reached
from stillhouse.provenance.lineage import Node
from stillhouse.provenance.show_text import line, short

ALIKE = 12
FILES = 3
"""Files made from it that are named for one job; the others are counted."""
VALUE = 300


def impact_tree(title: str, reached: list[Reached]) -> Tree:
    """Files by the job that made them, in the order of the work."""
    holding = [one for one in reached if one.how != WITHOUT and one.rows != 0]
    rows = sum(one.rows or 0 for one in holding)
    jobs: dict[Node, list[Reached]] = {}
    for one in reached:
        jobs.setdefault(one.node, []).append(one)
    made = sum(one.how == MADE_FROM for one in holding)
    told = f": {rows} rows in {len(holding) - made} files, and {made} files made from it"
    tree = Tree(line((title, "bold"), told))
    shown: dict[str, int] = {}
    for node, files in jobs.items():
        shown[node.rule] = shown.get(node.rule, 0) + 1
        if shown[node.rule] <= ALIKE:
            _job(tree, node, files)
    for rule, count in shown.items():
        if count > ALIKE:
            tree.add(line(f"… and {count - ALIKE} more {rule} jobs (--json lists all)"))
    return tree


def _job(tree: Tree, node: Node, files: list[Reached]) -> None:
    absent = [one for one in files if one.how == WITHOUT]
    if absent:
        _absence(tree, node, absent[0])
        return
    branch = tree.add(line(f"{node.job}{_through(files)}"))
    made = [one for one in files if one.how == MADE_FROM]
    for one in files:
        if one.how == ROWS and one.rows:
            branch.add(line((one.path, "bold"), f"  {one.rows} of {one.of} rows"))
    for one in made[:FILES]:
        branch.add(line((one.path, "bold"), "  made from it", f"; {'; '.join(one.why)}" if one.why else ""))
    if len(made) > FILES:
        branch.add(f"and {len(made) - FILES} more files made from it")


def _through(files: list[Reached]) -> str:
    names = dict.fromkeys(name for one in files for name in one.through)
    return f"  (read it as {', '.join(names)})" if names else ""


def _absence(tree: Tree, node: Node, one: Reached) -> None:
    why = f"; dropped by {'one of ' if len(one.why) > 1 else ''}{'; '.join(one.why)}" if one.why else ""
    tree.add(line(f"{node.job}: read it as {', '.join(one.through)}, holds none of it{why}"))


def difference_tree(facts: dict[str, Any], steps: list[Step]) -> Tree:
    """Why A and B differ: each step of the way to the first causes, then the rows of their datasets."""
    sides, rows = {letter: facts[letter.lower()] for letter in "AB"}, facts["rows"]
    tree = Tree(line((f"A {sides['A']['artefact']}", "bold"), "  and  ", (f"B {sides['B']['artefact']}", "bold")))
    for letter, one in sides.items():
        tree.add(line(f"{letter}: {one['job']}  key {one['key']}  sha256 {one['sha256']}"))
    if facts["same_key"]:
        others = ", and other bytes" if sides["A"]["job"] != sides["B"]["job"] else "; they are two files of one job"
        tree.add(f"the same build key{', and the same bytes' if facts['same_bytes'] else others}")
    if facts["behind"]:
        tree.add(f"{facts['behind'].upper()} is among what the other was made of")
    for step in steps:
        _step(tree, step)
    if rows:
        _rows(tree, rows)
    return tree


def _step(tree: Tree, step: Step) -> None:
    way = f"through input {' / '.join(step.through)}: " if step.through else ""
    branch = tree.add(line(f"{way}{step.a.job}  |  {step.b.job}"))
    for one in step.differences:
        branch.add(line(_difference(one)))
    for name in step.upstream:
        branch.add(line(f"input {name} differs because of a step further up"))
    if not step.differences and not step.upstream:
        branch.add("no difference in recipe, code, software or inputs")


_WORDS = {
    "rule": "they are made by different rules, which cannot be compared: {a} | {b}",
    "source": "source file {key} differs: sha256 {a} | {b}",
    "outdated": "{key} was made anew between the two: A read sha256 {a}, B read {b}",
    "bytes": "{key} have one build key and other bytes, sha256 {a} | {b}: that job does not repeat itself",
}


def _difference(one: Difference) -> str:
    if one.aspect in _WORDS:
        return _WORDS[one.aspect].format(key=one.key, a=one.a, b=one.b)
    if one.aspect == "input":
        return f"input {one.key}: only {'A' if one.b is ABSENT else 'B'} reads it"
    if one.aspect == "code":
        sides = ["(absent)" if side is ABSENT else side[:12] for side in (one.a, one.b)]
        return f"code {one.key}: {sides[0]} | {sides[1]}"
    return f"{one.aspect} {one.key}: {_value(one.a)} | {_value(one.b)}"


def _value(value: object) -> str:
    return "(absent)" if value is ABSENT else short(json.dumps(value, ensure_ascii=False), VALUE)


def _rows(tree: Tree, rows: dict[str, Any]) -> None:
    names = rows["datasets"]
    if rows["same"]:
        tree.add(line(f"rows: both come from {', '.join(names['a'])}"))
        return
    branch = tree.add(
        line(
            f"rows: A {rows['a']} ({', '.join(names['a'])}), B {rows['b']} ({', '.join(names['b'])}), "
            f"{rows['common']} in both"
        )
    )
    for letter, name in (("A", "only_a"), ("B", "only_b")):
        alone = rows[name]
        counts = ", ".join(f"{count} of {generation}" for generation, count in alone["by_generation"].items())
        leaf = branch.add(line(f"only in {letter}: {alone['rows']} rows{': ' + counts if counts else ''}"))
        for row in alone["some"]:
            leaf.add(line(f"{row['prompt_id']}  id {row['id']} of set {row['set']}, split {row['split']}"))
        if alone["rows"] > len(alone["some"]):
            leaf.add(f"… and {alone['rows'] - len(alone['some'])} more")
    branch.add(f"in another split: {rows['other_split']}")
    other = "not compared, too many rows" if rows["other_text"] is None else f"{rows['other_text']}"
    branch.add(f"same prompt and generation, another text: {other}")
