"""The compiled kernels give what the plain functions give, on any text."""

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stillhouse.datasets import hashing, kernels
from stillhouse.datasets.hashing import Banding
from stillhouse.datasets.jit import SOURCES
from stillhouse.datasets.text import count_contractions, count_words, normal_form, repeated_share, shingles

SCRIPTS = Path(__file__).parents[2] / "scripts"
BANDING = Banding(0.85, 128)
PAIR = hashing.word_hashes(["old", "mill"])

# what the kernels treat themselves, and what stands at its edges
PIECES = re.split(
    " ",
    "what's it`s It’s let's she's the'd can't couldn't've n't 'tis x's we’re WHO'S \u2018so\u2019 rock'n'roll it's's "
    "3.5 3.5.7 .5 3-4 -3 (2)*x 2 %4 a_b _1 __ C# # #3 C++ a-b a--b -b naïve GRÖSSE Straße ÉÀ é'd × ÷ ² “q” ‚‛„‟ … ‹› "
    "bak-\nery x-\r\n it's-\n\u00a0\u00e9 a-\n3 b-\n\nc sec\u00ad\nond \u200d \u200c \ufe0f \ufeff "
    "नमस्ते வணக்கம் مَرْحَبًا ภาษาไทย Ви́лка"
    " — – ‑ • † \u00a0 \u202f \u2009 \u200b \u2028 \x00 \x1c \x7f \t \n $ ^ ~ | 日本 ё \u0301 ﬁ ʼ 🙂 İ ſ K ?! ... "
    "→ ✅ ✔\ufe0f ❤\ufe0fok ✅\u200d a→b 3→-3 →'s n✅'t 👩\u200d🚀 👍🏽 🄰 Ⓐ ① ⟨a⟩ ∑ ∑' ═ ⠿ ≠ 1\ufe0f\u20e3 ™ → - 3 ∞*2 ➕#",
)
MIXED = st.lists(st.sampled_from([*PIECES, " ", "plan", "the", ".", "-", "'"]), max_size=25).map("".join)
SPACED = st.lists(st.sampled_from([*PIECES, "plan", "the", "of"]), max_size=25).map(" ".join)
TEXTS = st.lists(st.one_of(MIXED, SPACED, st.text(max_size=40), st.text("ab'-. 3*", max_size=25)), max_size=12)


@contextmanager
def worth(count: int):
    with patch.object(kernels, "WORTH", count):
        yield


def measured(strings: pa.StringArray) -> list[np.ndarray]:
    words = kernels.tokens(strings)
    return [
        *kernels.counts(strings),
        *(kernels.repeated_shares(words, size) for size in (1, 2, 4)),
        kernels.normal_digests(words),
        kernels.band_hashes(words, BANDING),
        *kernels.shingle_sets(words),
    ]


def heads(strings: pa.StringArray) -> list[list[int]]:
    words = kernels.tokens(strings)
    return [
        words.heads[begin : begin + count].tolist() for begin, count in zip(words.begins, words.counts, strict=True)
    ]


@settings(max_examples=400, deadline=None)
@given(TEXTS)
@example(["", " ", "?!", "? !", "?  !"])
def test_kernels_agree_with_the_plain_functions(texts):
    strings = pa.array(["cut off", *texts], pa.string())[1:]
    with worth(0):
        fast, fast_heads = measured(strings), heads(strings)
    with worth(10**9):
        plain, plain_heads = measured(strings), heads(strings)
    assert fast_heads == plain_heads
    assert all(np.array_equal(one, other) for one, other in zip(fast, plain, strict=True))
    assert fast[0].tolist() == list(map(count_words, texts))
    assert fast[1].tolist() == list(map(count_contractions, texts))
    assert fast[4].tolist() == [repeated_share(text, 4) for text in texts]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(SPACED, st.text("aB'`-. 3*#", max_size=12)), min_size=2, max_size=8))
def test_digests_and_shingles_are_equal_where_the_truth_is(texts):
    with worth(0):
        words = kernels.tokens(pa.array(texts))
        digests, sets = kernels.normal_digests(words), kernels.shingle_sets(words)
    for one in range(len(texts)):
        assert sets.starts[one + 1] - sets.starts[one] == len(shingles(texts[one]))
        for other in range(one):
            same = normal_form(texts[one]) == normal_form(texts[other])
            assert (digests[one] == digests[other]).all() == same


SIGNS = [chr(code) for first, last in ((0x80, 0x3100), (0x1F000, 0x20000)) for code in range(first, last)]


