"""An importance matrix: how strongly each input of each weight matrix is used while a model reads its training rows.

As llama.cpp's own tool computes it (tools/imatrix of github.com/ggml-org/llama.cpp): for every matrix product of a layer, the
squares of its inputs are added up over all tokens. Quantising with it rounds the strongly used columns with more care. Stored
in the GGUF form of that tool (tensors NAME.in_sum2 and NAME.counts), so that its programs read it too.
"""

import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from llama_cpp import _ggml

from stillhouse.errors import ExportError
from stillhouse.exports.held_out import Passage
from stillhouse.exports.llama_log import captured_log
from stillhouse.provenance.digests import digest_file
from stillhouse.provenance.files import atomic_path

logger = logging.getLogger(__name__)

FLOAT32 = 0
SUMS, COUNTS = ".in_sum2", ".counts"
LAYER = "blk."
MOST_ROWS, MOST_TOKENS = 256, 1024
"""Training rows that are read, and tokens of each answer; more change the matrix little."""


class Tensor(ctypes.Structure):
    """`struct ggml_tensor` of ggml.h; `_check_layout` holds it to the library that is loaded."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


def _library() -> ctypes.CDLL:
    library = _ggml.libggml
    for name, kind in {
        "ggml_op_desc": ctypes.c_char_p,
        "ggml_get_name": ctypes.c_char_p,
        "ggml_get_data": ctypes.c_void_p,
    }.items():
        getattr(library, name).restype = kind
        getattr(library, name).argtypes = [ctypes.c_void_p]
    return library


@dataclass
class Collector:
    """Sums of squares by matrix, filled while llama.cpp computes."""

    sums: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    fault: str | None = None

    def callback(self) -> Any:
        """What llama.cpp calls: first to ask whether a result is wanted, then when it and its inputs are there."""
        library = _library()

        @llama_cpp.ggml_backend_sched_eval_callback
        def collect(address: int, ask: bool, user_data: ctypes.c_void_p) -> bool:
            if ask:
                kind = library.ggml_op_desc(address)
                return kind in (b"MUL_MAT", b"MUL_MAT_ID")
            try:
                self._add(library, Tensor.from_address(address))
            except ExportError as error:
                self.fault = str(error)
                return False  # ends the computation
            return True

        return collect

    def _add(self, library: ctypes.CDLL, product: Tensor) -> None:
        # before any pointer in it is followed
        _check_layout(library, product)
        weights, inputs = Tensor.from_address(product.src[0]), Tensor.from_address(product.src[1])
        _check_layout(library, weights)
        _check_layout(library, inputs)
        name = weights.name.decode()
        if not name.startswith(LAYER) or not name.endswith(".weight"):
            return
        if library.ggml_op_desc(ctypes.addressof(product)) == b"MUL_MAT_ID":
            raise ExportError(f"{name}: importance of models with experts is not measured")
        if inputs.type != FLOAT32 or inputs.ne[2] * inputs.ne[3] != 1 or weights.ne[2] * weights.ne[3] != 1:
            raise ExportError(f"{name}: its inputs have a form that importance is not measured for")
        rows = _rows(inputs)
        if not np.isfinite(rows).all():
            raise ExportError(f"{name}: the model computes values that are no numbers")
        self.sums[name] = self.sums.get(name, 0.0) + np.square(rows, dtype=np.float64).sum(axis=0)
        self.counts[name] = self.counts.get(name, np.zeros(1)) + len(rows)


def _rows(tensor: Tensor) -> np.ndarray:
    """A matrix of floats in memory as (rows, columns)."""
    columns, rows = tensor.ne[0], tensor.ne[1]
    size = (rows - 1) * tensor.nb[1] + columns * 4
    held = np.frombuffer((ctypes.c_char * size).from_address(tensor.data), dtype=np.uint8)
    return np.lib.stride_tricks.as_strided(held.view(np.float32), (rows, columns), (tensor.nb[1], 4))


def _check_layout(library: ctypes.CDLL, tensor: Tensor) -> None:
    """Raise `ExportError` when the library's tensors are not laid out as `Tensor` says."""
    address = ctypes.addressof(tensor)
    same_name = library.ggml_get_name(address) == tensor.name
    same_data = library.ggml_get_data(address) == tensor.data
    if not (same_name and same_data and (tensor.type != FLOAT32 or tensor.nb[0] == 4)):
        raise ExportError("this version of llama.cpp lays tensors out in a way that is not known here")


