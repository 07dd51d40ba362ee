"""Passages of a corpus for the models that write answers: chunks by words, BM25, and sources that a prompt names.

Scores are those of bm25s (Lù, 2024), variant of Lucene: its sums run in the order of the question's words, and
passages of one score keep the order of the corpus, so that every machine finds the same.
"""

import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from stillhouse.errors import InputError
from stillhouse.llm.words import search_terms, units_of
from stillhouse.tournament.conversation import asked_text
from stillhouse.tournament.settings import ContextSettings

DIGITS = 4
PROBE, PASSAGE = "the prompt stands here", "the passage stands here"

SHIPPED = """\
These passages may help. Use what bears on the question, leave the rest aside, and answer in your own words.
{% for passage in passages %}

[{{ passage.source }}]
{{ passage.text }}
{% endfor %}

{{ prompt }}"""
"""What stands before a prompt where the study has no template of its own."""


class SourceError(Exception):
    """A source that a prompt names cannot be given; the text says which and why."""


@dataclass(frozen=True)
class Passage:
    """A part of a source: chunk number from 0 and BM25 score, both None where the whole file was asked for by name."""

    source: str
    chunk: int | None
    score: float | None
    text: str

    def plain(self) -> dict[str, Any]:
        """As the column `context` keeps it."""
        return {"source": self.source, "chunk": self.chunk, "score": self.score, "text": self.text}


def chunks_of(text: str, words: int, overlap: int) -> list[str]:
    """Pieces of at most `words` words, each beginning with the last `overlap` of the one before; layout is kept.

    No piece lies within another: the last one ends with the text. In a script without spaces a character is a word.
    """
    places = units_of(text)
    pieces = []
    for start in range(0, len(places), words - overlap):
        end = min(start + words, len(places))
        pieces.append(text[places[start][0] : places[end - 1][1]])
        if end == len(places):
            break
    return pieces


class Library:
    """A corpus with its index, built when first asked, and the template that puts passages before a prompt.

    Args:
        files: the text files of the corpus.
        settings: chunks, `top_k` and `min_score`, and the prompts' key of pinned sources.
        template: Jinja text that is given `passages` (source, chunk, score, text) and `prompt`; None: the shipped one.

    Raises `InputError` when a file is not UTF-8, no file holds a word, or the template leaves out what it is given.
    """

    def __init__(self, files: list[Path], settings: ContextSettings, template: str | None = None) -> None:
        self._settings = settings
        self._texts = dict(sorted(_read(files, Path(settings.context_root)).items()))
        self._chunks = [
            Passage(source, number, None, piece)
            for source, text in self._texts.items()
            for number, piece in enumerate(chunks_of(text, settings.chunk_words, settings.overlap_words))
        ]
        if not any(search_terms(chunk.text) for chunk in self._chunks):
            raise InputError(f"context.corpus {settings.context_root}: no words in its {len(files)} files")
        environment = SandboxedEnvironment(
            undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
        )
        try:
            self._template = environment.from_string(SHIPPED if template is None else template)
        except TemplateError as error:
            raise InputError(f"context.template: {error}") from error
        self._check_template()

    def _check_template(self) -> None:
        told = self.brief(PROBE, [Passage("probe", 0, 1.0, PASSAGE)])
        if PROBE not in told or PASSAGE not in told:
            raise InputError("context.template: it must show {{ prompt }} and the text of each of `passages`")

    @cached_property
    def _index(self) -> Any:
        from bm25s import BM25

        logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG
        index = BM25(method="lucene", backend="numpy")
        index.index([search_terms(chunk.text) for chunk in self._chunks], show_progress=False)
        return index

    def passages(self, row: dict[str, Any]) -> list[Passage]:
        """What a prompt is given: its pinned sources in their order, whole, then the best chunks of the others.

        All that its user says is searched for, not only the last turn.
        Raises `SourceError` when a pinned source is not in the corpus.
        """
        pinned = [Passage(name, None, None, self._texts[name].strip()) for name in self._pinned(row)]
        return [*pinned, *self.search(asked_text(json.loads(row["messages"])), {passage.source for passage in pinned})]

    def search(self, question: str, without: set[str] = frozenset()) -> list[Passage]:
        """At most `top_k` chunks by falling BM25 score, none of the sources `without`.

        Chunks that share no word with the question, and those below `min_score`, are left out.
        """
        import numpy as np

        tokens = search_terms(question)
        if not tokens:
            return []
        scores, found = self._index.get_scores(tokens), []
        for place in np.argsort(-scores, kind="stable"):
            score, chunk = round(float(scores[place]), DIGITS), self._chunks[place]
            if len(found) == self._settings.top_k or score <= 0 or score < self._settings.min_score:
                break
            if chunk.source not in without:
                found.append(Passage(chunk.source, chunk.chunk, score, chunk.text))
        return found

    def brief(self, prompt: str, passages: list[Passage]) -> str:
        """`prompt` with `passages`, by the template. Raises `InputError` when it asks for what is not there."""
        try:
            return self._template.render(prompt=prompt, passages=passages).strip()
        except TemplateError as error:
            raise InputError(f"context.template: {error}") from error

    def _pinned(self, row: dict[str, Any]) -> list[str]:
        if self._settings.pinned is None:
            return []
        wanted = json.loads(row["metadata"] or "{}").get(self._settings.pinned) or []
        wanted = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
            raise SourceError(f"{self._settings.pinned} must be a file name or a list of them, found {wanted!r}")
        return list(dict.fromkeys(self._find(name) for name in wanted))

    def _find(self, name: str) -> str:
        """The source that `name` means: its path in the corpus, or the end of one that fits no other."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
            raise SourceError(f"source {name!r} leaves the corpus; expected the path of a file in it")
        if path.as_posix() in self._texts:
            return path.as_posix()
        fits = [source for source in self._texts if PurePosixPath(source).parts[-len(path.parts) :] == path.parts]
        if len(fits) != 1:
            reason = f"may be any of {', '.join(fits)}" if fits else "is not in the corpus"
            raise SourceError(f"source {name!r} {reason}")
        return fits[0]


def _read(files: list[Path], root: Path) -> dict[str, str]:
    """The texts by their path below `root`."""
    texts = {}
    for file in files:
        name = file.relative_to(root) if file.is_relative_to(root) else file
        try:
            texts[name.as_posix()] = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: not UTF-8 (byte {error.start})") from None
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}") from None
    return texts
