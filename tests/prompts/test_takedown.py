"""Takedown on results trees: what is left is found and named, what others hold too is not, and a purge takes no more."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from stillhouse.errors import InputError, LedgerError
from stillhouse.llm.ledger import Bill, Ledger
from stillhouse.llm.requests import Completion, Request
from stillhouse.prompts import takedown
from stillhouse.prompts.collect import CollectSettings
from stillhouse.prompts.takedown import Findings, check_takedown, purge
from stillhouse.prompts.taken import SetSource
from stillhouse.provenance.digests import canonical_json, prompt_id
from stillhouse.provenance.ledger_check import check_ledger
from stillhouse.study.excludes import Exclude

WORKFLOW = Path(__file__).parents[2]
BAKERY = "Review this plan: the bakery will open on the 3rd of May with two tills."
HARBOUR = "Review this plan: the harbour will open on the 4th of June with one crane."
CRITIQUE = "The plan names nobody who would run the second till on a Sunday."


def chat(text: str, system: str | None = None) -> list[dict[str, str]]:
    opening = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": text}]


class Tree:
    """A results folder made by hand: prompts p1 (the bakery), p2 (the harbour) and more, with calls and answers."""

    def __init__(self, root: Path) -> None:
        self.root, self.ledger = root, root / "results/ledger"
        self.calls = Ledger(self.ledger, "answer_shard-plans-0")
        self.prompts = {"p1": BAKERY, "p2": HARBOUR}
        self.rows: list[dict[str, Any]] = []

    def answer(self, name: str, text: str, *, reasoning: str | None = None, system: str | None = None) -> str:
        """One call about a prompt and its answer in the ledger; the digest."""
        return self.call(chat(self.prompts[name], system), text, reasoning)

    def call(self, messages: list[dict[str, str]], text: str, reasoning: str | None = None) -> str:
        pairs = tuple((message["role"], message["content"]) for message in messages)
        request = Request({"backend": "openai", "model": "m"}, pairs, {"seed": len(self.calls)})
        self.calls.append(request, "m", Completion(text, "stop", reasoning), Bill(None, 0.1, 1))
        return request.digest

    def row(self, name: str, answer: str, *calls: str, set_name: str = "plans") -> None:
        messages = chat(self.prompts[name])
        self.rows.append(
            {
                "prompt_id": prompt_id(messages), "set": set_name, "id": name, "prompt": self.prompts[name],
                "messages": canonical_json(messages), "answer": answer, "calls": list(calls),
            }
        )  # fmt: skip

    def write(self, file: str, rows: list[dict[str, Any]] | None = None) -> Path:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self.rows if rows is None else rows), path)
        return path

    def check(self, **exclude: list[str]) -> Findings:
        """Check with the user's file as it stands; no file when there are no prompts."""
        self.calls.close()
        source = self.root / "plans.jsonl"
        source.write_text("".join(json.dumps({"id": n, "prompt": p}) + "\n" for n, p in self.prompts.items()))
        entries = Exclude.model_validate(exclude)
        settings = CollectSettings.model_validate({"set": "plans", "exclude": exclude})
        return check_takedown([SetSource([source], settings)], entries, self.root, self.ledger)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path)
    for name in ("p1", "p2"):
        answer = f"The keystone of {name} is the opening day, and it is set too early."
        made.row(name, answer, made.answer(name, answer, system="Be brief."))
    return made


def without(tree: Tree, name: str) -> list[dict[str, Any]]:
    return [row for row in tree.rows if row["id"] != name]


def left(findings: Findings) -> set[tuple[str, str]]:
    return {(leak.file, leak.kind) for leak in findings.leaks}


