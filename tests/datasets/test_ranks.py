"""Keys and seeded ranks of prompts."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.datasets.ranks import mixed, prompt_keys, rank64
from stillhouse.provenance.digests import digest_text

IDS = st.lists(st.text("0123456789abcdef", min_size=16, max_size=18) | st.text(max_size=20), max_size=12)


@settings(deadline=None)
@given(IDS, st.integers(0, 3))
def test_keys_are_the_first_digits_or_a_digest(ids, skipped):
    def key(one: str) -> int:
        digits = set(one[:16]) <= set("0123456789abcdef") and len(one.encode()) >= 16
        return int(one[:16] if digits else digest_text(one)[:16], 16)

    column = pa.array(ids, pa.string()).slice(min(skipped, len(ids)))
    assert prompt_keys(column).tolist() == [key(one) for one in ids[skipped:]]


def test_mixing_is_one_to_one_and_even():
    ranks = mixed(np.arange(100_000, dtype=np.uint64))
    assert len(np.unique(ranks)) == 100_000
    assert np.bincount((ranks >> np.uint64(60)).astype(int), minlength=16).std() < 150


def test_seed_and_purpose_count():
    keys = np.arange(50, dtype=np.uint64)
    orders = [np.argsort(rank64(seed, why, keys)).tolist() for seed, why in ((1, "mix"), (2, "mix"), (1, "split"))]
    assert orders[0] != orders[1] and orders[0] != orders[2] and orders[1] != orders[2]
