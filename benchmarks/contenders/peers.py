"""What a user would pick instead, on the same rows: each as that library's documentation shows, doing the same work.

python benchmarks/contenders/peers.py NAME FOLDER OUTPUT     NAME: pandas, datasets, datatrove or polars

All take five filters (lengths, markers, contractions, repeated runs of four words, length ratio), drop exact
duplicates and near-duplicates of prompts (MinHash, 128 hash functions, Jaccard 0.85, 3-word shingles), decontaminate
against 1,000 prompts by runs of eight words, shuffle with a seed, split 90 to 10 and write parquet. None of them
verifies near-duplicates by exact similarity, gives reasons for what it drops, or keeps a row's ancestry.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CORES = 2
THRESHOLD, PERMUTATIONS = 0.85, 128
LEAST_WORDS, MOST_WORDS = 15, 300
LEAST_RATIO, MOST_RATIO = 0.2, 8.0
MOST_CONTRACTIONS, MOST_REPEATED = 8.0, 0.2
SEED = 42
COLUMNS = ["id", "prompt", "answer"]
CONTRACTION = r"\w(?:n['’]t|['’](?:re|ve|ll|d|m))\b|\b(?:it|that|what|there|he|she|let)['’]s\b"
ASCII_CONTRACTION = CONTRACTION.replace(r"\b", r"(?-u:\b)")
"""For Rust's regular expressions: with boundaries of ASCII words they are several times as fast."""
_WORD, _CONTRACTION = re.compile(r"\w+"), re.compile(CONTRACTION)


def runs(words: list[str], size: int) -> list[tuple[str, ...]]:
    """All runs of `size` neighbouring words."""
    return list(zip(*(words[place:] for place in range(size)), strict=False))


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return _WORD.findall(text.lower())


def shingles(text: str) -> set[bytes]:
    """3-word shingles, as MinHash libraries take them."""
    words = words_of(text)
    return {" ".join(run).encode() for run in runs(words, 3)} or {" ".join(words).encode()}


def is_good(prompt: str, answer: str, markers: "re.Pattern[str]") -> bool:
    """The five filters on one row."""
    words = answer.split()
    if not LEAST_WORDS <= len(words) <= MOST_WORDS or markers.search(answer):
        return False
    if 100 * len(_CONTRACTION.findall(answer.lower())) / len(words) > MOST_CONTRACTIONS:
        return False
    grams = runs(words_of(answer), 4)
    if grams and 1 - len(set(grams)) / len(grams) > MOST_REPEATED:
        return False
    return LEAST_RATIO <= len(words) / max(len(prompt.split()), 1) <= MOST_RATIO


def held_out_runs(folder: Path) -> set[tuple[str, ...]]:
    """Runs of eight words of the held-out prompts."""
    prompts = json.loads((folder / "held_out.json").read_text())
    return {run for text in prompts for run in runs(words_of(text), 8)}


def marker_pattern(folder: Path) -> str:
    """One regular expression for all markers, without regard to case."""
    listed = json.loads((folder / "markers.yaml").read_text())["markers"]
    return "(?i)" + "|".join(map(re.escape, listed))


def leaks(prompt: str, held_out: set[tuple[str, ...]]) -> bool:
    """Whether a prompt shares a run of eight words with a held-out one."""
    return any(run in held_out for run in runs(words_of(prompt), 8))


def first_of_each(signatures: Iterable[object]) -> list[int]:
    """datasketch's MinHashLSH: rows without an earlier near-duplicate."""
    from datasketch import MinHashLSH

    index, kept = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), []
    for number, signature in enumerate(signatures):
        if not index.query(signature):
            index.insert(number, signature)
            kept.append(number)
    return kept


def pandas(folder: Path, output: Path) -> None:
    """pandas and datasketch."""
    import pandas as pd
    from datasketch import MinHash

    rows = pd.read_parquet(folder / "answers.parquet", columns=COLUMNS)
    words = rows.answer.str.count(r"\S+")
    rows = rows[words.between(LEAST_WORDS, MOST_WORDS)]
    rows = rows[~rows.answer.str.contains(marker_pattern(folder), regex=True)]
    words = rows.answer.str.count(r"\S+")
    rows = rows[100 * rows.answer.str.lower().str.count(CONTRACTION) / words <= MOST_CONTRACTIONS]
    grams = rows.answer.map(lambda text: runs(words_of(text), 4))
    rows = rows[grams.map(lambda own: 1 - len(set(own)) / len(own) if own else 0.0) <= MOST_REPEATED]
    del grams
    ratio = rows.answer.str.count(r"\S+") / rows.prompt.str.count(r"\S+")
    rows = rows[ratio.between(LEAST_RATIO, MOST_RATIO)]
    normal = rows.prompt.str.lower().str.findall(r"\w+").str.join(" ")
    rows = rows[~normal.duplicated()]
    signatures = MinHash.generator([shingles(text) for text in rows.prompt], num_perm=PERMUTATIONS)
    rows = rows.iloc[first_of_each(signatures)]
    held_out = held_out_runs(folder)
    rows = rows[~rows.prompt.map(lambda text: leaks(text, held_out))]
    rows = rows.sample(frac=1.0, random_state=SEED)
    cut = int(0.9 * len(rows))
    rows.iloc[:cut].to_parquet(output / "train.parquet")
    rows.iloc[cut:].to_parquet(output / "valid.parquet")