def test_rows_texts_and_answers_are_found_and_named(tree: Tree) -> None:
    tree.write("results/generations/plans/answers.parquet")
    (tree.root / "results/report.html").write_text(f"<p>{BAKERY}</p>")
    (tree.root / "results/card.md").write_text("The keystone of p1 is the opening day,\nand it is set too early.")
    findings = tree.check(prompts=["plans:p1"])
    answers = "results/generations/plans/answers.parquet"
    assert left(findings) == {
        (answers, "row"), (answers, "prompt"), (answers, "answer"),
        ("results/report.html", "prompt"), ("results/card.md", "answer"),
    }  # fmt: skip
    assert {leak.prompt_id for leak in findings.leaks} == {prompt_id(chat(BAKERY))}
    assert findings.taken.prompts == {prompt_id(chat(BAKERY)): {"plans:p1"}}


def test_a_tree_rebuilt_without_it_is_clean_and_the_ledger_is_told(tree: Tree) -> None:
    tree.write("results/generations/plans/answers.parquet", without(tree, "p1"))
    findings = tree.check(prompts=["plans:p1"])
    assert findings.leaks == [] and findings.searched == 1
    assert list(findings.ledger.values()) == [1]


@pytest.mark.parametrize(
    "exclude",
    [{"prompts": ["plans:p1"]}, {"prompts": [prompt_id(chat(BAKERY))]}, {"patterns": ["(?i)BAKERY"]}],
    ids=["set:id", "prompt_id", "pattern"],
)
def test_every_kind_of_entry_takes_the_same(tree: Tree, exclude: dict[str, list[str]]) -> None:
    tree.write("results/a.parquet")
    findings = tree.check(**exclude)
    assert left(findings) == {("results/a.parquet", kind) for kind in ("row", "prompt", "answer")}
    assert findings.taken.idle() == []


def test_a_whole_source(tree: Tree) -> None:
    tree.write("results/a.parquet")
    assert len(tree.check(sources=["plans"]).taken.prompts) == 2


@pytest.mark.parametrize(
    "exclude", [{"prompts": [prompt_id(chat(BAKERY))]}, {"patterns": ["bakery"]}], ids=["id", "pattern"]
)
def test_a_prompt_that_no_file_holds_any_more_comes_out_of_the_ledger(
    tree: Tree, exclude: dict[str, list[str]]
) -> None:
    del tree.prompts["p1"]
    tree.write("results/a.parquet", without(tree, "p1"))
    (tree.root / "results/old.txt").write_text(f"It began so: {BAKERY}")
    findings = tree.check(**exclude)
    assert left(findings) == {("results/old.txt", "prompt")}
    assert findings.taken.idle() == []
    assert list(findings.ledger.values()) == [1]


def test_requests_about_a_prompt_that_a_pattern_finds_are_no_further_prompts(tree: Tree) -> None:
    del tree.prompts["p1"]
    tree.prompts["p9"] = "Why?"
    tree.call(chat(f"You review an answer.\n\nQuestion:\n{BAKERY}\n\nAnswer:\nSome."), CRITIQUE)
    tree.write("results/a.parquet", [{"text": CRITIQUE}])
    findings = tree.check(patterns=["bakery"])
    assert set(findings.taken.prompts) == {prompt_id(chat(BAKERY))}
    assert findings.taken.entries == {("patterns", "bakery"): 1}
    assert left(findings) == {("results/a.parquet", "answer")} and len(findings.taken.calls) == 2


def test_rows_of_odd_shape_are_searched_all_the_same(tree: Tree) -> None:
    base = {"prompt_id": "f" * 16, "set": "plans", "id": "odd"}
    tree.write("results/a.parquet", [{**base, "messages": "no JSON", "prompt": None, "answer": None, "calls": None}])
    tree.write("results/b.parquet", [{**base, "prompt": {"content": 1}, "completion": ["x"], "raw": [BAKERY]}])
    tree.write(
        "results/c.parquet", [{**base, "messages": '{"role": 1}', "prompt": [{"role": "user", "content": BAKERY}]}]
    )
    assert left(tree.check(prompts=["plans:p1"])) == {("results/b.parquet", "prompt"), ("results/c.parquet", "prompt")}
    assert ("results/c.parquet", "row") in left(tree.check(patterns=["bakery"]))


