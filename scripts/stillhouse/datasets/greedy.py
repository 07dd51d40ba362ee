"""The choice among similar rows, as a loop over arrays: Python runs it for few rows, numba compiles it for many."""

import numpy as np


def choose(
    order: np.ndarray,
    groups: np.ndarray,
    begins: np.ndarray,
    values: np.ndarray,
    starts: np.ndarray,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Take rows in order; one stays unless it is too similar to one that stays.

    Args:
        order: int64, numbers of rows in the order of keeping.
        groups: int64[rows, bands], the group in which a row meets others, -1 for none.
        begins: int64[groups + 1], how many members the groups before each have.
        values: uint64, the sorted shingle hashes of all rows, one row after the other.
        starts: int64[rows + 1], where each row's shingles begin in `values`.
        threshold: Jaccard similarity from which two rows are too similar.

    Returns:
        By row: the first row that stays and is so similar (int64; -1: the row stays itself), and how similar.
    """
    rows, bands = groups.shape
    ends = begins.copy()  # of the rows of a group that stay, in order
    staying = np.empty(begins[-1], np.int64)
    kept, near = np.full(rows, -1, np.int64), np.zeros(rows, np.float64)
    ranks, seen = np.zeros(rows, np.int64), np.full(rows, -1, np.int64)
    for rank in range(order.size):
        row, best = order[rank], rank
        ranks[row] = rank
        size = starts[row + 1] - starts[row]
        for band in range(bands):
            group = groups[row, band]
            if group < 0:
                continue
            for member in range(begins[group], ends[group]):
                other = staying[member]
                if ranks[other] >= best:
                    break
                its = starts[other + 1] - starts[other]
                if seen[other] == rank or min(size, its) < threshold * max(size, its):
                    continue
                seen[other] = rank
                first, second, both = starts[row], starts[other], 0
                while first < starts[row + 1] and second < starts[other + 1]:
                    one, two = values[first], values[second]
                    both += one == two
                    first += one <= two
                    second += two <= one
                similarity = both / (size + its - both)
                if similarity >= threshold:
                    best, kept[row], near[row] = ranks[other], other, similarity
                    break
        if kept[row] < 0:
            for band in range(bands):
                group = groups[row, band]
                if group >= 0:
                    staying[ends[group]] = row
                    ends[group] += 1
    return kept, near
