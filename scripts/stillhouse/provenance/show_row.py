"""The story of a row (rows.py) as a tree for people."""

from typing import Any

from rich.tree import Tree

from stillhouse.provenance.show_text import line, number_of, short

Facts = dict[str, Any]

TEXT = 160
"""Characters of a text that are shown; `--json` gives it whole."""


def row_tree(facts: Facts) -> Tree:
    """Everything of a prompt or of its rows in one artefact; texts are cut, digests never."""
    tree = Tree(line((f"prompt {facts['prompt_id']}", "bold"), f" in {facts['in']}" if facts["in"] else ""))
    for one in facts["prompts"]:
        _prompt(tree, one)
    for one in facts["answers"]:
        _answer(tree, one)
    for one in facts["failures"]:
        branch = tree.add(line(("failed", "red"), f" at {one['stage']}: {_text(one['reason'])}  {_place(one)}"))
        _calls(branch, one["calls"])
    for one in facts["datasets"]:
        _dataset(tree, one)
    for one in facts["responses"]:
        _response(tree, one)
    return tree


def _place(one: Facts) -> str:
    return f"{one['file']} row {one['row']}"


def _text(text: object) -> str:
    return short(text, TEXT)


def _prompt(tree: Tree, one: Facts) -> None:
    known = [f"{name} {one[name]}" for name in ("set", "id", "category", "difficulty") if one[name] is not None]
    branch = tree.add(line(f"{', '.join(known)}  {_place(one)}"))
    branch.add(line(f"prompt: {_text(one['prompt'])}"))
    for source in one["sources"]:
        branch.add(line(f"from {source['path']}  sha256 {source['sha256'][:12]}  source file"))


def _answer(tree: Tree, one: Facts) -> None:
    how = [one["method"]]
    if one["rounds"]:
        how.append(number_of(len(one["rounds"]), "round"))
    if one["converged"] is not None:
        how.append("converged" if one["converged"] else "not converged")
    if one["truncated"]:
        how.append("cut off")
    whose = (
        f"of {one['generation']}, read from files"
        if one["method"] == "recorded"
        else f"of generation {one['generation']}"
    )
    branch = tree.add(line(f"answer {whose} ({', '.join(how)})  {_place(one)}, answered by {one['answered_by']}"))
    for model in one.get("trained", []):
        served = f"{model['what']}, served by {model['serve']}"
        branch.add(line(f"model {model['name']} is {served}  {model['file']}"))
    if one["rounds"]:
        branch.add(line(f"draft: {_text(one['draft'])}"))
    for number in one["rounds"]:
        _round(branch, number)
    branch.add(line(f"answer: {_text(one['answer'])}"))
    _calls(branch, one["calls"])
    for score in one["scores"]:
        why = (
            f"no score: {score['failure']}"
            if score["score"] is None
            else f"{score['score']:g}: {_text(score['reason'])}"
        )
        several = f" (median of {', '.join(map(_given, score['scores']))})" if len(score["scores"]) > 1 else ""
        leaf = branch.add(line(f"quality, judge {score['judge']}: {why}{several}  {_place(score)}"))
        _calls(leaf, score["calls"])


def _given(score: float | None) -> str:
    return "none" if score is None else f"{score:g}"


def _round(tree: Tree, one: Facts) -> None:
    points = ", ".join(f"{name} {one['borda'][name]}" for name in sorted(one["borda"]))
    told = f" (points: {points})" if points else " (the critic found no flaws)" if one["no_flaws"] else ""
    note = f"; {one['note']}" if one.get("note") else ""
    branch = tree.add(line(f"round {one['round']}: winner {one['winner']}{told}{note}"))
    branch.add(line(f"critique: {_text(one['critique'])}"))
    for vote in one["votes"]:
        labels = ", ".join(f"{label} = {vote['labels'][label]}" for label in sorted(vote["labels"]))
        order = " > ".join(vote["ranking"]) if vote["ranking"] else f"not readable: {_text(vote['raw'])}"
        branch.add(line(f"judge {vote['judge']} ({vote['model']}): {order}   shown as {labels}; call {vote['call']}"))


def _calls(tree: Tree, calls: list[Facts]) -> None:
    if not calls:
        tree.add("no calls")
        return
    branch = tree.add(number_of(len(calls), "call"))
    for call in calls:
        who = f"{call['role'] or 'role not known'}  {call['digest']}  "
        if "fault" in call:
            branch.add(line(who, (call["fault"], "red")))
            continue
        used = {True: "reused", False: "made by this job", None: "made or reused: not known"}[call["reused"]]
        tokens = f"{call['prompt_tokens']} + {call['completion_tokens']} tokens"
        cost = f", {call['usd']:g} USD" if call["usd"] is not None else ""
        branch.add(line(f"{who}{call['model']}, {tokens}{cost}, {used} ({call['made_by']}, {call['at']})"))