def measure_importance(source: Path, passages: list[Passage], target: Path) -> dict[str, Any]:
    """Let the f16 GGUF `source` read `passages`, and write the importance matrix to `target`.

    Facts: rows, tokens, matrices, sha256. The same inputs give the same bytes. Raises `ExportError` for a model that this
    cannot be measured for.
    """
    collector = Collector()
    with captured_log(), _context(source, max(len(passage.ids) for passage in passages), collector) as read:
        for passage in passages:
            read(passage.ids)
    if not collector.sums:
        raise ExportError(f"{source}: no matrix product of a layer was seen")
    tokens = sum(len(passage.ids) for passage in passages)
    with atomic_path(target) as temporary:
        _write(collector, temporary, len(passages), max(len(passage.ids) for passage in passages))
    return {"rows": len(passages), "tokens": tokens, "matrices": len(collector.sums), "sha256": digest_file(target)}


@contextmanager
def _context(source: Path, longest: int, collector: Collector) -> Iterator[Any]:
    """A function that lets llama.cpp read token ids, each time from the start, with `collector` looking on."""
    loading = llama_cpp.llama_model_default_params()
    loading.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(source).encode(), loading)
    if not model:
        raise ExportError(f"llama.cpp could not load {source}")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = max(longest, 32)
    params.n_threads = params.n_threads_batch = 1
    params.cb_eval = callback = collector.callback()
    context = llama_cpp.llama_init_from_model(model, params)
    try:
        if not context:
            raise ExportError(f"llama.cpp could not make a context of {longest} tokens for {source}")

        def read(ids: list[int]) -> None:
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
            with _batch(ids) as batch:
                status = llama_cpp.llama_decode(context, batch)
            if collector.fault or status != 0:
                raise ExportError(f"{source}: {collector.fault or f'llama.cpp could not read it (status {status})'}")

        yield read
    finally:
        if context:
            llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)
        del callback


@contextmanager
def _batch(ids: list[int]) -> Iterator[Any]:
    """Token ids as llama.cpp takes them; every place is asked for, or the last layer would compute the last one only."""
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    try:
        batch.n_tokens = len(ids)
        for place, token in enumerate(ids):
            batch.token[place], batch.pos[place], batch.logits[place] = token, place, 1
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
        yield batch
    finally:
        llama_cpp.llama_batch_free(batch)


def _write(collector: Collector, target: Path, chunks: int, longest: int) -> None:
    writer = gguf.GGUFWriter(target, arch="")
    writer.kv_data[0].clear()  # the file of llama.cpp's tool names no architecture
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["training rows"])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", longest)
    for name in sorted(collector.sums):
        writer.add_tensor(name + SUMS, collector.sums[name].astype(np.float32)[None, :])
        writer.add_tensor(name + COUNTS, collector.counts[name].astype(np.float32)[:, None])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_importance(file: Path) -> dict[str, np.ndarray]:
    """Mean squares of inputs by matrix; raises `ExportError` for a file that is no importance matrix."""
    try:
        tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(file, "r").tensors}
    except (ValueError, OSError) as error:
        raise ExportError(f"{file}: no importance matrix ({error})") from error
    names = sorted(name.removesuffix(SUMS) for name in tensors if name.endswith(SUMS))
    if not names or any(name + COUNTS not in tensors for name in names):
        raise ExportError(f"{file}: no importance matrix (it has no sums with their counts)")
    return {
        name: np.ascontiguousarray(tensors[name + SUMS].reshape(-1) / tensors[name + COUNTS].reshape(-1)[0])
        for name in names
    }


@contextmanager
def llama_importance(file: Path | None) -> Iterator[Any]:
    """The matrix as `llama_model_quantize` takes it: an array that a nameless entry ends; a null pointer for None."""
    pointer = ctypes.POINTER(llama_cpp.llama_model_imatrix_data)
    if file is None:
        yield pointer()
        return
    means = read_importance(file)
    entries = (llama_cpp.llama_model_imatrix_data * (len(means) + 1))()
    for entry, (name, values) in zip(entries, means.items(), strict=False):
        entry.name = name.encode()
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = values.size
    yield ctypes.cast(entries, pointer)
    del entries, means