def test_datasets_with_tools_hold_their_turns_as_json(tree: Tree) -> None:
    row = {key: tree.rows[0][key] for key in ("prompt_id", "set", "id")}
    turn = {"role": "assistant", "content": "What only this dataset says."}
    told = {"prompt": [canonical_json(chat("What only this dataset asks.")[0])], "completion": [canonical_json(turn)]}
    tree.write("results/d.parquet", [{**row, **told}])
    found = {needle.text for needle in tree.check(prompts=["plans:p1"]).taken.texts.values()}
    assert {"What only this dataset asks.", "What only this dataset says."} <= found


def test_a_damaged_table_proves_nothing(tree: Tree) -> None:
    (tree.root / "results/a.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read as parquet"):
        tree.check(prompts=["plans:p1"])


def test_a_prompt_that_only_the_store_holds_is_found_by_its_name(tree: Tree) -> None:
    del tree.prompts["p1"]
    tree.write("results/.store/ab12/0000", tree.rows)
    shutil.rmtree(tree.ledger)
    (tree.root / "results/old.txt").write_text("x The keystone of p1 is the opening day, and it is set too early. x")
    findings = tree.check(prompts=["plans:p1"])
    assert left(findings) == {("results/old.txt", "answer")}
    assert [folder.name for folder in findings.store] == ["ab12"]


def test_an_entry_that_matches_nothing_is_told(tree: Tree) -> None:
    findings = tree.check(prompts=["plans:nobody", "0" * 16], patterns=["zeppelin"])
    assert findings.taken.idle() == [("prompts", "plans:nobody"), ("prompts", "0" * 16), ("patterns", "zeppelin")]
    assert findings.leaks == [] and not findings.ledger


def test_answers_of_every_call_about_it_count_not_only_the_final_one(tree: Tree) -> None:
    tree.call(
        chat(f"You review an answer.\n\nQuestion:\n{BAKERY}\n\nAnswer:\nSome."),
        CRITIQUE,
        "I think that Sundays matter.",
    )
    tree.write("results/a.parquet", without(tree, "p1"))
    transcript = json.dumps({"rounds": [{"critique": CRITIQUE}]})
    tree.write("results/b.parquet", [{"transcript": transcript}])
    (tree.root / "results/c.txt").write_text("I think that Sundays matter.")
    findings = tree.check(prompts=["plans:p1"])
    assert left(findings) == {("results/b.parquet", "answer"), ("results/c.txt", "answer")}
    assert list(findings.ledger.values()) == [2]


def test_text_that_a_kept_prompt_was_answered_with_too_is_no_leak(tree: Tree) -> None:
    for name in ("p1", "p2"):
        tree.call(chat(f"Question:\n{tree.prompts[name]}"), CRITIQUE)
    tree.write("results/a.parquet", [{"text": CRITIQUE}])
    assert tree.check(prompts=["plans:p1"]).leaks == []
    assert tree.check(prompts=["plans:p1", "plans:p2"]).leaks != []


def test_a_kept_prompt_that_holds_the_text_of_another_hides_only_itself(tree: Tree) -> None:
    tree.prompts["p3"] = f"{BAKERY} Then say who would run them."
    tree.row("p3", "Nobody would.", tree.answer("p3", "Nobody would, and that is the keystone of it."))
    tree.write("results/a.parquet", without(tree, "p1"))
    findings = tree.check(prompts=["plans:p1"])
    assert findings.leaks == []
    assert list(findings.ledger.values()) == [1], "the call about p3 is not about p1"
    (tree.root / "results/b.txt").write_text(f"{tree.prompts['p3']}\n{BAKERY}\n")
    assert left(tree.check(prompts=["plans:p1"])) == {("results/b.txt", "prompt")}


