"""Seeded places in a shuffle: of a prompt alone, so that no other row moves it."""

import numpy as np
import pyarrow as pa

from stillhouse.provenance.digests import digest_text

KEY_DIGITS = 16
_NO_DIGIT = 255
_DIGITS = np.full(256, _NO_DIGIT, np.uint8)
_DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def prompt_keys(prompt_ids: pa.StringArray) -> np.ndarray:
    """The first 16 hex digits of every prompt_id as uint64; an id of another form counts by its digest."""
    offsets = np.frombuffer(prompt_ids.buffers()[1], np.int32)[prompt_ids.offset :][: len(prompt_ids) + 1]
    keys = np.zeros(len(prompt_ids), np.uint64)
    if not len(prompt_ids):
        return keys
    data = np.frombuffer(prompt_ids.buffers()[2] or b"", np.uint8)
    digital = np.diff(offsets) >= KEY_DIGITS
    for place in range(KEY_DIGITS):
        digit = np.full(len(prompt_ids), _NO_DIGIT, np.uint8)
        digit[digital] = _DIGITS[data[offsets[:-1][digital] + place]]
        digital &= digit != _NO_DIGIT
        keys = (keys << np.uint64(4)) | digit.astype(np.uint64)
    for row in np.flatnonzero(~digital).tolist():
        keys[row] = int(digest_text(prompt_ids[row].as_py())[:KEY_DIGITS], 16)
    return keys


def rank64(seed: int, purpose: str, keys: np.ndarray) -> np.ndarray:
    """Seeded ranks of prompts (uint64, evenly spread) for one purpose, out of their keys."""
    salt = np.uint64(int(digest_text(f"{seed}:{purpose}")[:KEY_DIGITS], 16))
    return mixed(keys.astype(np.uint64) ^ salt)


def mixed(values: np.ndarray) -> np.ndarray:
    """splitmix64's finisher: a one-to-one mix of 64 bits (Steele, Lea, Flood: Fast splittable generators, 2014)."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))
