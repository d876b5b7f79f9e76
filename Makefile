# For GNU make and FreeBSD's make alike: no conditionals, no functions.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
DEV = pytest pytest-xdist hypothesis networkx mypy ruff build jsonschema pyserial mkdocs selenium markdown-it-py

.PHONY: demo test check lint types rules docs fuzz bench clean

demo: $(STAMP)
	$(BIN)/hangdiag analyze samples/deadlock.ddb.txt

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile

check: lint types rules docs

lint: $(STAMP)
	$(BIN)/ruff check hangdiag tests benchmarks docs

types: $(STAMP)
	$(BIN)/mypy

rules: $(STAMP)
	$(BIN)/hangdiag rules check

docs: $(STAMP)
	$(BIN)/mkdocs build --strict --quiet

fuzz: $(STAMP)
	$(BIN)/python benchmarks/fuzz.py 60

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(STAMP): pyproject.toml hatch_build.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable . $(DEV)
	$(BIN)/python -m compileall -q hangdiag
	touch $(STAMP)
