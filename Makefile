# Two commands do everything on a fresh machine with Python 3.11+, make and git:
#
#   make sweep     sets up .venv and runs a small, real Atari sweep (about eight minutes on two cores)
#   make test      sets up .venv and runs lint, types, import contracts and the everyday tests
#   make test-all  adds Ray, PostgreSQL, Chromium, Procgen, golden curves and kill tests
#
# Versions are pinned in constraints.txt. On Linux with an NVIDIA GPU the same pins bring CUDA builds of PyTorch.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help sweep test test-all slow procgen lint types contracts clean

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

SWEEP_FLAGS ?= --sweep.max-runs 8 --sweep.max-hours 0.12 --train.total-timesteps 20480

test: $(VENV)/.dev lint types contracts
	$(BIN)/python -m pytest -m "not slow" -n 2 -o faulthandler_timeout=400 $(PYTEST_FLAGS)

# Everything else: Ray, PostgreSQL, Chromium, envpool, golden curves, kill tests (`make slow`), and Procgen, whose wheels
# need NumPy 1 and with it an environment of their own (`make procgen`). What a machine lacks is skipped with a reason.
test-all: test slow procgen

$(VENV)/.all: $(VENV)/.dev
	$(PIP) --editable '.[$(ALL_EXTRAS)]'
	touch $@

ALL_EXTRAS := atari,box2d,dashboard,dev,envpool,minigrid,mujoco,postgres,ray,tensorboard,triton,video

slow: $(VENV)/.all
	$(BIN)/python -m pytest -m "slow and not procgen" $(PYTEST_FLAGS)

PROCGEN_VENV ?= .venv-procgen

$(PROCGEN_VENV)/.procgen: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(PROCGEN_VENV)
	grep -vE '^(numpy|pandas)==' constraints.txt > $(PROCGEN_VENV)/constraints.txt
	$(PROCGEN_VENV)/bin/python -m pip --disable-pip-version-check install --quiet \
	  --constraint $(PROCGEN_VENV)/constraints.txt --editable '.[procgen,test,video]'
	touch $@

procgen: $(PROCGEN_VENV)/.procgen
	$(PROCGEN_VENV)/bin/python -m pytest -m procgen tests/trainer/envs $(PYTEST_FLAGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(PROCGEN_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
