# Every target sets up what it lacks: `make reproduce` and `make test` are enough on a bare machine.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
READY := .venv/.sshpe-ready
# One row of Table 4 takes minutes; DECAY= picks another, PROFILE= other data and sizes.
PROFILE ?= quick
DECAY ?= 0.9
WORKERS ?= 2
FRESH := runs/reproduce

.PHONY: help setup reproduce test book lint format bench clean

help:
	@echo "make setup      the virtual environment .venv with the pinned packages"
	@echo "make reproduce  re-train the $(DECAY) row of Table 4, compare it with the committed record, build the book"
	@echo "make test       the tests"
	@echo "make book       the book from the committed records: book/_build/html/index.html"
	@echo "make lint       ruff's checks and formatting, mypy's types (make format applies ruff's)"
	@echo "make bench      every benchmark that this machine has the data and the GPU for"
	@echo "make clean      remove what the targets made, apart from .venv and runs/"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "sshpe needs Python 3.11, 3.12 or 3.13, and there is no python3 here; install one, or name it: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "sshpe needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$("$(PYTHON)" -V 2>&1); name another: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@echo "==> .venv: $$("$(PYTHON)" -V), packages of constraints.txt (2 to 5 minutes the first time)"
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv .venv \
	  || { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

reproduce: $(READY)
	@echo "==> training the $(DECAY) row of Table 4 from scratch, profile $(PROFILE)"
	@rm -rf $(FRESH) && mkdir -p $(FRESH)
	cd notebooks && SSHPE_RECORDS="$(CURDIR)/$(FRESH)/records" SSHPE_RUNS="$(CURDIR)/$(FRESH)/runs" \
	  ../$(BIN)/python -m papermill --log-output table4.ipynb ../$(FRESH)/table4.ipynb -p profile $(PROFILE) -p decay $(DECAY) -p backbone resnet18 -p seeds 1
	@echo "==> the fresh record beside the committed one"
	$(BIN)/sshpe compare book/records $(FRESH)/records
	@$(MAKE) --no-print-directory book

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations=15 $(PYTEST_ARGS)

book: $(READY)
	$(BIN)/jupyter-book build book -W --keep-going
	@test -s book/_build/html/index.html || { echo "jupyter-book ended without book/_build/html/index.html" >&2; exit 1; }
	@echo "==> open book/_build/html/index.html"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python book/measure.py

clean:
	rm -rf book/_build dist build .hypothesis .mypy_cache .pytest_cache .ruff_cache executed notebooks/executed
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