@pytest.mark.parametrize("around", ["{}", "a{}b", "3{}-3", "it{}'s {} 4{}", "x-{}\ny {}\ufe0f{}"])
def test_kernels_agree_on_every_sign(around):
    strings = pa.array([around.replace("{}", sign) for sign in SIGNS])
    with worth(0):
        fast, fast_heads = kernels.counts(strings), heads(strings)
        digests = kernels.normal_digests(kernels.tokens(strings))
    with worth(10**9):
        plain, plain_heads = kernels.counts(strings), heads(strings)
        truth = kernels.normal_digests(kernels.tokens(strings))
    assert fast_heads == plain_heads
    assert all(np.array_equal(one, other) for one, other in zip((*fast, digests), (*plain, truth), strict=True))


@pytest.mark.parametrize("kind", ["ascii", "latin", "signs", "other"])
def test_the_kernels_take_what_they_should(kind):
    """Texts that the kernels leave out would still be right, but slow."""
    texts = {
        "ascii": "It's a plan, isn't it? 3*4!",
        "latin": "Straße — “naïve” … l’été",
        "signs": "→ ✅ 🙂 ❤\ufe0f",
        "other": "план",
    }
    strings = pa.array([texts[kind]] * 3)
    with worth(0), patch.object(kernels.text, "count_words", wraps=count_words) as plain:
        kernels.counts(strings)
    assert plain.call_count == (3 if kind == "other" else 0)


def test_any_batch_and_any_choice_of_rows_gives_the_same():
    draw = np.random.default_rng(5)
    words = np.array(["mill", "it's", "Straße", "river", "план", "3.5", "stone", "crew", "of", "the", "?"])
    strings = pa.array([" ".join(draw.choice(words, draw.integers(0, 60))) for _ in range(5_000)])
    with worth(0):
        together = measured(strings)
        parts = [measured(strings[start : start + 999]) for start in range(0, 5_000, 999)]
        rows = np.flatnonzero(draw.random(5_000) < 0.3)
        some = kernels.normal_digests(kernels.tokens(strings).take(rows))
    for place in range(7):
        assert np.array_equal(together[place], np.concatenate([part[place] for part in parts]))
    assert np.array_equal(some, together[5][rows])


@pytest.mark.slow
def test_compiled_code_does_not_outlive_its_sources(tmp_path):
    """numba looks at the file of a function alone; a constant of another file would go stale."""
    copy = tmp_path / "stillhouse"
    shutil.copytree(SCRIPTS / "stillhouse", copy, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import pyarrow as pa; from stillhouse.datasets import kernels; kernels.WORTH = 0;"
        "print(kernels.tokens(pa.array(['mill'])).hashes[0])"
    )
    hashing_file = copy / "datasets" / "hashing.py"
    told = []
    for factor in ("0xBF58476D1CE4E5B9", "0xBF58476D1CE4E5BB"):
        hashing_file.write_text(hashing_file.read_text().replace("0xBF58476D1CE4E5B9", factor))
        run = [sys.executable, "-c", code]
        told.append(subprocess.run(run, check=True, env={"PYTHONPATH": str(tmp_path)}, capture_output=True).stdout)
    assert int(told[0]) == hashing.word_hash("mill") and told[0] != told[1]


def test_all_modules_that_kernels_are_made_of_are_sources_of_their_cache():
    folder = SCRIPTS / "stillhouse" / "datasets"
    made = {path.name for path in folder.glob("*.py") if "datasets.jit import" in path.read_text()}
    taken = {
        f"{name}.py"
        for path in made
        for name in re.findall(r"^from stillhouse\.datasets(?:\.(\w+))? import", (folder / path).read_text(), re.M)
        if name
    }
    assert made | taken | {"greedy.py"} == {*SOURCES, "jit.py"}


def test_few_texts_never_load_numba():
    code = (
        "import sys, pyarrow as pa; from stillhouse.datasets import kernels, near_duplicates, decontaminate;"
        "kernels.counts(pa.array(['a b'] * 1999)); kernels.tokens(pa.array(['a b']));"
        "assert 'numba' not in sys.modules; kernels.counts(pa.array(['a b'] * 2000)); assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(SCRIPTS)})


def test_long_and_empty_texts():
    texts = ["", "x" * 1_000_000, "it's " * 50_000, "a", "\u2026" * 1_000]
    with worth(0):
        fast = measured(pa.array(texts))
    assert fast[0].tolist() == [0, 1, 50_000, 1, 0]
    assert fast[1].tolist() == [0, 0, 50_000, 0, 0]
    assert fast[4].tolist() == [repeated_share(text, 4) for text in texts]


def test_hashes_stay_as_they_are():
    """Signatures of two runs, or of two machines, compare."""
    assert hashing.word_hash("mill") == 0x12578B50EDDDA5F1
    assert hashing.digest(PAIR) == (0x5B8830BC325B4CB0, 0xE48BE3D45035296C)
    assert hashing.run_hashes(PAIR, 2).tolist() == [0xF7B89C6340348757]
    assert hashing.band_hashes(hashing.run_hashes(PAIR, 2), BANDING)[:2].tolist() == [
        0x39D81E56296C0640,
        0xFD4D7581DD768D00,
    ]
