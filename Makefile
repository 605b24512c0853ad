# make demo     see it work, with no key and nothing configured
# make test     everything that has to hold: style, types, tests, coverage
# make compat   chats with servers that others wrote (large: installs them)
# make bench    the numbers of benchmarks/README.md, on this machine

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint compat bench clean

demo: $(VENV)/demo
	@$(BIN)/anthropix demo

test: lint
	@# pytest, not python -m pytest: that would put this folder first on the path, and test it instead of what is installed
	$(BIN)/coverage erase
	$(BIN)/coverage run $(BIN)/pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

compat: $(VENV)/compat
	$(BIN)/pytest tests/test_other_servers.py tests/test_official_sdk.py

bench: $(VENV)/bench
	$(BIN)/python benchmarks

clean:
	rm -rf $(VENV) build *.egg-info

# One stamp file per set of extras; each is made again when the package or its dependencies change.
SOURCES := setup.cfg pyproject.toml $(shell find anthropix_actors -type f -not -path '*/__pycache__/*')

$(VENV)/demo: EXTRAS := emulator,cli
$(VENV)/test: EXTRAS := test
$(VENV)/compat: EXTRAS := compat
$(VENV)/bench: EXTRAS := bench

$(VENV)/%: $(SOURCES)
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@rm -rf build  # what setuptools kept from an older state
	@$(BIN)/pip install --quiet --disable-pip-version-check '.[$(EXTRAS)]'
	@touch $@
