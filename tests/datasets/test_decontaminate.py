"""Held-out prompts do not leak in, and harmless neighbours stay."""

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stillhouse.datasets import kernels
from stillhouse.datasets.decontaminate import HeldOut, _stem, content_words, forms_of
from stillhouse.datasets.rows import Prompt
from stillhouse.study.datasets import Decontaminate

DEFAULTS = Decontaminate(against=["eval"])
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
SHIPPED = Path(__file__).parents[2] / "data"

MILL = "we move the whole bakery to the old mill by the river next May and sell bread to the sailors who pass by"


def prompt_of(text, number=0, messages=None):
    return Prompt(f"p{number}", "held", str(number), messages or (("user", text),))


def read(path, wanted=lambda line: True):
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [prompt_of(line["prompt"], line["id"]) for line in lines if wanted(line)]


def hits(rows, held_out, **bounds):
    index = HeldOut([prompt_of(text, number) for number, text in enumerate(held_out)], bounded(**bounds))
    return index.hits(pa.array(rows, pa.string()))


def bounded(**bounds):
    return DEFAULTS.model_copy(update=bounds)


def test_of(row, held_out, **bounds):
    found = hits([row], [held_out], **bounds)
    return found[0].test if found else None


test_of.__test__ = False


@pytest.mark.parametrize(
    ("row", "held_out", "test"),
    [
        ("what's the capital of FRANCE", "What is the capital of France?", "identical"),
        ("Please help: we move the whole bakery to the old mill next May, all right?",
         "Audit: we move the whole bakery to the old mill", "ngram"),
        ("What is the capital of France and how big is it?", "What is the capital of France?", "ngram"),
        ("What year did the French Revolution start?", "What year did the French Revolution begin?", "shingles"),
        ("What is the official language spoken in Brazil?", "What language is spoken in Brazil?", "content"),
        ("Tell me how brewing a cup of tea in a glass pot works", "Brew a cup of tea in a glass pot", "ngram"),
        ("How is a cup of tea brewed in a pot?", "Walk me through brewing a cup of tea in a pot.", "content"),
        ("🙂", "🙂", "identical"),
        ("नमस्ते, भारत की राजधानी क्या है और कहाँ है?", "भारत की राजधानी क्या है", "ngram"),
        ("你好！请用一句话解释什么是机器学习。", "请用一句话解释什么是机器学习", "ngram"),
        ("中国北方冬天很冷南方夏天很热旅行者可以看到高山", "问：中国北方冬天很冷南方夏天很热旅行者", "ngram"),
        ("法国的首都是哪里？", "法国的首都是哪里", "identical"),
    ],
)  # fmt: skip
def test_leaks(row, held_out, test):
    assert test_of(row, held_out) == test


@pytest.mark.parametrize(
    ("row", "held_out"),
    [
        ("What is the capital of Australia?", "What's the capital of France?"),
        ("Write a haiku about cats.", "Write a haiku about autumn leaves."),
        ("Explain in one sentence what a CPU does.", "Explain in one sentence what TCP is."),
        ("Who wrote 'To Kill a Mockingbird'?", "Who wrote 'Pride and Prejudice'?"),
        ("What's 7 times 9?", "What's 7 times 8?"),
        ("Translate hi there", "Hi"),
        ("🙂", "🙁"),
        ("德国的首都是哪里？", "法国的首都是哪里？"),
        ("请用一句话解释什么是量子力学。", "请用一句话解释什么是机器学习。"),
        ("日本の首都はどこですか。", "フランスの首都はどこですか。"),
        ("नमस्ते, मेरे लिए एक कहानी लिखिए", "नमस्ते"),
        ("मुझे कविता लिखने की विधि सिखाइए।", "मुझे चाय बनाने की विधि बताइए।"),
        ("คุณช่วยเขียนกลอนให้หน่อย", "เมืองหลวงของประเทศไทยคืออะไร"),
    ],
)
def test_no_leaks(row, held_out):
    assert test_of(row, held_out) is None


