"""Gates of an export: Hugging Face folder, GGUF and Modelfile read, lay out and end text alike, or nothing is shipped."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
from jinja2 import TemplateError
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from stillhouse.errors import ExportError
from stillhouse.exports.corpus import conversations, texts
from stillhouse.exports.ollama import Chat, Modelfile, parse_modelfile, render_by_ollama
from stillhouse.llm.weights import load_tokenizer
from stillhouse.provenance.files import read_json

SMOKE_PROMPTS = (
    "Hello",
    "What is two plus two?",
    "Say yes or no: is water wet?",
    "Name one colour.",
    "Should we move the office in March?",
    "Thank you, goodbye.",
)


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF says of its tokens."""

    metadata: dict[str, str]
    tokens: list[str]
    ends: dict[int, str]
    """Every token at which llama.cpp ends an answer (end of sequence, of turn, of message), by id."""
    eos: int
    bos: int

    @property
    def template(self) -> str:
        """The chat template in the file, empty where there is none."""
        return self.metadata.get("tokenizer.chat_template", "")

    def render(self, chat: Chat) -> str | None:
        """A conversation by the embedded template, with the opening of the answer; None where it refuses such turns."""
        texts = {"bos_token": self.tokens[self.bos] if self.bos >= 0 else "", "eos_token": self.tokens[self.eos]}
        try:
            return str(Jinja2ChatFormatter(template=self.template, **texts)(messages=chat).prompt)  # type: ignore[arg-type]
        except (TemplateError, ValueError):
            return None


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
    return Vocabulary(dict(llama.metadata), tokens, ends, llama.token_eos(), llama.token_bos())


def check_gguf(folder: Path, gguf: Path) -> dict[str, Any]:
    """Hold a GGUF to the model folder that it was made from; facts: texts and conversations compared, end tokens.

    Compared are every token of the vocabulary, the ids of `corpus.texts` and of every rendered conversation, the
    rendered bytes of `corpus.conversations`, and the end tokens. Raises `ExportError` naming the first difference.
    """
    tokenizer = load_tokenizer(folder)
    with open_vocabulary(gguf) as llama:
        vocabulary = read_vocabulary(llama)
        _check_tokens(tokenizer.get_vocab(), vocabulary, gguf)
        _check_ends(folder, tokenizer, vocabulary, gguf)
        rendered = []
        for chat in conversations():
            try:
                ours = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            except TemplateError:  # templates may refuse a system turn
                ours = None
            _same(ours, vocabulary.render(chat), f"the chat templates of {folder} and {gguf}", chat)
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


def _same(ours: str | None, theirs: str | None, what: str, chat: Chat) -> None:
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


def check_modelfile(modelfile: Path) -> dict[str, Any]:
    """Hold a Modelfile to the GGUF beside it that it runs; facts: conversations compared, stops.

    Read as Ollama reads it. Raises `ExportError` when that GGUF is not there, when an end token of the GGUF is no
    stop, or when the template lays out a conversation of the corpus differently from the template in the GGUF.
    """
    parsed = parse_modelfile(modelfile.read_text(encoding="utf-8"))
    gguf = modelfile.parent / parsed.source
    if not gguf.is_file():
        raise ExportError(f"{modelfile} runs {parsed.source}, which is not there")
    with open_vocabulary(gguf) as llama:
        vocabulary = read_vocabulary(llama)
    missing = [text for text in vocabulary.ends.values() if text not in parsed.stops]
    if missing or not parsed.stops:
        raise ExportError(f"{modelfile} has no stop for {', '.join(missing) or 'any token'}: answers would not end")
    chats = conversations()
    for chat in chats:
        ours = vocabulary.render(chat)
        _same(ours, render_by_ollama(parsed.template, chat), f"the template in {gguf.name} and {modelfile}", chat)
    return {"conversations": len(chats), "stops": sorted(parsed.stops)}


def check_endings(gguf: Path, modelfile: Modelfile, max_tokens: int) -> dict[str, Any]:
    """Let a GGUF answer `SMOKE_PROMPTS` greedily, as Ollama would ask, until one answer ends by itself.

    Facts: answers tried, tokens of the one that ended. Raises `ExportError` when none ends within `max_tokens`.
    """
    llama = llama_cpp.Llama(str(gguf), n_ctx=max_tokens + 256, n_threads=1, n_threads_batch=1, verbose=False)
    try:
        for tried, prompt in enumerate(SMOKE_PROMPTS, start=1):
            llama.reset()
            text = render_by_ollama(modelfile.template, [{"role": "user", "content": prompt}])
            ids = llama.tokenize(text.encode(), add_bos=False, special=True)
            done: Any = llama.create_completion(ids, max_tokens=max_tokens, temperature=0.0, stop=list(modelfile.stops))
            if done["choices"][0]["finish_reason"] == "stop":
                return {"tried": tried, "tokens": done["usage"]["completion_tokens"]}
    finally:
        llama.close()
    raise ExportError(
        f"{gguf}: none of {len(SMOKE_PROMPTS)} short prompts got an answer that ends in {max_tokens} tokens"
    )
