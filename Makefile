# Astrolabe: from a clone to a running platform (`make run`) or a passed test suite (`make test`).
#
# Needs git, make and python3 (3.11 or newer) with venv; everything else is installed into .venv
# with pip, which follows this machine's pip configuration and PIP_* environment variables.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Servers that tests start would compile all of our modules each time.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
VENV_313 := .venv-3.13
BIN := $(VENV)/bin
PIP_FLAGS := --quiet --disable-pip-version-check
UP_FLAGS ?=

# A stamp is newer than what it was made from, or its step is done again.
STAMP_VENV := $(VENV)/.stamp-venv
STAMP_RUN := $(VENV)/.stamp-run
STAMP_DEV := $(VENV)/.stamp-dev
STAMP_313 := $(VENV_313)/.stamp-dev
HAS_313 = $(shell python3.13 -c 'import venv, ensurepip' >/dev/null 2>&1 && echo yes)

UNIT := not client and not server and not browser
QUICK := $(UNIT) and not slow
REAL := (client or server or browser or slow) and not interop
PYTEST := $(BIN)/python -m pytest -q
# Two processes, and the tests of a file in one of them: what they share is made once. The order is
# that of tests/conftest.py, which begins with what takes longest.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup setup-run run check check-lint check-types check-docs check-unit check-unit-313 \
	test test-real test-interop bench debian-packages node-packages docs clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(STAMP_DEV) ## make the environment at .venv with everything that tests need
ifeq ($(HAS_313),yes)
	@$(MAKE) $(STAMP_313)
endif
	@$(BIN)/python tools/fetch-aladin || true

setup-run: $(if $(wildcard $(STAMP_DEV)),$(STAMP_DEV),$(STAMP_RUN))

run: setup-run ## start the platform with the demo survey on http://127.0.0.1:8080
	@$(BIN)/python tools/fetch-aladin || true
	@exec $(BIN)/astrolabe up $(UP_FLAGS)

check: setup check-lint check-types check-docs check-unit ## what needs no server, no client and no network, but for slow tests
	@echo "make check: passed"

check-lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry platform/src api/src

check-types:
	$(BIN)/mypy

check-docs docs:
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

check-unit:
	$(PYTEST) $(PARALLEL) -m "$(QUICK)" --durations=10

check-unit-313:
ifeq ($(HAS_313),yes)
	$(VENV_313)/bin/python -m pytest -q $(PARALLEL) -m "$(UNIT)" -p no:cacheprovider
else
	@echo "unit tests on Python 3.13: skipped, no python3.13 with venv on this machine"
endif

test: check check-unit-313 debian-packages node-packages test-real ## check, slow tests, Python 3.13, every real client and server; nothing is skipped silently
	@echo "make test: passed"

test-real: setup
	$(PYTEST) $(PARALLEL) -m "$(REAL)" -p tests.support.no_skips --durations=10

test-interop: setup ## log in by a real Keycloak: needs Java 17 and Maven, downloads 176 MB once
	@tools/debian-packages mvn:maven java:default-jre-headless
	$(PYTEST) -m interop -p tests.support.no_skips --durations=5

BENCH_ROWS ?= 5000000
BENCH_WORK ?= build/bench

bench: setup ## measure speed and memory (BENCH_ROWS rows in BENCH_WORK); prints figures, asserts nothing
	$(BIN)/python -m tests.benchmarks.import_speed --rows $(BENCH_ROWS) --work $(BENCH_WORK)
	$(BIN)/python -m tests.benchmarks.tap_speed --home $(BENCH_WORK)/home
	$(BIN)/python -m tests.benchmarks.metadata_speed --work $(BENCH_WORK)
	$(BIN)/python -m tests.benchmarks.auth_cost
	$(BIN)/python -m tests.benchmarks.cutouts --work $(BENCH_WORK)/cutouts

debian-packages:
	@tools/debian-packages stilts chromium

OIDC_PROVIDER := tests/openid/oidc_provider

node-packages: $(OIDC_PROVIDER)/node_modules/.package-lock.json

$(OIDC_PROVIDER)/node_modules/.package-lock.json: $(OIDC_PROVIDER)/package-lock.json
	@tools/debian-packages npm
	@cd $(OIDC_PROVIDER) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

clean: ## remove the environments and what was built
	rm -rf $(VENV) $(VENV_313) docs/_build .mypy_cache .ruff_cache .pytest_cache

$(STAMP_VENV):
	@tools/make-venv $(PYTHON) $(VENV)
	@touch $@

$(STAMP_RUN): $(STAMP_VENV) pyproject.toml
	@echo "installing Astrolabe into $(VENV) (several minutes the first time)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -e '.[server]'
	@touch $@

$(STAMP_DEV): $(STAMP_VENV) pyproject.toml
	@echo "installing Astrolabe and its tests' tools into $(VENV) (several minutes the first time)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -e '.[server]' --group dev
	@touch $(STAMP_RUN) $@

$(STAMP_313): pyproject.toml
	@tools/make-venv python3.13 $(VENV_313)
	@echo "installing Astrolabe and its tests' tools into $(VENV_313)"
	@$(VENV_313)/bin/python -m pip install $(PIP_FLAGS) -e '.[server]' --group dev
	@touch $@