def test_settings_move_the_bounds():
    row, held_out = "What is the official language spoken in Brazil?", "What language is spoken in Brazil?"
    assert test_of(row, held_out, content=0.8) is None
    assert test_of(row, held_out, content=1.0, ngram=3) == "ngram"
    assert test_of(row, held_out, content=1.0, threshold=0.1) == "shingles"


def test_a_null_bound_turns_its_test_off():
    assert test_of("How is a cup of tea brewed in a pot?", "Brewing a cup of tea in a pot.", content=None) is None
    row, held_out = "What year did the French Revolution start?", "What year did the French Revolution begin?"
    assert test_of(row, held_out, threshold=None, content=None) is None
    assert test_of(held_out, held_out, threshold=None, content=None) == "identical"


def test_a_diluted_prompt_is_found():
    """Words among it break every run of eight, and the long row keeps Jaccard low."""
    words = MILL.split()
    broken = " ".join([*words[:7], "promptly", *words[7:14], "soon", *words[14:]])
    row = f"{'My uncle keeps bees and writes letters about them every winter. ' * 4} {broken}"
    (hit,) = hits([row], [MILL], ngram=12, content=None)
    assert hit.test == "dilution" and 0.8 <= hit.similarity < 1
    assert test_of(" ".join(words[:7]), MILL, ngram=12, content=None) is None
    assert test_of(f"x {' '.join(words[:3])} y {' '.join(words[3:7])}", " ".join(words[:7]), content=None) is None


def test_every_user_turn_counts_and_system_text_does_not():
    said = (("system", "Answer briefly."), ("user", "What is the capital of France?"), ("assistant", "Paris."),
            ("user", "And its river?"))  # fmt: skip
    row = prompt_of("", messages=said)
    index = HeldOut([prompt_of("What is the capital of France?"), prompt_of("Answer briefly.", 1)], DEFAULTS)
    (hit,) = index.hits([["Nothing of the kind"], list(row.turns)])
    assert (hit.row, hit.held_out, hit.test) == (1, 0, "identical")


def test_turns_of_a_held_out_conversation_are_looked_for_unless_they_say_little():
    said = (("user", "I plan a trip to the north."), ("assistant", "Lovely, there is so much to see by the river."),
            ("user", "Which bridge opened in 1928?"), ("assistant", "The one over the Tyne."), ("user", "Thanks a lot"))  # fmt: skip
    index = HeldOut([prompt_of("Name a river"), prompt_of("", 1, said)], DEFAULTS)
    found = index.hits(pa.array(["Which bridge opened in 1928?", "Thanks a lot", "Name a river"]))
    assert [(hit.row, hit.held_out, hit.test) for hit in found] == [(0, 1, "identical"), (2, 0, "identical")]


def test_the_nearest_held_out_prompt_is_named():
    held_out = ["What language is spoken in Brazil?", "Name a river in Brazil"]
    for order in (held_out, held_out[::-1]):
        (hit,) = hits(["What language is spoken in Brazil"], order)
        assert order[hit.held_out] == held_out[0] and hit.similarity == 1.0


def test_equally_near_prompts_are_named_by_the_first():
    (hit,) = hits(["Name a river in Brazil"], ["name a river in brazil!", "Name a river in Brazil"])
    assert hit.held_out == 0


def test_content_words_are_stems():
    assert content_words("Walk me through brewing cups of coffee") == content_words("How do you brew a cup of coffee?")
    assert content_words("planning cities") == content_words("the plan of a city")
    assert content_words("make classes") == content_words("making a class")


@given(st.one_of(st.text(max_size=12), st.text("abeiosng", max_size=9).map(lambda text: text + "ing")))
@example("dies")
@example("öffnings")
@example("planning")
@example("making")
@example("classes")
def test_what_the_fast_test_of_content_words_rests_on(word):
    stem = _stem(word)
    assert word in forms_of(stem)
    assert stem.encode()[:3] == word.encode()[:3]


