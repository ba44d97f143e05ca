# Every target works on a fresh machine with Python 3.11 or newer: it makes .venv and installs what it needs there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint fixtures clean

demo: $(VENV)/.installed
	$(BIN)/onnxsurgeon prune fixtures/residual.onnx --ratio 0.3 -o demo.onnx --overwrite

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fixtures: $(VENV)/.installed-fixtures
	$(BIN)/python scripts/make_fixtures.py

clean:
	rm -rf $(VENV) demo.onnx dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: the package alone, and the package with one of its extras.

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
