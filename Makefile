# Developer and user tasks; `make` alone lists them. The workflow itself is plain Snakemake: see README.md.

PYTHON ?= python3
CORES ?= all
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake
# where the pytest run leaves temporary files, and what else to pass on: make test PYTEST="-k ledger -x"
PYTEST ?=

.DEFAULT_GOAL := help
.PHONY: help setup vllm demo test test-fast check docs dag estimate adopt resume retry store lock format clean distclean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv from the pinned requirements (quick when it stands)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "stillhouse: Python 3.11 or newer is needed, $(PYTHON) is not: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) envs/setup.py

vllm: ## make .venv-vllm, for subjects with `serve: vllm` (quick when it stands)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "stillhouse: Python 3.11 or newer is needed, $(PYTHON) is not: make vllm PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) envs/vllm.py

demo: setup ## set up, then build config/config.yaml on all cores (CORES=n for fewer)
	@$(SNAKEMAKE) --cores $(CORES)
	@for report in results/evaluations/*/report.html; do [ ! -e "$$report" ] || echo "report: $$report"; done

test: setup ## all tests, with the slow ones (PYTEST="-k name" picks some)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

test-fast: setup ## the tests that take seconds
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(PYTEST)

check: setup ## formatting, lint, schema and docs drift: what CI asks for
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	.ci/lint
	$(BIN)/python scripts/render_docs.py --check

format: setup ## repair formatting and what ruff can fix by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

docs: setup ## regenerate config/schema.json, docs/study.md and docs/record.schema.json from their types
	$(BIN)/python scripts/render_docs.py

dag: setup ## draw the rule graph and the job graph into results/dag/
	@command -v dot >/dev/null || { echo "stillhouse: graphviz' dot is missing (Debian, Ubuntu: apt-get install graphviz)" >&2; exit 1; }
	@mkdir -p results/dag
	@$(SNAKEMAKE) --rulegraph >results/dag/rulegraph.dot && dot -Tsvg results/dag/rulegraph.dot -o results/dag/rulegraph.svg
	@$(SNAKEMAKE) --dag >results/dag/jobs.dot && dot -Tsvg results/dag/jobs.dot -o results/dag/jobs.svg
	@echo "results/dag/rulegraph.svg results/dag/jobs.svg"

estimate: setup ## the calls and tokens that the study would need, before any is made
	@$(SNAKEMAKE) estimate --cores 1 --quiet

adopt: setup ## take over a results/ that was moved here without .snakemake/ (ARGS="--configfile STUDY")
	@$(BIN)/python scripts/adopt.py $(ARGS)

resume: setup ## go on after a kill: unlock once nothing of the earlier run lives, then run (ARGS="--configfile STUDY")
	@$(BIN)/python scripts/resume.py $(ARGS)

retry: setup ## ask again for failed prompts, and nothing else (ARGS="GENERATION --configfile STUDY")
	@$(BIN)/python scripts/retry.py $(ARGS)

store: setup ## show the store of finished artefacts (ARGS=--prune or ARGS=--empty to clean it)
	@$(BIN)/python scripts/store.py $(ARGS)

lock: setup ## resolve envs/requirements.in into envs/requirements.txt
	@$(PYTHON) envs/setup.py lock

clean: ## remove what was built; the ledger of calls stays
	@[ ! -d results ] || find results -mindepth 1 -maxdepth 1 ! -name ledger -exec rm -rf {} +
	@rm -rf .stillhouse/checkpoints .snakemake/log .snakemake/incomplete .snakemake/locks
	@find logs -mindepth 1 -maxdepth 1 ! -name setup -exec rm -rf {} + 2>/dev/null || true
	@echo "results/ is empty but for the ledger: calls are paid for once"

distclean: clean ## clean, and remove .venv and caches; the ledger stays all the same
	@rm -rf .venv .venv-vllm .snakemake .stillhouse .pytest_cache .ruff_cache .hypothesis logs
