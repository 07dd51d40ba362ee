"""Passages for those who write answers: chunks, BM25 by hand, pinned sources, who reads them, and what is recorded."""

import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ANSWER, REVISION, SYNTHESIS, Script, answer

from stillhouse.errors import InputError
from stillhouse.llm.requests import Request
from stillhouse.llm.words import search_terms
from stillhouse.study.generations import Dialogue
from stillhouse.tournament.retrieval import Library, SourceError, chunks_of
from stillhouse.tournament.settings import ContextSettings

ROOT = Path(__file__).parents[2]
CORPUS = {
    "arches.md": "The keystone of an arch carries the load. Without it the arch falls.",
    "bread/rye.md": "Rye bread needs a sour dough and a hot oven.",
    "bread/white.md": "White bread needs yeast, and a hot oven.",
    "tides.txt": "The moon draws the tide, twice a day.",
}


def corpus(folder: Path, texts: dict[str, str] = CORPUS) -> list[Path]:
    for name, text in texts.items():
        (folder / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "corpus" / name).write_text(text, encoding="utf-8")
    return [folder / "corpus" / name for name in texts]


def library(folder: Path, texts: dict[str, str] = CORPUS, template: str | None = None, **values: Any) -> Library:
    settings = ContextSettings(**{"top_k": 2, "context_root": str(folder / "corpus"), "pinned": "sources", **values})
    return Library(corpus(folder, texts), settings, template)


def row(prompt: str, **metadata: Any) -> dict[str, Any]:
    messages = json.dumps([{"role": "user", "content": prompt}])
    return {"prompt": prompt, "messages": messages, "metadata": json.dumps(metadata)}


@given(st.lists(st.text("ab \n\t.", max_size=4), max_size=60), st.integers(2, 9), st.data())
def test_chunks_hold_every_word_and_overlap_as_said(parts: list[str], words: int, data: st.DataObject) -> None:
    text, overlap = " ".join(parts), data.draw(st.integers(0, words - 1))
    pieces = [piece.split() for piece in chunks_of(text, words, overlap)]
    whole = pieces[0] + [word for piece in pieces[1:] for word in piece[overlap:]] if pieces else []
    assert whole == text.split()
    assert all(len(piece) <= words for piece in pieces)
    assert all(len(piece) > overlap for piece in pieces[1:])
    assert all(before[len(before) - overlap :] == after[:overlap] for before, after in pairwise(pieces))


def test_a_chunk_keeps_its_layout() -> None:
    assert chunks_of("# One\n\n  two\tthree\nfour", 3, 1) == ["# One\n\n  two", "two\tthree\nfour"]


def by_hand(question: str, texts: list[str]) -> list[float]:
    """Lucene's BM25 with k1 1.5 and b 0.75."""
    documents = [Counter(search_terms(text)) for text in texts]
    mean = sum(document.total() for document in documents) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for token in search_terms(question):
            holding = sum(token in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            tf = document[token]
            score += idf * tf / (tf + 1.5 * (1 - 0.75 + 0.75 * document.total() / mean))
        scores.append(score)
    return scores


def test_scores_are_those_of_bm25(tmp_path: Path) -> None:
    question = "Which bread wants a hot, hot oven?"
    expected = dict(zip(sorted(CORPUS), by_hand(question, [CORPUS[name] for name in sorted(CORPUS)]), strict=True))
    found = library(tmp_path, top_k=9).search(question)
    assert {passage.source: passage.score for passage in found} == {
        name: pytest.approx(score, abs=1e-3) for name, score in expected.items() if score
    }
    assert [passage.score for passage in found] == sorted((passage.score for passage in found), reverse=True)


def test_passages_of_one_score_keep_the_order_of_the_corpus(tmp_path: Path) -> None:
    texts = {f"{number:02}.md": "the same words" for number in range(30)}
    found = library(tmp_path, texts, top_k=5).search("same words")
    assert [passage.source for passage in found] == ["00.md", "01.md", "02.md", "03.md", "04.md"]


def test_ties_among_many_passages_are_stable(tmp_path: Path) -> None:
    draw = random.Random(3)
    texts = {f"{number:03}.md": draw.choice(["moon tide sea", "moon bread oven", "rye"]) for number in range(600)}
    found = library(tmp_path, texts, top_k=600).search("moon tide")
    told = [(-passage.score, passage.source) for passage in found]
    assert len(found) > 300 and len({score for score, _ in told}) == 2
    assert told == sorted(told)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("光合作用是植物利用光能把二氧化碳和水转化为有机物的过程。", "什么是光合作用？"),
        ("光合作用是植物利用光能的过程。", "光合作用"),
        ("量子力学の基本を説明する。", "量子力学とは"),
        ("การสังเคราะห์แสงเป็นกระบวนการของพืช", "การสังเคราะห์แสง"),
        ("यह राम की किताब है।", "किताब"),
    ],
)
def test_every_script_is_searched(tmp_path: Path, text: str, question: str) -> None:
    texts = {"asked.md": text, "other.md": "树上有苹果。海のそばに住む。แมวนอน। घर", "english.md": "Bread and moon."}
    assert [passage.source for passage in library(tmp_path, texts).search(question)][:1] == ["asked.md"]
    assert library(tmp_path, texts).search("猫狗") == []


