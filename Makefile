# Forebay's tasks. `make help` lists them; each makes its own environment in .venv from nothing.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2

.PHONY: help setup demo dev check format test bench soak docs clean

help:  ## List the tasks
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(READY)  ## Make the environment (.venv) with the package and its tools

$(READY): pyproject.toml requirements-dev.txt constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Forebay needs Python 3.11 or later: PYTHON=python3.11 make setup")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]' -r requirements-dev.txt
	touch $(READY)

demo: $(READY)  ## Run the main job on real reviews with a real local model, and show the results (DEMO_MODEL=smollm2 for less)
	$(BIN)/python -m demo.run

dev: $(READY)  ## Start a server with a mock model for trying things out
	$(BIN)/python -m demo.dev

check: $(READY)  ## Format, lint, types, import contracts, docs parity
	$(BIN)/ruff format --check src tests demo examples
	$(BIN)/ruff check src tests demo examples
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_structure.py tests/unit/test_docs.py

format: $(READY)  ## Format the code and mend what the linter can
	$(BIN)/ruff format src tests demo examples
	$(BIN)/ruff check --fix src tests demo examples

test: $(READY)  ## Make the environment, start what the tests need, and run them all
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist worksteal $(PYTEST_ARGS)

bench: $(READY)  ## Measure this machine, each figure beside its baseline (BENCH_ARGS="--only durable --check")
	$(BIN)/forebay bench $(BENCH_ARGS)

soak: $(READY)  ## Kill, stop and drain at random for SECONDS (600) on each store, then simulate HISTORIES (10000); SEED repeats one
	$(BIN)/python -m forebay.testing.soak --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m forebay.testing.soak --store postgresql --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m forebay.testing.simulation --histories $(or $(HISTORIES),10000) --processes 2 $(if $(SEED),--seed $(SEED))

docs: $(READY)  ## Generate the reference documentation
	$(BIN)/python -m forebay.settings.document > docs/settings.md
	$(BIN)/python -m forebay.cli.document > docs/cli.md
	$(BIN)/python -m forebay.api.scopes_document docs/keys.md

clean:  ## Remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
