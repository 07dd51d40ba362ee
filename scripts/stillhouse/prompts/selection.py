"""Which records of a set are its prompts: copies, doubled ids, categories, the sample and the limit.

A scan leaves some fifty bytes a record here; the texts are read again, of what is taken only. Everything is decided by
what a record holds and never by its place, so that the order of rows and files changes nothing.
"""

from array import array
from dataclasses import dataclass
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from stillhouse.prompts.flaws import REASONS
from stillhouse.provenance.digests import digest_text

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]

_REASONS = ("", *REASONS)
_HALVES = Struct(">QQ")


class Scan:
    """What is remembered of every record, by its number: identities, and whether it is sound, wanted and taken down."""

    def __init__(self) -> None:
        self.prompts, self.contents, self.lines = array("Q"), array("Q"), array("Q")
        self.ids, self.answers = (array("Q"), array("Q")), array("Q")
        self.flaws, self.wanted, self.hits = array("B"), array("B"), array("B")

    def __len__(self) -> int:
        return len(self.flaws)

    def add(
        self, line: int, prompt: int, identity: bytes, content: int, answer: int = 0, *, wanted: bool, hit: bool
    ) -> None:
        """Enter a sound record; `identity` are 16 bytes of a digest of its id, `answer` is 0 where it holds none."""
        self._append(line, prompt, identity, content, answer, 0)
        self.wanted.append(wanted)
        self.hits.append(hit)

    def add_flawed(self, line: int, reason: str) -> None:
        """Enter a record that cannot be used."""
        self._append(line, 0, bytes(16), 0, 0, code_of(reason))
        self.wanted.append(False)
        self.hits.append(False)

    def _append(self, line: int, prompt: int, identity: bytes, content: int, answer: int, flaw: int) -> None:
        self.lines.append(line)
        self.prompts.append(prompt)
        high, low = _HALVES.unpack(identity)
        self.ids[0].append(high)
        self.ids[1].append(low)
        self.contents.append(content)
        self.answers.append(answer)
        self.flaws.append(flaw)


def reason_of(code: int) -> str:
    """The reason behind a number of `Scan.flaws`."""
    return _REASONS[code]


def code_of(reason: str) -> int:
    """The number of a reason in `Scan.flaws`."""
    return _REASONS.index(reason)


@dataclass(frozen=True)
class Copies:
    """The records that stay of each prompt, sorted by prompt_id, and what the others are."""

    staying: Numbers
    repeated: Numbers
    same_prompt: Numbers
    same_id: Numbers


def find_copies(scan: Scan, *, recorded: bool) -> Copies:
    """One record of each prompt, and one prompt of each id.

    Of copies of a prompt the one with the smallest digest of its id, then of all else, stays; of prompts with one id
    that with the smallest prompt_id. With `recorded` the first copy stays, and those with its id are repetitions.
    """
    prompts, (high, low), contents = _words(scan.prompts), [_words(part) for part in scan.ids], _words(scan.contents)
    sound = np.flatnonzero(np.frombuffer(scan.flaws, np.uint8) == 0)
    keys = () if recorded else (contents[sound], low[sound], high[sound])
    order = sound[np.lexsort((sound, *keys, prompts[sound]))]
    first = _first_of_each(prompts[order])
    owners = order[first][np.cumsum(first) - 1]
    others, owners = order[~first], owners[~first]
    same = (high[others] == high[owners]) & (low[others] == low[owners]) & recorded
    heads = order[first]
    by_id = heads[np.lexsort((prompts[heads], low[heads], high[heads]))]
    one = _first_of_each(high[by_id], low[by_id])
    staying = by_id[one]
    return Copies(staying[np.argsort(prompts[staying])], others[same], others[~same], by_id[~one])


