# Two commands do everything on a fresh machine with Python 3.11+, make and git:
#
#   make sweep   sets up .venv and runs a small, real Atari sweep (about eight minutes on two cores)
#   make test    sets up .venv and runs lint, types, import contracts and the everyday tests
#
# Versions are pinned in constraints.txt. On Linux with an NVIDIA GPU the same pins bring CUDA builds of PyTorch.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help sweep test test-all lint types contracts docs clean

help:
	@sed -n '3,6p' Makefile | sed 's/^# *//'

# `make sweep` needs a few packages only; `make test` adds the tools. Each stamp is renewed when the pins change.
$(VENV)/.python: 
	$(PYTHON) -c 'import sys; sys.exit("puffer-sweep needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.sweep: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) --editable '.[atari,dashboard]'
	touch $@

$(VENV)/.dev: $(VENV)/.sweep
	$(PIP) --editable '.[atari,dashboard,dev]'
	touch $@

sweep: $(VENV)/.sweep
	$(BIN)/puffer-sweep start config/atari.ini --study quickstart $(SWEEP_FLAGS)

SWEEP_FLAGS ?= --sweep.max-runs 8 --sweep.max-hours 0.12 --train.total-timesteps 40960

# Everything that `make test-all` adds: Ray, PostgreSQL's driver, envpool. What a machine lacks is skipped with a reason.
$(VENV)/.all: $(VENV)/.dev
	$(PIP) --editable '.[atari,dashboard,dev,ray,postgres,envpool,video]'
	touch $@

test: $(VENV)/.dev lint types contracts
	$(BIN)/python -m pytest -m "not slow" -n 2 $(PYTEST_FLAGS)

test-all: $(VENV)/.all test
	$(BIN)/python -m pytest -m slow $(PYTEST_FLAGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
