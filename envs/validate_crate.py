"""Ask the RO-Crate validator about a crate, without network: `python envs/validate_crate.py [FOLDER]`.

FOLDER holds ro-crate-metadata.json (default: results/provenance). What follows it goes to `rocrate-validator validate`,
for example `--requirement-severity recommended`. Exit status 0: the crate is valid; 1: it is not; 3: the validator
could not be installed.

The validator lives in an environment of its own, made on first use from envs/requirements-crate.txt; that alone needs a
package index. It wants the JSON-LD context of RO-Crate from the web. Here that comes out of a package, by way of the
validator's own cache (crate_context.py). Standard library only.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ENVS = Path(__file__).resolve().parent
REQUIREMENTS, CONTEXT = ENVS / "requirements-crate.txt", ENVS / "crate_context.py"
FOLDER = ENVS.parent / ".stillhouse" / "crate-validator"
STAMP, CACHE = FOLDER / "stamp", FOLDER / "http_cache"
PROFILE = "provenance-run-crate-0.5"
NOT_INSTALLED = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("results/provenance"))
    parser.add_argument("--install-only", action="store_true", help="make the environment and stop")
    options, further = parser.parse_known_args()
    try:
        install()
    except subprocess.CalledProcessError as error:
        last = (error.stdout or "").strip().splitlines()[-1:] or [str(error)]
        print(f"the RO-Crate validator could not be installed into {FOLDER}: {last[0]}", file=sys.stderr)
        return NOT_INSTALLED
    if options.install_only:
        return 0
    # paging waits for a key, and -v would be asked for
    command = [
        "validate",
        str(options.folder),
        "--profile-identifier",
        PROFILE,
        "--offline",
        "--cache-path",
        str(CACHE),
    ]
    program = [str(FOLDER / "bin" / "rocrate-validator"), "--disable-color", *command, "--verbose", "--no-paging"]
    return subprocess.run([*program, *further], check=False).returncode


def install() -> None:
    """Make the environment and fill its cache, unless both stand; raises `CalledProcessError` with pip's words."""
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in (REQUIREMENTS, CONTEXT))).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    python = str(FOLDER / "bin" / "python")
    _run([sys.executable, "-m", "venv", str(FOLDER)])
    _run([python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "-r", str(REQUIREMENTS)])
    _run([python, str(CONTEXT), str(CACHE)])
    STAMP.write_text(wanted)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    sys.exit(main())
