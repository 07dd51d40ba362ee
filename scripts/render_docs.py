"""Writes config/schema.json, docs/study.md and docs/record.schema.json from typed classes; `--check` only compares.

python scripts/render_docs.py [--check]
"""

import argparse
import json
import sys
from pathlib import Path

from stillhouse.provenance.files import write_text
from stillhouse.provenance.record_schema import record_schema
from stillhouse.study.docs import schema, study_page

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "docs/templates/study.md.j2"
REPAIR = "run `make docs` (python scripts/render_docs.py)"


def rendered() -> dict[Path, str]:
    """File -> the text that it should hold."""
    return {
        ROOT / "config/schema.json": json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n",
        ROOT / "docs/study.md": study_page(TEMPLATE),
        ROOT / "docs/record.schema.json": json.dumps(record_schema(), indent=2, ensure_ascii=False) + "\n",
    }


def drifted(texts: dict[Path, str]) -> list[Path]:
    """Files that are missing or hold something else."""
    return [file for file, text in texts.items() if not file.is_file() or file.read_text(encoding="utf-8") != text]


def main() -> int:
    """Entry point; with `--check` 1 when a file differs from the typed classes."""
    parser = argparse.ArgumentParser(description="Schemas and documentation of study and record, from their classes.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file differs")
    check = parser.parse_args().check
    texts = rendered()
    stale = drifted(texts)
    for file in stale:
        name = file.relative_to(ROOT).as_posix()
        if check:
            print(f"{name} differs from the typed classes in scripts/stillhouse/: {REPAIR}", file=sys.stderr)
        else:
            write_text(file, texts[file])
            print(f"wrote {name}")
    if not stale:
        print("config/schema.json, docs/study.md and docs/record.schema.json equal the typed classes")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