def _dataset(tree: Tree, one: Facts) -> None:
    name = f"dataset {one['dataset']}, from generation {one['generation']}: "
    if one.get("rejected") and not one["rows"]:
        branch = tree.add(line(name, f"the rejected side of {number_of(len(one['rejected']), 'pair')}"))
        for row in one["rejected"]:
            branch.add(line(f"split {row['split']}  {row['file']} row {row['row']}"))
        return
    if not one["rows"]:
        branch = tree.add(line(name, ("dropped", "yellow")))
        reasons = one["dropped"] or ["the report does not tell why"]
        branch.add(line(f"{'by' if len(reasons) == 1 else 'by one of'} {'; '.join(reasons)}"))
        return
    branch = tree.add(line(name, number_of(len(one["rows"]), "row")))
    for row in one["rows"]:
        leaf = branch.add(line(f"split {row['split']}  {row['file']} row {row['row']}"))
        if "chosen" in row:
            sides = f"{row['chosen_candidate']} over {row['rejected_candidate']}, margin {row['margin']}"
            leaf.add(line(f"pair of round {row['round']}: {sides}"))
            leaf.add(line(f"chosen: {_text(row['chosen'])}"))
            leaf.add(line(f"rejected: {_text(row['rejected'])}"))
    if one["passed"]:
        branch.add(line(f"filters passed: {'; '.join(one['passed'])}"))
    for mix in one["mix"]:
        wanted = "all that are left" if mix["share"] is None else f"share {mix['share']:g} wanted"
        got = "" if mix["realised_share"] is None else f", {mix['realised_share']:.1%} of the dataset"
        branch.add(line(f"mix: {wanted}{got}; {mix['rows_kept']} of {mix['rows_in']} rows of the source kept"))


def _response(tree: Tree, one: Facts) -> None:
    sample = f", sample {one['sample']}" if one.get("sample") else ""
    who = f"response of subject {one['subject']}{sample} (condition {one['condition']}, {one['role']} set {one['set']})"
    branch = tree.add(line(f"{who}  {_place(one)}, by {one['job']}"))
    branch.add(line(f"answer ({one['finish_reason']}): {_text(one['answer'])}"))
    _calls(branch, one["calls"])
    for mark in one["markers"]:
        found = f": {', '.join(mark['matched'])}" if mark["matched"] else ""
        branch.add(line(f"markers: {mark['raw']} found, score {mark['capped']:g}{found}  {_place(mark)}"))
    for found in one["breaks"]:
        _break(branch, found)
    for check in one["checks"]:
        passed = {True: "passed", False: "failed", None: "not run"}[check["passed"]]
        branch.add(
            line(f"check {check['number']}, {check['kind']}: {passed}; {_text(check['detail'])}  {_place(check)}")
        )
    for verdict in one["rubric"]:
        _rubric(branch, verdict)
    for verdict in one["pairwise"]:
        said = verdict["verdict"] or f"not readable: {_text(verdict['raw'])}"
        sides = f"{verdict['first']} against {verdict['second']}, judge {verdict['judge']}, shown as {verdict['order']}"
        _calls(branch.add(line(f"pairwise {sides}: {said}  {_place(verdict)}")), verdict["calls"])


def _break(tree: Tree, one: Facts) -> None:
    said = {True: "breaks character", False: "keeps character", None: f"unscored: {one['reason']}"}[one["broken"]]
    who = "patterns" if one["judge"] is None else f"judge {one['judge']}"
    found = f": {', '.join(one['matched'])}" if one["matched"] else ""
    leaf = tree.add(line(f"character, {who}: {said}{found}  {_place(one)}"))
    if one["judge"] is not None:
        _calls(leaf, one["calls"])


def _rubric(tree: Tree, one: Facts) -> None:
    scores = ", ".join(f"{name} {_score(value)}" for name, value in sorted(one["components"].items()))
    said = f"overall {one['overall']:.2f} ({scores})" if one["overall"] is not None else f"unscored: {one['reason']}"
    failures = f"; critical: {', '.join(one['critical_failures'])}" if one["critical_failures"] else ""
    leaf = tree.add(line(f"rubric, judge {one['judge']}, repeat {one['repeat']}: {said}{failures}  {_place(one)}"))
    _calls(leaf, one["calls"])


def _score(value: object) -> object:
    return value.get("score") if isinstance(value, dict) else value