def test_scripts_without_spaces_are_cut_by_characters() -> None:
    pieces = chunks_of("光合作用是植物利用光能的过程。\n" * 100, 40, 10)
    assert len(pieces) > 30
    assert all(len(piece) <= 46 for piece in pieces)
    assert all(before.replace("\n", "")[-10:][:8] in after.replace("\n", "") for before, after in pairwise(pieces))


def test_nothing_in_common_is_no_passage(tmp_path: Path) -> None:
    one = library(tmp_path)
    assert one.search("Quantum flux?") == one.search("?!") == one.search("") == []


def test_a_least_score_and_top_k_bound_what_is_given(tmp_path: Path) -> None:
    question = "bread in a hot oven with rye"
    every = library(tmp_path, top_k=9).search(question)
    assert library(tmp_path, top_k=1).search(question) == every[:1]
    assert library(tmp_path, top_k=9, min_score=every[0].score).search(question) == every[:1]


def test_pinned_sources_come_first_whole_and_once(tmp_path: Path) -> None:
    texts = {**CORPUS, "long.md": " ".join(f"bread{number}" for number in range(500))}
    found = library(tmp_path, texts).passages(row("hot bread oven?", sources=["long.md", "rye.md", "bread/rye.md"]))
    assert [(passage.source, passage.chunk, passage.score is None) for passage in found] == [
        ("long.md", None, True), ("bread/rye.md", None, True), ("bread/white.md", 0, False), ("arches.md", 0, False),
    ][: len(found)]  # fmt: skip
    assert found[0].text == texts["long.md"]
    assert len(found) >= 3


@pytest.mark.parametrize("metadata", [{}, {"sources": None}, {"sources": []}, {"other": ["rye.md"]}])
def test_a_prompt_need_not_pin_anything(tmp_path: Path, metadata: dict[str, Any]) -> None:
    assert all(passage.chunk is not None for passage in library(tmp_path).passages(row("bread", **metadata)))


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("../secret.txt", "leaves the corpus"),
        ("bread/../../secret.txt", "leaves the corpus"),
        ("/etc/passwd", "leaves the corpus"),
        ("..\\secret.txt", "leaves the corpus"),
        ("", "leaves the corpus"),
        ("none.md", "'none.md' is not in the corpus"),
        ("ye.md", "is not in the corpus"),
        (["rye.md", 7], "must be a file name or a list"),
        ({"a": "rye.md"}, "must be a file name or a list"),
        ("same.md", r"may be any of one/same\.md, two/same\.md"),
    ],
    ids=str,
)
def test_a_source_that_cannot_be_given_is_told(tmp_path: Path, wanted: Any, reason: str) -> None:
    (tmp_path / "secret.txt").write_text("not for the teacher")
    one = library(tmp_path, {**CORPUS, "one/same.md": "a b", "two/same.md": "c d"})
    if wanted == "":
        wanted = [""]
    with pytest.raises(SourceError, match=reason):
        one.passages(row("bread", sources=wanted))


def test_a_corpus_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no words in its 1 files"):
        library(tmp_path / "a", {"empty.md": " - \n"})
    files = corpus(tmp_path)
    files[0].write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"arches\.md: not UTF-8"):
        Library(files, ContextSettings(context_root=str(tmp_path)))
    with pytest.raises(InputError, match="no words in its 0 files"):
        Library([], ContextSettings())


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ prompt }}", "must show"),
        ("{% for p in passages %}{{ p.text }}{% endfor %}", "must show"),
        ("{% for p in passages %}{{ p.name }}{% endfor %}{{ prompt }}", "name"),
        ("{{ prompt", "end of print"),
    ],
)
def test_a_template_that_leaves_something_out_is_refused(tmp_path: Path, template: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"context.template.*{reason}"):
        library(tmp_path, template=template)