def test_a_short_prompt_and_a_short_answer_count_as_whole_cells(tree: Tree) -> None:
    tree.prompts["p4"] = "2 + 2?"
    tree.row("p4", "Four.", tree.answer("p4", "Four."))
    tree.call(chat("Question:\n2 + 2?\n\nAnswer:\nFour."), "It should say why it is four and not five.")
    tree.write("results/a.parquet", [{"text": "Is 2 + 2? four. Four. Really."}])
    findings = tree.check(prompts=["plans:p4"])
    assert findings.leaks == [] and list(findings.ledger.values()) == [2]
    tree.write("results/b.parquet", [{"text": "2 + 2?"}, {"text": "four."}])
    assert left(tree.check(prompts=["plans:p4"])) == {("results/b.parquet", "prompt"), ("results/b.parquet", "answer")}


def test_a_short_answer_that_others_gave_as_well_is_no_leak(tree: Tree) -> None:
    tree.prompts.update(p4="2 + 2?", p5="1 + 3?")
    for name in ("p4", "p5"):
        tree.row(name, "Four.", tree.answer(name, "Four."))
    tree.write("results/a.parquet", without(tree, "p4"))
    assert tree.check(prompts=["plans:p4"]).leaks == []


def test_a_recorded_answer_that_stays_is_no_leak(tree: Tree) -> None:
    """Answers of recorded subjects are in no ledger; rows without calls hold them."""
    words = "Frost, mostly, and the pipes that it splits."
    tree.answer("p1", words)
    tree.row("p2", words)
    tree.write("results/a.parquet", without(tree, "p1"))
    assert tree.check(prompts=["plans:p1"]).leaks == []


def test_a_call_that_a_row_of_another_prompt_names_is_not_taken(tree: Tree) -> None:
    shared = tree.call(
        chat(f"Compare two plans.\n{BAKERY}\n{HARBOUR}"), "The first one is the bolder of the two plans."
    )
    tree.row("p2", "The first one is the bolder of the two plans.", shared)
    tree.write("results/a.parquet", without(tree, "p1"))
    findings = tree.check(prompts=["plans:p1"])
    assert shared not in findings.taken.calls and findings.leaks == []
    purge(findings, tree.ledger)
    assert shared in Ledger(tree.ledger)


def test_a_pattern_does_not_take_what_a_model_said_about_a_prompt_that_stays(tree: Tree) -> None:
    words = "Ask the zeppelin people first, they have done it before."
    tree.call(chat(f"Question:\n{HARBOUR}\n\nAnswer:\n{words}"), "No flaws that matter in this one.")
    tree.write("results/a.parquet", [{"text": "No flaws that matter in this one."}])
    findings = tree.check(patterns=["zeppelin"])
    assert findings.taken.calls == {} and findings.leaks == []


def test_a_set_that_keeps_the_prompt_is_told_and_its_rows_are_no_leak(tree: Tree) -> None:
    other = tree.root / "other.jsonl"
    other.write_text(json.dumps({"id": "o1", "prompt": BAKERY}) + "\n")
    tree.row("p1", "The keystone of p1 is the opening day, and it is set too early.", set_name="other")
    tree.rows[-1]["id"] = "o1"
    tree.write("results/a.parquet", tree.rows[1:])
    tree.check()
    exclude = {"prompts": ["plans:p1"]}
    sources = [
        SetSource([tree.root / "plans.jsonl"], CollectSettings.model_validate({"set": "plans", "exclude": exclude})),
        SetSource([other], CollectSettings.model_validate({"set": "other"})),
    ]
    findings = check_takedown(sources, Exclude.model_validate(exclude), tree.root, tree.ledger)
    assert findings.taken.staying() == {prompt_id(chat(BAKERY)): "other:o1"}
    assert findings.leaks == [] and not findings.ledger


def test_a_file_shared_with_the_store_is_told_in_both_places(tree: Tree) -> None:
    file = tree.write("results/a.parquet")
    (tree.root / "results/.store/ab12").mkdir(parents=True)
    os.link(file, tree.root / "results/.store/ab12/0000")
    findings = tree.check(prompts=["plans:p1"])
    assert findings.leaks and [folder.name for folder in findings.store] == ["ab12"]


# purging