def find_answers(scan: Scan) -> Copies:
    """One record of each prompt and answer, sorted by both; the others are repetitions.

    Of copies that with the smallest digest of its id, then of all else, stays. An id may stand for one prompt only: that
    with the smallest prompt_id.
    """
    prompts, answers, (high, low) = _words(scan.prompts), _words(scan.answers), [_words(part) for part in scan.ids]
    sound = np.flatnonzero(np.frombuffer(scan.flaws, np.uint8) == 0)
    keys = [part[sound] for part in (_words(scan.contents), low, high, answers, prompts)]
    order = sound[np.lexsort((sound, *keys))]
    first = _first_of_each(prompts[order], answers[order])
    heads, none = order[first], np.empty(0, np.int64)
    by_id = heads[np.lexsort((prompts[heads], low[heads], high[heads]))]
    begins = _first_of_each(high[by_id], low[by_id])
    owners = by_id[begins][np.cumsum(begins) - 1]
    stranger = prompts[by_id] != prompts[owners]
    staying = by_id[~stranger]
    return Copies(staying[np.lexsort((answers[staying], prompts[staying]))], order[~first], none, by_id[stranger])


def first_shared_id(scan: Scan) -> tuple[int, int, str]:
    """The first record in the files' order whose id was another prompt's: (record, the first one with the id, `id`)."""
    prompts, numbers = _words(scan.prompts), np.flatnonzero(np.frombuffer(scan.flaws, np.uint8) == 0)
    ids = np.stack([_words(part)[numbers] for part in scan.ids], axis=1)
    _, first, group = np.unique(ids, axis=0, return_index=True, return_inverse=True)
    earlier = numbers[first[group.ravel()]]
    place = int(np.flatnonzero(prompts[numbers] != prompts[earlier])[0])
    return int(numbers[place]), int(earlier[place]), "id"


def first_repeat(scan: Scan, copies: Copies) -> tuple[int, int, str]:
    """The first record in the files' order that doubles an earlier one: (record, earlier one, `id` or `prompt`).

    Raises `ValueError` where none does.
    """
    sound = np.frombuffer(scan.flaws, np.uint8) == 0
    sound[copies.repeated] = False
    numbers = np.flatnonzero(sound)
    ids = np.stack([_words(part)[numbers] for part in scan.ids], axis=1)
    found = []
    for kind, keys in (("id", ids), ("prompt", _words(scan.prompts)[numbers][:, None])):
        _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        doubled = np.flatnonzero(first[group.ravel()] != np.arange(len(numbers)))
        if len(doubled):
            found.append((int(numbers[doubled[0]]), int(numbers[first[group.ravel()[doubled[0]]]]), kind))
    return min(found, key=lambda repeat: (repeat[0], repeat[2]))


def _words(numbers: "array[int]") -> Words:
    return np.frombuffer(numbers, np.uint64)


def _first_of_each(*keys: Words) -> NDArray[np.bool_]:
    """Whether each place of sorted keys begins a new one."""
    begins = np.zeros(len(keys[0]), bool)
    begins[:1] = True
    for key in keys:
        begins[1:] |= key[1:] != key[:-1]
    return begins


def ranks(prompts: Words, seed: int) -> Words:
    """The place of each prompt in the draw of a seed: a mix of its prompt_id, without ties.

    The finaliser of splitmix64 (Steele, Lea and Flood 2014, https://doi.org/10.1145/2714064.2660195).
    """
    mixed = prompts ^ np.uint64(int(digest_text(f"sample {seed}")[:16], 16))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def draw(prompts: Words, size: int, seed: int) -> NDArray[np.bool_]:
    """The sample: those of the smallest ranks.

    Every prompt has the same chance, whatever its place. A prompt that is added can push out one other at most, and
    does so with the chance of its own being drawn; a smaller sample of the same seed is a part of a larger one.
    """
    if size >= len(prompts):
        return np.ones(len(prompts), bool)
    order = ranks(prompts, seed)
    return order <= np.partition(order, size - 1)[size - 1]
