"""What is kept of every row between the passes: small numbers, none of its text."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

ALIVE = 0
"""The fate of a row that nothing has dropped."""

STAGES = ("filters", "duplicates", "decontamination", "pairing", "mix", "splits")
"""The stages that drop rows, in the order in which rows pass them."""


@dataclass(frozen=True)
class Fate:
    """Where a row went and why, as report.json and dropped.parquet tell it."""

    stage: str
    reason: str


class Fates:
    """Numbers for fates: what stands in an array for each row. 0 is `ALIVE`."""

    def __init__(self) -> None:
        self.named: list[Fate | None] = [None]
        self._numbers: dict[Fate, int] = {}

    def number(self, stage: str, reason: str) -> int:
        """The number of a fate, given out on its first use."""
        fate = Fate(stage, reason)
        if fate not in self._numbers:
            self._numbers[fate] = len(self.named)
            self.named.append(fate)
        return self._numbers[fate]

    def of_stage(self, stage: str) -> np.ndarray:
        """Numbers of a stage's fates."""
        return np.array([n for fate, n in self._numbers.items() if fate.stage == stage], np.int16)


class Vocabulary:
    """Codes for the few different values of a column; -1 is null."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._codes: dict[str, int] = {}

    def encode(self, column: pa.Array) -> np.ndarray:
        """int32 codes of a text column."""
        encoded = column.dictionary_encode()
        codes = np.array([self._code(word) for word in encoded.dictionary.to_pylist()], np.int32)
        places = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.append(codes, np.int32(-1))[places]

    def sort(self, codes: np.ndarray) -> np.ndarray:
        """Sort the words, so that their codes no longer tell which was met first; returns `codes` as they are now."""
        order = sorted(range(len(self.words)), key=self.words.__getitem__)
        now = np.empty(len(order) + 1, np.int32)
        now[order], now[-1] = np.arange(len(order)), -1
        self.words = [self.words[place] for place in order]
        self._codes = {word: code for code, word in enumerate(self.words)}
        return now[codes]

    def _code(self, word: str) -> int:
        if word not in self._codes:
            self._codes[word] = len(self.words)
            self.words.append(word)
        return self._codes[word]


@dataclass
class Facts:
    """Arrays with one value for each row of all sources, source after source, in file order."""

    starts: list[int]
    """First row of each source, and the number of all rows."""
    source: np.ndarray
    keys: np.ndarray
    sample: np.ndarray
    fate: np.ndarray
    words: np.ndarray
    asked: np.ndarray
    """Words of the prompt."""
    category: np.ndarray
    times: np.ndarray
    """How often each row shall stand in the dataset."""
    level: np.ndarray
    """Code of what a curriculum sorts by; -1 without."""
    form: np.ndarray
    """uint64 [rows, 2]: digest of the compared text's normal form; no columns where nothing is compared."""
    settings: np.ndarray
    """uint64: `Batch.settings`, in which rows must agree to be duplicates; 0 where they need not."""
    place: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """Place in a total order that does not know in which order the rows were read."""

    def __len__(self) -> int:
        return len(self.source)

    @property
    def alive(self) -> np.ndarray:
        """Mask of the rows that nothing has dropped."""
        return self.fate == ALIVE