def test_a_purge_removes_their_calls_and_no_other_byte(tree: Tree) -> None:
    tree.write("results/a.parquet", without(tree, "p1"))
    other = Ledger(tree.ledger, "judge_rubric-e")
    pairs = (("user", HARBOUR),)
    other.append(Request({"model": "j"}, pairs, {}), "j", Completion("7", "stop"), Bill(0.1, 0.1, 1))
    other.close()
    untouched = next(tree.ledger.glob("judge_rubric-e-*"))
    state = untouched.stat().st_mtime_ns, untouched.read_bytes()
    mine = next(tree.ledger.glob("answer_shard-*"))
    torn = b'{"digest":"ab","sum":"cd","call":{"request":"half of an unfinished li'
    mine.write_bytes(mine.read_bytes() + torn)
    lines = mine.read_bytes().splitlines(keepends=True)
    tree.write("results/.store/ab12/0000", tree.rows)
    (tree.root / "results/.store/ab12/manifest.json").write_text("{}")
    tree.write("results/.store/cd34/0000", without(tree, "p1"))
    done = purge(tree.check(prompts=["plans:p1"]), tree.ledger)
    assert (done.calls, done.files, done.entries) == (1, 1, 1)
    assert mine.read_bytes() == b"".join(lines[1:])
    assert (untouched.stat().st_mtime_ns, untouched.read_bytes()) == state
    assert [folder.name for folder in (tree.root / "results/.store").iterdir()] == ["cd34"]
    after = tree.check(prompts=["plans:p1"])
    assert not after.ledger and not after.store and not after.leaks
    assert check_ledger(tree.ledger).lines == 2


def test_a_torn_line_that_holds_the_prompt_goes_and_an_empty_file_with_it(tree: Tree) -> None:
    tree.write("results/a.parquet", without(tree, "p1"))
    torn = tree.ledger / "answer_shard-plans-9-00.jsonl"
    torn.write_bytes(json.dumps({"call": {"request": {"messages": chat(BAKERY)}}}).encode()[:-4])
    findings = tree.check(prompts=["plans:p1"])
    assert findings.ledger[torn] == 1
    purge(findings, tree.ledger)
    assert not torn.exists()


def test_a_ledger_that_is_being_written_to_is_left_as_it_is(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write("results/a.parquet", without(tree, "p1"))
    findings = tree.check(prompts=["plans:p1"])
    file = next(tree.ledger.glob("*.jsonl"))
    scan = takedown.scan_file

    def scan_while_a_job_appends(path: Path):
        yield from scan(path)
        with open(path, "ab") as stream:
            stream.write(b"{}\n")

    monkeypatch.setattr(takedown, "scan_file", scan_while_a_job_appends)
    with pytest.raises(LedgerError, match="being written to"):
        purge(findings, tree.ledger)
    assert BAKERY.encode() in file.read_bytes() and file.read_bytes().endswith(b"{}\n")
    assert list(tree.ledger.iterdir()) == [file]


# the whole way: a study, its exclude, the rebuild, the check, the purge


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)


def snakemake(folder: Path, *arguments: str) -> str:
    command = ["-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile"), "--cores", "2", *arguments]
    done = run(folder, *command, "--configfile", "study.yaml")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def takedown_py(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run(folder, str(WORKFLOW / "scripts/takedown.py"), "--configfile", "study.yaml", *arguments)


def exclude_in(folder: Path, **entries: list[str]) -> None:
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "exclude": entries}, sort_keys=False))


