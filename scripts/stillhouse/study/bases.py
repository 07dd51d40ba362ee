"""What stands below an adapter: adapters that it goes on from, exports whose merged model it is trained on, a model."""

from dataclasses import dataclass

from stillhouse.study.adapters import Adapter, MergedExport
from stillhouse.study.study import Study


@dataclass(frozen=True)
class BaseFiles:
    """Where an adapter's base lies: the folder of its full-precision weights, and its unquantised GGUF with digests."""

    folder: str
    gguf: str
    gguf_digests: str

    def file(self, name: str) -> str:
        """A file of the full-precision model."""
        return f"{self.folder}/{name}"

    @property
    def weights(self) -> str:
        """The full-precision weights."""
        return self.file("model.safetensors")

    @property
    def shape(self) -> str:
        """The settings that tell the model's shape."""
        return self.file("config.json")

    @property
    def ends(self) -> str:
        """The settings of generation, which tell the tokens that end it."""
        return self.file("generation_config.json")

    @property
    def digests(self) -> str:
        """The digests of the full-precision model."""
        return self.file("digests.json")


def base_files(study: Study, adapter: str) -> BaseFiles:
    """The files of an adapter's base: those of a model, or the merged model of an export."""
    base = study.adapters[adapter].base
    if isinstance(base, MergedExport):
        folder = f"results/exports/{base.export}"
        return BaseFiles(f"{folder}/merged", f"{folder}/{base.export}-f16.gguf", f"{folder}/digests/f16.json")
    folder = f"results/models/{base}"
    return BaseFiles(folder, f"{folder}/model.gguf", f"{folder}/gguf.digests.json")


def base_name(adapter: Adapter) -> str:
    """The base in words, for recipes and metadata: a model's name, or `export N`, which no model is called."""
    return f"export {adapter.base.export}" if isinstance(adapter.base, MergedExport) else adapter.base


def base_model(study: Study, adapter: str) -> str:
    """The model at the bottom of an adapter of a valid study, however many exports are between."""
    while isinstance(base := study.adapters[adapter].base, MergedExport):
        adapter = study.exports[base.export].adapter
    return base


def trained_in_turn(study: Study, adapter: str) -> list[str]:
    """The adapters whose training an adapter went through, the first one first, itself last.

    Goes down by `init` and by the exports that adapters stand on, not by models that answered for the datasets. One with both goes on from an adapter of the same
    base, so what is below the base is below that adapter too. Ends where something is not there, or at a ring: planning
    names those faults.
    """
    chain = [adapter]
    while (below := next(iter(_below(study, chain[-1]).values()), None)) and below[-1] not in chain:
        if below[-1] not in study.adapters:
            break
        chain.append(below[-1])
    return chain[::-1]


def trained_on(study: Study, adapter: str) -> list[str]:
    """The datasets that an adapter was trained on, in turn, each once."""
    return list(dict.fromkeys(study.adapters[one].dataset for one in trained_in_turn(study, adapter)))


def _below(study: Study, adapter: str) -> dict[str, tuple[str, ...]]:
    """By key what an adapter stands on: (adapter,) or (export, its adapter); what is not there is left out."""
    entry = study.adapters.get(adapter)
    found: dict[str, tuple[str, ...]] = {}
    if entry and entry.init:
        found["init"] = (entry.init,)
    if entry and isinstance(entry.base, MergedExport) and entry.base.export in study.exports:
        found["base.export"] = (entry.base.export, study.exports[entry.base.export].adapter)
    return found
