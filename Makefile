# Needs nothing but make and a python3 (3.11 or later) with venv. `make` alone lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LOCK := requirements-dev.lock
LOCK_HASH := $(shell cksum $(LOCK) | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(LOCK_HASH)

# Three workers keep two cores busy, since some tests wait for processes; WORKERS=auto takes every core.
WORKERS ?= 3
ARGS ?=

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort \
		| awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP):
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -c 'import sys; sys.exit("python 3.11 or later is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "Installing the locked dependencies into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@rm -f $(VENV)/.installed-*
	@touch $@

.PHONY: install
install: $(STAMP) ## Make .venv and install the locked dependencies (only when the lock has changed)

.PHONY: run
run: install ## Start the whole product on this machine with demo data (PORT, DATA_DIR)
	@exec $(PY) -m app serve --seed-demo $(ARGS)

.PHONY: worker
worker: install ## Start a worker process (needs DATABASE_URL)
	@exec $(PY) -m app worker $(ARGS)

.PHONY: seed
seed: install ## Put the demo data into the database
	@$(PY) -m app seed $(ARGS)

.PHONY: doctor
doctor: install ## Check the configuration and everything the service depends on
	@$(PY) -m app doctor $(ARGS)

.PHONY: test
test: install ## Run the test suite (ARGS="tests/areas/test_orders.py -k paid", WORKERS=auto)
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

.PHONY: bench
bench: install ## Measure the service against the floor (ARGS=full, see benchmarks/README.md)
	@$(PY) -m benchmarks.runner $(ARGS)

.PHONY: check
check: install ## Lint, formatting and types, without changing a file
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

.PHONY: fix
fix: install ## Repair what the linter can and format the code
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

.PHONY: migration
migration: install ## Write a migration from the models (m="add orders"); read it before you commit it
	@test -n "$(m)" || { echo 'Say what it does: make migration m="add orders"' >&2; exit 2; }
	@$(PY) -m app.core.migrations "$(m)"

.PHONY: openapi
openapi: install ## Write openapi/openapi.json from the code
	@$(PY) -m app openapi $(ARGS)

# The lock names no index and no path, so that it installs from wherever pip is configured to look. What runs
# is what was tested: the service's lock takes its versions from the other one.
UV := $(VENV)/lock-tools/bin/uv
UV_COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(ARGS) pyproject.toml

$(VENV)/lock-tools/bin/uv:
	@$(PYTHON) -m venv $(VENV)/lock-tools
	@$(VENV)/lock-tools/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14'

.PHONY: lock
lock: $(UV) ## Rewrite the lock files from pyproject.toml (ARGS=--upgrade takes newer versions)
	@$(UV_COMPILE) --group dev --output-file requirements-dev.lock
	@$(UV_COMPILE) --constraint requirements-dev.lock --output-file requirements.lock
