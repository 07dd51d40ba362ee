"""Versions of the distributions that a script's imports can reach and that can change its result."""

from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

# Import name -> distributions whose version can change bytes. What only carries calls, checks settings or
# draws on the terminal (openai, tenacity, pydantic, rich, yaml) is left out on purpose.
DECIDES: dict[str, tuple[str, ...]] = {
    "accelerate": ("accelerate",),
    "bitsandbytes": ("bitsandbytes",),
    "bm25s": ("bm25s",),
    "datasets": ("datasets",),
    "detect_secrets": ("detect-secrets",),
    "gguf": ("gguf",),
    "jinja2": ("jinja2",),
    "json_repair": ("json-repair",),
    "llama_cpp": ("llama-cpp-python",),
    "matplotlib": ("matplotlib",),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "peft": ("peft",),
    "phonenumbers": ("phonenumbers",),
    "py3langid": ("py3langid",),
    "pyarrow": ("pyarrow",),
    "rocrate": ("rocrate",),
    "safetensors": ("safetensors",),
    "scipy": ("scipy",),
    "stdnum": ("python-stdnum",),
    "tokenizers": ("tokenizers",),
    "torch": ("torch",),
    "transformers": ("transformers", "tokenizers"),
    "trl": ("trl", "accelerate", "datasets"),
}


@lru_cache(maxsize=256)
def _version(distribution: str) -> str:
    """Version without its local part: `2.13.0+cpu` is the same software as `2.13.0`."""
    try:
        return version(distribution).split("+")[0]
    except PackageNotFoundError:
        return "absent"


def software_versions(imports: Iterable[str]) -> dict[str, str]:
    """Distribution -> version for the `imports` (top-level names) that can change a result, sorted."""
    names = {name for module in imports for name in DECIDES.get(module, ())}
    return {name: _version(name) for name in sorted(names)}
