# One virtual environment for everything; `make test PYTHON=python3.12 JOBS=8` chooses another Python and more workers.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# one thread a worker: more would fight for the cores
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.NOTPARALLEL:
.PHONY: test quick example lint ruff-check ruff-format mypy docs install

test: install
	$(PYTEST)

quick: install
	$(PYTEST) -m "not slow"

example: install
	$(BIN)/python -m examples.finetune

lint: ruff-check ruff-format mypy

ruff-check: install
	$(BIN)/ruff check .

ruff-format: install
	$(BIN)/ruff format --check .

mypy: install
	$(BIN)/mypy awb

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

install: $(INSTALLED)

# torch first, at the constraints' version: its large download is done once, whatever comes after
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt torch torchvision
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,example]'
	touch $@