def datasets(folder: Path, output: Path) -> None:
    """Hugging Face datasets, two processes, and datasketch."""
    from datasets import load_dataset
    from datasketch import MinHash

    cache = str(output / "cache")
    file = str(folder / "answers.parquet")
    rows = load_dataset("parquet", data_files=file, split="train", columns=COLUMNS, cache_dir=cache)
    markers, held_out = re.compile(marker_pattern(folder)), held_out_runs(folder)

    def passes(batch: dict[str, list[str]]) -> list[bool]:
        pairs = zip(batch["prompt"], batch["answer"], strict=True)
        return [is_good(prompt, answer, markers) and not leaks(prompt, held_out) for prompt, answer in pairs]

    def described(batch: dict[str, list[str]]) -> dict[str, list[object]]:
        found = MinHash.bulk([shingles(text) for text in batch["prompt"]], num_perm=PERMUTATIONS)
        return {
            "normal": [" ".join(words_of(text)) for text in batch["prompt"]],
            "signature": [one.hashvalues for one in found],
        }

    rows = rows.filter(passes, batched=True, num_proc=CORES)
    rows = rows.map(described, batched=True, num_proc=CORES)
    seen: set[str] = set()
    first = [number for number, text in enumerate(rows["normal"]) if not (text in seen or seen.add(text))]
    rows = rows.select(first)
    scheme = MinHash(num_perm=PERMUTATIONS).scheme
    numpy_rows = rows.with_format("numpy", columns=["signature"])
    kept = first_of_each(
        MinHash(num_perm=PERMUTATIONS, hashvalues=one, scheme=scheme)
        for batch in numpy_rows.iter(1_000)
        for one in batch["signature"]
    )
    rows = rows.select(kept).remove_columns(["normal", "signature"])
    parts = rows.shuffle(seed=SEED).train_test_split(test_size=0.1, seed=SEED)
    parts["train"].to_parquet(output / "train.parquet")
    parts["test"].to_parquet(output / "valid.parquet")


def datatrove(folder: Path, output: Path) -> None:
    """datatrove's MinHash pipeline with a tokenizer that parts at spaces (its default takes several times longer)."""
    import numpy as np
    import pyarrow.parquet as pq
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    _shared_out(folder, output / "in")
    markers, held_out, work = re.compile(marker_pattern(folder)), held_out_runs(folder), output / "work"
    passing = [
        ParquetReader(str(output / "in"), text_key="prompt", id_key="id", doc_progress=False),
        LambdaFilter(lambda one: is_good(one.text, one.metadata["answer"], markers)),
        LambdaFilter(lambda one: not leaks(one.text, held_out)),
        ParquetWriter(str(work / "passed")),
    ]
    for number, (steps, tasks) in enumerate([(passing, CORES), *_minhash_steps(work)]):
        LocalPipelineExecutor(steps, tasks=tasks, workers=CORES, logging_dir=str(work / f"log{number}")).run()
    rows = pq.read_table(work / "kept")
    rows = rows.take(np.random.default_rng(SEED).permutation(len(rows)))
    cut = int(0.9 * len(rows))
    pq.write_table(rows[:cut], output / "train.parquet")
    pq.write_table(rows[cut:], output / "valid.parquet")


def _shared_out(folder: Path, target: Path) -> None:
    """The rows in one file a process, as datatrove shares work by files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    target.mkdir()
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    writers = [pq.ParquetWriter(target / f"{number}.parquet", schema) for number in range(CORES)]
    with pq.ParquetFile(folder / "answers.parquet") as file:
        for number, batch in enumerate(file.iter_batches(10_000, columns=COLUMNS)):
            writers[number % CORES].write_batch(batch)
    for writer in writers:
        writer.close()


def _minhash_steps(work: Path) -> list[tuple[list[Any], int]]:
    """The four steps of datatrove's MinHash example, and the number of tasks of each."""
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Spaces(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    # 9 bands of 14 hash functions have their step at 0.85, as datasketch's choice for this threshold has
    config = MinhashConfig(n_grams=3, num_buckets=9, hashes_per_bucket=14, seed=SEED)
    passed, signatures, buckets, remove = (str(work / name) for name in ("passed", "signatures", "buckets", "remove"))
    return [
        ([ParquetReader(passed), MinhashDedupSignature(signatures, config, Spaces())], CORES),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets),
        ([MinhashDedupCluster(buckets, remove, config=config)], 1),
        ([ParquetReader(passed), MinhashDedupFilter(remove), ParquetWriter(str(work / "kept"))], CORES),
    ]


