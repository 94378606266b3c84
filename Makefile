# Every verb of the house. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check docs bench nightly lock clean

help:  ## Say what each verb does.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## / - /'

$(STAMP): requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Riverbank needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

install: $(STAMP)  ## Make the virtual environment from the hashed lock.

demo: install  ## Five institutions learn together on this machine (Ctrl-C ends it).
	$(BIN)/riverbank demo $(ARGS)

test: install  ## Every test, the static checks included.
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest $(ARGS)

check: install  ## Formatting, lint, types, import contracts, rendered files, bill of materials, known vulnerabilities.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/riverbank schemas check
	$(BIN)/riverbank supply-chain sbom
	$(BIN)/riverbank supply-chain advisories

docs: install  ## The documentation as pages: build/docs/index.html.
	$(BIN)/riverbank docs check
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: install  ## Side-by-side measurements; writes benchmarks/out/.
	$(BIN)/python benchmarks/run.py $(ARGS)

nightly: install  ## The long sweeps.
	RIVERBANK_NIGHTLY=1 $(BIN)/python -m pytest $(ARGS)

lock: install  ## Resolve the locks anew.
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev pyproject.toml -o requirements-dev.lock

clean:  ## Remove what the verbs made inside the checkout.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
