# One command an intent. Every target makes the environment it needs in .venv, from pinned versions.
PYTHON ?= python3
BIN := .venv/bin
# More workers than two cores: many tests wait for others. Whole files go to one worker, so that each makes its fixtures once,
# in their order: xdist would begin with the files of the most tests, and end waiting for those of the longest.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: setup run test test-slow check fix bench bench-large reproduce gallery lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/ -/'

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python 3.11, 3.12 or 3.13 is needed, found %d.%d; name one: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv .venv

.venv/.run: requirements/run.txt pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

setup: .venv/.dev  ## make the environment, with what tests and checks need

run: .venv/.run  ## one night on the generated dataset `demo`, into ./store
	$(BIN)/recsys run

test: .venv/.dev  ## all tests but the slow ones
	$(PYTEST)

test-slow: .venv/.dev  ## the slow tests too
	$(PYTEST) -m ""

check: .venv/.dev  ## formatter, linter, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: .venv/.dev  ## let formatter and linter mend what they can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.dev  ## the quick benchmarks, into docs/benchmarks.md; RECSYS_MIRROR names the folder with the archives
	$(BIN)/python -m benchmarks.page

bench-large: .venv/.dev  ## the slow ones: training, growth to a million users, a night of 25 million ratings
	$(BIN)/python -m benchmarks.page --slow

reproduce: .venv/.dev  ## the tutorials' figures and the records again, from RECSYS_MIRROR; hours, goes on where it broke off
	$(BIN)/python -m benchmarks.reproduce

gallery: .venv/.dev  ## the pictures of docs/gallery.md, from two nights of ml-1m in RECSYS_MIRROR; needs Chromium
	$(BIN)/python -m benchmarks.gallery

lock:  ## pin the newest versions that pyproject.toml allows; needs uv
	uv pip compile --universal --python-version 3.11 --extra cpu --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements/run.txt
	uv pip compile --universal --python-version 3.11 --extra cpu --extra dask --extra server --group dev --no-header --no-annotate --no-emit-index-url -c requirements/run.txt pyproject.toml -o requirements/dev.txt

clean:  ## remove the environment and all caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