def polars(folder: Path, output: Path) -> None:
    """polars, numpy and rensa: a short script of somebody who knows all three."""
    import numpy as np
    import polars as pl
    from rensa import RMinHash, RMinHashLSH

    def run_hashes(texts: "pl.Series", size: int) -> tuple["np.ndarray", "np.ndarray"]:
        """uint64 hashes of all runs of `size` words of all texts, and where each text's begin."""
        words = texts.str.to_lowercase().str.replace_all(r"[^\w\s]", "").str.split(" ")
        lengths = words.list.len().to_numpy().astype(np.int64)
        hashed = words.explode(empty_as_null=True).hash(seed=1).to_numpy()
        value, count = hashed[: len(hashed) - size + 1].copy(), np.maximum(lengths - size + 1, 0)
        for place in range(1, size):
            value = value * np.uint64(0x9E3779B97F4A7C15) + hashed[place : len(hashed) - size + 1 + place]
        ends, starts = np.cumsum(count), np.cumsum(lengths) - lengths
        within = np.arange(ends[-1]) - np.repeat(ends - count, count)
        return value[np.repeat(starts, count) + within], np.concatenate([[0], ends])

    def repeated(texts: "pl.Series") -> "pl.Series":
        parts = []
        for start in range(0, len(texts), 50_000):
            values, offsets = run_hashes(texts[start : start + 50_000], 4)
            counts = np.diff(offsets)
            rows = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
            ordered = np.sort((values >> np.uint64(17) << np.uint64(17)) ^ rows)  # np.unique takes ten times as long
            different = ordered[np.append(True, ordered[1:] != ordered[:-1])] & np.uint64(0x1FFFF)
            parts.append(1 - np.bincount(different.astype(np.int64), minlength=len(counts)) / np.maximum(counts, 1))
        return pl.Series(np.concatenate(parts))

    answer, words = pl.col("answer"), pl.col("answer").str.count_matches(r"\S+")
    rows = pl.read_parquet(folder / "answers.parquet", columns=COLUMNS)
    rows = rows.filter(
        words.is_between(LEAST_WORDS, MOST_WORDS),
        ~answer.str.contains(marker_pattern(folder)),
        100 * answer.str.to_lowercase().str.count_matches(ASCII_CONTRACTION) / words <= MOST_CONTRACTIONS,
        (words / pl.col("prompt").str.count_matches(r"\S+")).is_between(LEAST_RATIO, MOST_RATIO),
    )
    rows = rows.filter(repeated(rows["answer"]) <= MOST_REPEATED)
    normal = pl.col("prompt").str.to_lowercase().str.replace_all(r"[^\w\s]", "")
    rows = rows.unique(normal.hash(seed=2).alias("normal"), keep="first", maintain_order=True)
    values, offsets = run_hashes(rows["prompt"], 3)
    digests = RMinHash.digest_matrix_from_flat_token_hashes(values, offsets.astype(np.uint64), PERMUTATIONS, SEED)
    index = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=16)
    flagged = np.array(index.query_duplicate_flags_matrix_one_shot(digests))
    # rensa flags first copies, too: those it flags are looked at once more, one after the other
    index, keep = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=16), ~flagged
    for row in np.flatnonzero(flagged):
        sketch = RMinHash(num_perm=PERMUTATIONS, seed=SEED)
        sketch.update(values[offsets[row] : offsets[row + 1]].astype("S20").tolist())
        if not index.query(sketch):
            index.insert(int(row), sketch)
            keep[row] = True
    rows = rows.filter(pl.Series(keep))
    known, _ = run_hashes(pl.Series(json.loads((folder / "held_out.json").read_text())), 8)
    values, offsets = run_hashes(rows["prompt"], 8)
    hits = np.concatenate([[0], np.cumsum(np.isin(values, known))])
    rows = rows.filter(pl.Series(hits[offsets[1:]] == hits[offsets[:-1]])).sample(fraction=1.0, shuffle=True, seed=SEED)
    cut = int(0.9 * len(rows))
    rows[:cut].write_parquet(output / "train.parquet")
    rows[cut:].write_parquet(output / "valid.parquet")


PEERS = {"pandas": pandas, "datasets": datasets, "datatrove": datatrove, "polars": polars}

if __name__ == "__main__":
    PEERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
