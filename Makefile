# One virtual environment for everything; `make test PYTHON=python3.12 JOBS=8` chooses another Python and more workers.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := runs/demo
# glibc would give the memory of each step back and ask for it again: a fifth of the time (docs/performance.md)
KEEP_MEMORY := MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_MMAP_THRESHOLD_=8589934592
# one thread a worker: more would fight for the cores
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations=15

.NOTPARALLEL:
.PHONY: test test-rest quick example finetune lint ruff-check ruff-format mypy docs install

# on two idle cores: up to 20 minutes, 2 and 60 (the markers are in pyproject.toml)
test: install
	$(PYTEST) -m "not rest"

quick: install
	$(PYTEST) -m "not slow and not rest"

test-rest: install
	$(PYTEST) -m rest

# a study on phantoms; killed, it goes on where it was
example: install
	$(BIN)/python -m examples.chestxray14 prepare $(DEMO)/data $(DEMO)/store --synthetic 600 --size 128
	$(KEEP_MEMORY) $(BIN)/python -m examples.chestxray14 reproduce $(DEMO)/out --data $(DEMO)/data \
		--store $(DEMO)/store --cells demo-plain demo --jobs $(JOBS)

finetune: install
	$(BIN)/python -m examples.finetune

lint: ruff-check ruff-format mypy

ruff-check: install
	$(BIN)/ruff check .

ruff-format: install
	$(BIN)/ruff format --check .

mypy: install
	$(BIN)/mypy

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

install: $(INSTALLED)

# torch first, at the constraints' version: its large download is done once, whatever comes after
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt torch torchvision
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,example]'
	touch $@