def test_the_study_may_have_a_template_of_its_own(tmp_path: Path) -> None:
    template = (
        "{% for p in passages %}<{{ p.source }} {{ p.chunk }} {{ p.score }}>{{ p.text }}{% endfor %}|{{ prompt }}"
    )
    one = library(tmp_path, {"a.md": "moon"}, template=template)
    assert one.brief("Q?", one.search("moon")) == f"<a.md 0 {one.search('moon')[0].score}>moon|Q?"


def test_text_of_a_passage_is_data(tmp_path: Path) -> None:
    one = library(tmp_path, {"a.md": "moon {{ 7 * 7 }} {% raw %} <b>"})
    assert "moon {{ 7 * 7 }} {% raw %} <b>" in one.brief("Q {{ 1 }}?", one.search("moon"))


def writing(request: Request) -> str:
    """What the three writing roles say, whatever stands before their templates."""
    text = request.messages[-1][1]
    return REVISION if "Write a better" in text else SYNTHESIS if "Two answers" in text else ANSWER


def test_who_writes_answers_reads_the_passages_and_nobody_else(tmp_path: Path) -> None:
    script, own = Script(teacher=writing), library(tmp_path, top_k=1)
    asked = [{"prompt": "Question about bread?"}]
    found = answer(tmp_path, script, asked=asked, system="Be brief.", library=own)[0]
    told = json.loads(found["context"])
    assert told == [passage.plain() for passage in own.search("Question about bread?")]
    text = told[0]["text"]
    readers = [(role, text in request.messages[-1][1]) for role, request in script.asked]
    assert Counter(readers) == {("teacher", True): 5, ("critic", False): 2, ("judge", False): 6}
    assert script.asked[0][1].messages[-1][1].endswith("\n\nQuestion about bread?")
    assert json.loads(found["messages"]) == [{"role": "user", "content": "Question about bread?"}]


def test_a_prompt_without_passages_is_asked_as_without_a_corpus(tmp_path: Path) -> None:
    plain = answer(tmp_path, Script(), method="single", tournament=None)[0]
    script = Script()
    found = answer(tmp_path, script, method="single", tournament=None, library=library(tmp_path))[0]
    assert (script.asked, found["calls"], found["context"], plain["context"]) == ([], plain["calls"], "[]", None)


def test_a_missing_source_fails_its_prompt_only(tmp_path: Path) -> None:
    asked = [{"id": name, "prompt": f"{name} bread", "sources": source} for name, source in
             [("good", "rye.md"), ("lost", "gone.md"), ("bad", "../../etc/passwd")]]  # fmt: skip
    script = Script()
    rows = answer(tmp_path, script, asked=asked, method="single", tournament=None, library=library(tmp_path))
    told = {row["id"]: (row["stage"], row["reason"], row["attempts"]) for row in rows}
    assert told["good"] == (None, None, None)
    assert told["lost"] == ("context", "source 'gone.md' is not in the corpus", 0)
    assert told["bad"][0] == "context"
    assert len(script.asked) == 1


def test_a_dialogue_has_its_passages_before_the_opening_and_the_partner_none(tmp_path: Path) -> None:
    script = Script(teacher=ANSWER)
    own = library(tmp_path, top_k=1)
    asked = [{"prompt": "Why does bread need an oven?"}]
    answer(tmp_path, script, asked=asked, method="dialogue", tournament=None, dialogue=Dialogue(turns=3), library=own)
    text = own.search("Why does bread need an oven?")[0].text
    first, partner, last = [[content for _, content in request.messages] for _, request in script.asked]
    assert text in first[0]
    assert last == [first[0], ANSWER, ANSWER]
    assert not any(text in content for content in partner)


FIND = """
import json, sys
from pathlib import Path
sys.path.insert(0, {scripts!r})
from stillhouse.tournament.retrieval import Library
from stillhouse.tournament.settings import ContextSettings
files = sorted(Path({folder!r}).glob("*.md"))[::{step}]
found = Library(files, ContextSettings(chunk_words=20, overlap_words=5, top_k=20, context_root={folder!r}))
print(json.dumps([[p.plain() for p in found.search(question)] for question in {questions!r}]))
"""


def test_every_process_finds_the_same(tmp_path: Path) -> None:
    draw = random.Random(5)
    words = ["".join(draw.choices("abcdef", k=2)) for _ in range(40)]
    texts = {f"{number}.md": " ".join(draw.choices(words, k=90)) for number in range(40)}
    corpus(tmp_path, texts)
    questions, found = [" ".join(draw.choices(words, k=5)) for _ in range(10)], set()
    for seed, step in (("1", 1), ("2", -1), ("3", 1)):
        code = FIND.format(
            scripts=str(ROOT / "scripts"), folder=str(tmp_path / "corpus"), step=step, questions=questions
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
    assert all(len(passages) == 20 for passages in json.loads(found.pop()))
