"""Gates of an export: Hugging Face folder, GGUF and Modelfile read, lay out and end text alike, or nothing is shipped."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import llama_cpp

from stillhouse.errors import ExportError
from stillhouse.exports.chat_template import REFUSALS, Chat, render_chat
from stillhouse.exports.corpus import conversations, special_conversations, texts
from stillhouse.llm.weights import load_tokenizer
from stillhouse.provenance.files import read_json


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF says of its tokens."""

    metadata: dict[str, str]
    tokens: list[str]
    ends: dict[int, str]
    """Every token at which llama.cpp ends an answer (end of sequence, of turn, of message), by id."""
    eos: int
    bos: int
    adds_bos: bool = False
    """Whether llama.cpp itself puts the opening token before every text."""

    @property
    def template(self) -> str:
        """The chat template in the file, empty where there is none."""
        return self.metadata.get("tokenizer.chat_template", "")

    def must_send(self, chat: Chat, tools: list[dict[str, Any]] | None = None, today: str = "") -> str:
        """As `render`, without the opening token where llama.cpp adds it itself; raises `ExportError` where refused."""
        bos, eos = self.tokens[self.bos] if self.bos >= 0 else "", self.tokens[self.eos]
        text = render_chat(self.template, chat, tools, bos, eos, today)
        return text.removeprefix(bos) if self.adds_bos else text

    def sent(self, chat: Chat, tools: list[dict[str, Any]] | None = None, today: str = "") -> str | None:
        """As `must_send`; None where the template refuses such turns."""
        try:
            return self.must_send(chat, tools, today)
        except ExportError:
            return None

    def render(self, chat: Chat, tools: list[dict[str, Any]] | None = None) -> str | None:
        """A conversation by the embedded template, with the opening of the answer; None where it refuses such turns."""
        return replace(self, adds_bos=False).sent(chat, tools)


@contextmanager
def open_vocabulary(gguf: Path) -> Iterator[llama_cpp.Llama]:
    """A GGUF without its tensors."""
    llama = llama_cpp.Llama(str(gguf), vocab_only=True, verbose=False)
    try:
        yield llama
    finally:
        llama.close()


def read_vocabulary(llama: llama_cpp.Llama) -> Vocabulary:
    """Tokens, end tokens and metadata of an open GGUF."""
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    tokens = [llama._model.token_get_text(token) for token in range(llama.n_vocab())]
    ends = {token: text for token, text in enumerate(tokens) if llama_cpp.llama_vocab_is_eog(vocabulary, token)}
    adds_bos = bool(llama_cpp.llama_vocab_get_add_bos(vocabulary))
    return Vocabulary(dict(llama.metadata), tokens, ends, llama.token_eos(), llama.token_bos(), adds_bos)


def check_gguf(folder: Path, gguf: Path) -> dict[str, Any]:
    """Hold a GGUF to the model folder that it was made from; facts: texts and conversations compared, end tokens.

    Compared are every token of the vocabulary, the ids of `corpus.texts` and of every rendered conversation, the
    rendered bytes of `corpus.conversations` and `corpus.special_conversations`, and the end tokens. Raises `ExportError`
    naming the first difference.
    """
    tokenizer = load_tokenizer(folder)
    with open_vocabulary(gguf) as llama:
        vocabulary = read_vocabulary(llama)
        _check_tokens(tokenizer.get_vocab(), vocabulary, gguf)
        _check_ends(folder, tokenizer, vocabulary, gguf)
        rendered = []
        special = [(one.turns, one.tools) for one in special_conversations()]
        for chat, tools in [*((chat, None) for chat in conversations()), *special]:
            try:
                ours = tokenizer.apply_chat_template(chat, tools=tools, tokenize=False, add_generation_prompt=True)
            except REFUSALS:  # a system turn or tools, say
                ours = None
            check_same(ours, vocabulary.render(chat, tools), f"the chat templates of {folder} and {gguf}", chat)
            rendered += [ours] if ours is not None else []
        if not rendered:
            raise ExportError(f"the chat template of {folder} refuses every conversation")
        known = texts()
        for text in [*known, *rendered]:
            ours_ids = tokenizer.encode(text, add_special_tokens=False)
            if ours_ids != llama.tokenize(text.encode(), add_bos=False, special=True):
                raise ExportError(f"{gguf} does not read text as {folder} does: token ids of {text[:200]!r} differ")
    return {"texts": len(known), "conversations": len(rendered), "ends": sorted(vocabulary.ends.values())}


def _check_tokens(ours: dict[str, int], theirs: Vocabulary, gguf: Path) -> None:
    """Every token has its id; ids beyond the tokenizer's may only be llama.cpp's padding."""
    for token, number in sorted(ours.items(), key=lambda item: item[1]):
        if number >= len(theirs.tokens) or theirs.tokens[number] != token:
            found = theirs.tokens[number] if number < len(theirs.tokens) else "nothing"
            raise ExportError(f"token {number} is {token!r} in the tokenizer and {found!r} in {gguf}")
    known = set(ours.values())
    for number, token in enumerate(theirs.tokens):
        if number not in known and token != f"[PAD{number}]":
            raise ExportError(f"{gguf} has the token {token!r} ({number}), which the tokenizer lacks")


def _check_ends(folder: Path, tokenizer: Any, theirs: Vocabulary, gguf: Path) -> None:
    """The end tokens of tokenizer and generation_config.json end an answer in llama.cpp too."""
    if tokenizer.eos_token_id != theirs.eos:
        raise ExportError(f"the end token is {tokenizer.eos_token_id} in {folder} and {theirs.eos} in {gguf}")
    config = folder / "generation_config.json"
    listed = read_json(config).get("eos_token_id") if config.is_file() else None
    wanted = listed if isinstance(listed, list) else [] if listed is None else [listed]
    for token in [tokenizer.eos_token_id, *wanted]:
        if token not in theirs.ends:
            raise ExportError(f"token {token} ends an answer in {folder}, but not in {gguf}")


def check_same(ours: str | None, theirs: str | None, what: str, chat: Chat) -> None:
    """Raise `ExportError`, naming `what` and the first difference, unless a chat is laid out alike (None: refused)."""
    if ours == theirs:
        return
    if ours is None or theirs is None:
        raise ExportError(f"{what} do not both take a conversation of {len(chat)} turns")
    pairs = zip(ours, theirs, strict=False)
    place = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))
    cut = slice(max(0, place - 20), place + 40)
    raise ExportError(
        f"{what} lay out a conversation of {len(chat)} turns differently, from character {place} on: "
        f"{ours[cut]!r} against {theirs[cut]!r}"
    )