@pytest.mark.slow
def test_a_study_is_rebuilt_without_them_and_nothing_is_left(recorded_tree: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded_tree, tmp_path / "study", symlinks=True))
    before = {file: file.read_bytes() for file in (folder / "results/ledger").iterdir()}
    exclude_in(folder, prompts=["plans:p3", "held:h1", "short:s4", "plans:nobody"], patterns=["(?i)BREWERY"])
    stale = takedown_py(folder)
    assert stale.returncode == 1
    for told in ("warning: exclude.prompts 'plans:nobody' matches no prompt", "(plans:p3): an answer to it, its text, a row",
                 "LEFT results/evaluations/held/report.html: prompt", "rebuild first"):  # fmt: skip
        assert told in stale.stdout
    refused = takedown_py(folder, "--purge")
    assert refused.returncode == 1 and "nothing was purged" in refused.stderr
    snakemake(folder)
    assert {file: file.read_bytes() for file in (folder / "results/ledger").iterdir()} == before, "a call was made"
    clean = takedown_py(folder, "--check")
    assert clean.returncode == 0, clean.stdout
    assert "4 prompts are taken down, and nothing of them is in" in clean.stdout and "until --purge" in clean.stdout
    assert takedown_py(folder, "--purge").returncode == 0
    after = takedown_py(folder)
    assert after.returncode == 0 and "until --purge" not in after.stdout
    assert "Nothing to be done" in snakemake(folder, "-n")
    left_over = b"".join(file.read_bytes() for file in (folder / "results").rglob("*") if file.is_file())
    assert b"orchard will open" not in left_over and b"brewery will open" not in left_over


@pytest.mark.slow
def test_a_whole_set_can_be_taken_down(recorded_tree: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded_tree, tmp_path / "study", symlinks=True))
    exclude_in(folder, sources=["held.jsonl", "short"])
    snakemake(folder)
    done = takedown_py(folder)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_purge_is_refused_under_the_lock_of_a_run(recorded_tree: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded_tree, tmp_path / "study", symlinks=True))
    lock = folder / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("results\n")
    done = takedown_py(folder, "--purge")
    assert done.returncode == 1 and "lock is held" in done.stderr


@pytest.mark.parametrize("text", ["a: [", "[1]", "study: x\nexclude: {patterns: ['[']}\n"])
def test_a_study_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.yaml").write_text(text)
    done = takedown_py(tmp_path)
    assert done.returncode == 1 and "StudyError" in done.stderr and "Traceback" not in done.stderr
    missing = run(tmp_path, str(WORKFLOW / "scripts/takedown.py"), "--configfile", "nowhere.yaml")
    assert missing.returncode == 1 and "nowhere.yaml" in missing.stderr and "Traceback" not in missing.stderr


def test_answers_of_files_go_with_their_prompts(tree: Tree) -> None:
    """A report that quotes a published answer is found, though no call made it; what another row says as well stays."""
    shared = "Both of them will have to wait for the council."
    told = {"p1": ["The bakery's second till has no keeper on a Sunday.", shared], "p2": [shared]}
    thought = "First the rent, and then whoever keeps the second till."
    pairs = [{"id": name, "prompt": tree.prompts[name], "response": text} for name in told for text in told[name]]
    pairs[0]["reasoning"] = thought
    source = tree.root / "pairs.jsonl"
    source.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    exclude = {"prompts": ["pairs:p1"]}
    recipe = {"set": "pairs", "answers": True, "exclude": exclude}
    files = {"answer.md": told["p1"][0], "thought.html": f"<p>{thought}</p>", "shared.md": shared, "prompt.txt": BAKERY}
    for name, text in files.items():
        (tree.root / "results").mkdir(exist_ok=True)
        (tree.root / "results" / name).write_text(text)
    kept = {"set": "pairs", "reasoning": None, "draft": shared}
    messages = chat(HARBOUR)
    identity = prompt_id(messages)
    row = {"prompt_id": identity, "id": "p2", "messages": canonical_json(messages), "answer": shared, "calls": []}
    tree.write("results/answers/pairs/answers.parquet", [{**row, **kept}])
    tree.calls.close()
    given = SetSource([source], CollectSettings.model_validate(recipe))
    findings = check_takedown([given], Exclude.model_validate(exclude), tree.root, tree.ledger)
    assert left(findings) == {
        ("results/answer.md", "answer"), ("results/thought.html", "answer"), ("results/prompt.txt", "prompt")
    }  # fmt: skip
    assert findings.taken.idle() == []
    assert findings.taken.prompts == {prompt_id(chat(BAKERY)): {"pairs:p1"}}