WORDS = ["we", "move", "the", "bakery", "bakeries", "moving", "to", "mill", "mills", "river", "what", "is", "it's", "of",
         "3.5", "Straße", "план", "naïve", "sailing", "sail", "?", "bread", "首", "都", "国", "法", "德", "城", "市", "は",
         "日本語", "नदी", "พ่อ"]  # fmt: skip
PHRASES = st.lists(st.sampled_from(WORDS), max_size=16).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(
    rows=st.lists(st.one_of(PHRASES, st.text(max_size=10)), min_size=1, max_size=12),
    held_out=st.lists(st.one_of(PHRASES, st.text(max_size=10)), max_size=5),
    ngram=st.integers(2, 8),
    threshold=st.one_of(st.none(), st.floats(0.05, 1.0)),
    content=st.one_of(st.none(), st.floats(0.05, 1.0)),
    mixed=st.booleans(),
)
def test_the_fast_path_finds_what_the_plain_tests_find(rows, held_out, ngram, threshold, content, mixed):
    if mixed and held_out:  # a row that holds a held-out prompt with something around and within it
        half = len(held_out[0]) // 2
        rows = [*rows, f"bread {held_out[0]} mills", f"{held_out[0][:half]} of {held_out[0][half:]}"]
    bounds = {"ngram": ngram, "threshold": threshold, "content": content}
    with patch.object(kernels, "WORTH", 10**9):
        expected = hits(rows, held_out, **bounds)
    with patch.object(kernels, "WORTH", 0):
        assert hits(rows, held_out, **bounds) == expected


def test_the_fast_path_clears_most_rows():
    draw = np.random.default_rng(3)
    words = np.array(["".join(draw.choice(list("abcdefghijklmnop"), 6)) for _ in range(300)])
    rows = [" ".join(draw.choice(words, 40)) for _ in range(3_000)]
    held_out = [" ".join(draw.choice(words, 20)) for _ in range(200)]
    rows[77] = f"Please: {held_out[5]}, will you?"
    index = HeldOut([prompt_of(text, number) for number, text in enumerate(held_out)], DEFAULTS)
    with patch.object(index, "judge", wraps=index.judge) as judged:
        found = index.hits(pa.array(rows))
    assert [(hit.row, hit.held_out, hit.test) for hit in found] == [(77, 5, "ngram")]
    assert judged.call_count < 30


def test_nothing_held_out():
    assert hits(["a b c"], []) == [] and hits([], ["a b c"]) == []


@pytest.mark.skipif(
    not (SHARED / "hammerstein-v3a").is_dir(), reason="the published prompts of shared/data are not here"
)
def test_published_leaks_are_found():
    student = SHARED / "hammerstein-v3a" / "student.jsonl"
    forgetting = read(student, lambda line: line["category"] == "forgetting")
    rows = read(SHARED / "hammerstein-pairs" / "off_domain.jsonl")
    found = HeldOut(forgetting, DEFAULTS).hits([row.turns for row in rows])
    assert len(forgetting) == 30
    named = {forgetting[hit.held_out].id for hit in found}
    assert named == {"forgetting-007", "forgetting-009", "forgetting-018", "forgetting-022", "forgetting-028"}
    assert len(found) <= 15, "decontamination takes neighbours that are no leak"


@pytest.mark.skipif(
    not (SHARED / "hammerstein-v3a").is_dir(), reason="the published prompts of shared/data are not here"
)
def test_published_strategic_prompts_are_clean():
    held_out = HeldOut(read(SHARED / "hammerstein-v3a" / "student.jsonl"), DEFAULTS)
    rows = read(SHARED / "hammerstein-pairs" / "strategic_308.jsonl")
    assert len(rows) == 308 and held_out.hits([row.turns for row in rows]) == []


@pytest.mark.parametrize(
    ("train", "held_out"), [("plans", "plans"), ("plans_tournament", "plans"), ("everyday", "everyday")]
)
def test_shipped_prompts_share_nothing_with_the_held_out_ones(train, held_out):
    against = HeldOut(read(SHIPPED / "eval" / f"{held_out}.jsonl"), DEFAULTS)
    assert against.hits([row.turns for row in read(SHIPPED / "prompts" / f"{train}.jsonl")]) == []
