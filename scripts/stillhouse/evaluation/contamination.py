"""Which evaluation prompts stand in the data that a subject was trained on.

Read from the datasets' own files: train.parquet (`prompt_id`, and `prompt` as messages) and report.json. A prompt counts
when its prompt_id is there, or its text without regard to case, punctuation and spacing. Near-duplicates are the
datasets' own business: their report says what decontamination took out.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from stillhouse.provenance.files import stream_parquet_rows

_BETWEEN = re.compile(r"[\s.,;:!?\u2026'\"`\u2018-\u201f\u00ab\u00bb()\[\]{}\u2010-\u2015]+")
"""What stands between words. Signs that change what is asked stay: C# is not C, 3*4 is not 3+4."""


@dataclass(frozen=True)
class Held:
    """The evaluation's prompts: normal text by prompt_id, None where only judgements are known and no text is."""

    prompts: Mapping[str, str | None]

    @classmethod
    def of(cls, prompt_ids: Iterable[str], answers: Iterable[Mapping[str, Any]]) -> "Held":
        """Out of all prompt_ids of an evaluation and its answers, which carry the text."""
        texts = {row["prompt_id"]: row["prompt"] for row in answers}
        prompts = sorted(set(prompt_ids) | set(texts))
        return cls({prompt: normal_text(texts[prompt]) if prompt in texts else None for prompt in prompts})


def normal_text(text: str) -> str:
    """`text` without what spelling changes: NFKC, case folded, no sentence marks, words parted by one space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _BETWEEN.sub(" ", folded).strip() or text.strip()


def contamination(
    datasets: Mapping[str, list[str]], trained: Mapping[str, Path], decontaminated: Collection[str], held: Held
) -> dict[str, Any]:
    """By subject with training data in the study: how many of the evaluation's prompts are in it.

    `datasets` names each subject's datasets, `trained` each dataset's train.parquet, `decontaminated` the datasets that
    the study holds against this evaluation. A dataset's report.json is not read: it changes with filters that take the
    same rows, and then nothing after the dataset may be made again. Raises `InputError` for files that are no dataset's.
    """
    books = {name: _inspect(file, held) for name, file in sorted(trained.items())}
    subjects = {name: [key for key in keys if key in books] for name, keys in datasets.items()}
    found = {
        name: {
            "dataset": ", ".join(keys),
            "exact": len(frozenset().union(*(books[key] for key in keys))),
            "prompts": len(held.prompts),
            "decontaminated": all(key in decontaminated for key in keys),
        }
        for name, keys in subjects.items()
        if keys
    }
    unread = [name for name, keys in datasets.items() if len(subjects[name]) < len(keys)]
    return {"checked": bool(found) and not unread, "trained": found, "words": _words(found, unread)}


def _inspect(train: Path, held: Held) -> frozenset[str]:
    """The evaluation's prompts that are in a dataset's training rows."""
    texts: dict[str, list[str]] = {}
    for prompt, text in held.prompts.items():
        if text:
            texts.setdefault(text, []).append(prompt)
    found: set[str] = set()
    for prompt, asked in _rows(train):
        found |= {prompt} & held.prompts.keys()
        for text in asked:
            found.update(texts.get(normal_text(text), ()))
    return frozenset(found)


def _rows(train: Path) -> Iterator[tuple[str, list[str]]]:
    """(prompt_id, texts to compare) of every training row: the conversation, and each of the user's turns."""
    try:
        for row in stream_parquet_rows(train, ["prompt_id", "prompt"]):
            messages = [message for message in row["prompt"] if message["role"] != "system"]
            turns = [message["content"] for message in messages if message["role"] == "user"]
            yield row["prompt_id"], list(dict.fromkeys(["\n".join(m["content"] for m in messages), *turns]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{train}: no training rows with prompt_id and prompt: {error}") from None


def _words(found: Mapping[str, Mapping[str, Any]], unread: list[str]) -> str:
    """One or more sentences for the headline."""
    missing = f"The training data of {listed(unread)} could not be checked." if unread else ""
    if not found:
        return missing or "No subject's training data is part of this study: contamination was not checked."
    told = contaminated(found) or _clean(found)
    return " ".join([*(f"{sentence}." for sentence in told), missing]).strip()


def _clean(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """No more than was looked for: decontamination alone finds near-duplicates."""
    nearly = {True: "", False: " (near-duplicates were not looked for)"}
    groups = {looked: [name for name, told in found.items() if told["decontaminated"] is looked] for looked in nearly}
    return [
        f"No evaluation prompt is word for word in the training data of {listed(names)}{nearly[looked]}"
        for looked, names in groups.items()
        if names
    ]


def contaminated(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What to say of subjects that were trained on prompts of the evaluation; `found` is the block `trained`.

    Sentences without a full stop, one for the subjects of one dataset.
    """
    groups: dict[tuple[str, int, int], list[str]] = {}
    for name, told in found.items():
        if told["exact"]:
            groups.setdefault((told["dataset"], told["exact"], told["prompts"]), []).append(name)
    return [
        f"{exact} of {prompts} evaluation prompts {'is' if exact == 1 else 'are'} in the training data of "
        f"{listed(names)} (dataset {dataset})"
        for (dataset, exact, prompts), names in groups.items()
    ]


def listed(names: list[str]) -> str:
    """Names as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
