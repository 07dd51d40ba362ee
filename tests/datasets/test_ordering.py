"""`ordering.order_of` is `numpy.lexsort`, whatever the keys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.datasets.ordering import order_of

TYPES = (np.int8, np.int16, np.int32, np.int64, np.uint64, np.float64)


@st.composite
def keys(draw):
    rows = draw(st.integers(0, 60))
    seed = draw(st.integers(0, 2**32))
    random = np.random.default_rng(seed)
    made = []
    for _ in range(draw(st.integers(1, 4))):
        kind, spread = draw(st.sampled_from(TYPES)), draw(st.sampled_from([1, 3, 40, 100]))
        values = random.integers(0, spread, rows).astype(kind)
        if kind is np.float64:
            values[random.random(rows) < draw(st.sampled_from([0.0, 0.3]))] = np.nan
        made.append(values)
    return made


@given(keys())
def test_as_lexsort(own):
    assert order_of(*own).tolist() == np.lexsort(own).tolist()


@pytest.mark.parametrize("spread", [10, 50_000, 2**60])
def test_as_lexsort_of_many_rows(spread):
    random = np.random.default_rng(spread)
    rows = 50_000
    own = (
        random.integers(0, 5, rows),
        random.integers(0, spread, rows).astype(np.uint64),
        random.integers(0, 3, rows).astype(np.int8),
    )
    assert np.array_equal(order_of(*own), np.lexsort(own))
