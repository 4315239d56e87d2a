# Every target does its own set-up: a virtual environment in .venv, with what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 3
PYTEST ?= $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test check-long test-engines lint types format generate site wheel constraints release clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo  ## both tests on the reasoners in the box: no GPU, no key, no download
	$(BIN)/collab run experiment=demo

test: $(VENV)/.dev  ## the tests
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not long and not engine" $(PYTEST_ARGS)

check-long: $(VENV)/.long  ## the long checks, whole
	$(BIN)/python tests/engines/install.py || true
	$(PYTEST) -m "long or not engine" --hypothesis-profile=long -rs $(PYTEST_ARGS)

test-engines: $(VENV)/.dev  ## real vLLM and llama.cpp servers on the CPU, in environments of their own
	$(BIN)/python tests/engines/install.py || true
	$(PYTEST) -m "engine and not long" -rs $(PYTEST_ARGS)

lint: $(VENV)/.dev  ## ruff, and the layers of the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.dev  ## mypy --strict, for each Python that is supported
	for version in 3.11 3.12 3.13; do $(BIN)/mypy --python-version $$version || exit 1; done

format: $(VENV)/.dev  ## let ruff put things right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(VENV)/.dev  ## write the map of the code, and the conf files that are made from a class
	$(BIN)/python docs/code.py
	$(BIN)/python docs/conf_yaml.py

site: $(VENV)/.dev  ## the documentation site, in site/
	$(BIN)/zensical build --strict

wheel:  ## build the wheel into dist/
	rm -rf dist
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .

constraints: $(VENV)/.dev  ## write the versions that are installed, for installs that are alike
	(echo "# The versions that the tests passed with: pip install -e '.[dev]' -c constraints.txt (made by make constraints)"; \
	$(BIN)/python -m pip freeze --exclude-editable | grep ==) > constraints.txt

release: $(VENV)/.release  ## build and check what is uploaded, try it in a clean environment, and tag the commit
	git diff --quiet HEAD  # nothing that is not committed goes into a release
	rm -rf dist
	$(BIN)/python -m build --quiet --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv --clear dist/.venv
	dist/.venv/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd dist && .venv/bin/collab run experiment=demo questions.count=4 runs=.runs store.url=.store
	rm -rf dist/.venv dist/.runs dist/.store*
	git tag "v$$($(BIN)/python -c 'from importlib.metadata import version; print(version("collab-reasoning"))')"

clean:  ## remove environments and build products; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "collab needs Python 3.11 or newer: make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[report]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.release: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'build>=1.2' 'twine>=6.1'
	@touch $@

$(VENV)/.long: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,hf,lab]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,hf,lab,ray]' || true
	@touch $@
