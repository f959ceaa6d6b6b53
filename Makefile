# `make serve` and `make test` are all that a newcomer needs. Both set themselves up: they find a Python, make .venv and
# install the locked dependencies with uv, which they install themselves. Nothing is written outside this folder.
#
#   make serve ARGS="--port 5051"     run the server
#   make test                         everything: format, lint, types, import contracts, every test
#   make check                        the same without the tests
#   make unit                         the quick tests
#   make format                       put the code in shape
#   make fuzz                         200,000 malformed requests to each face (some minutes)
#   make test-s3-second               the tests of the store of blobs on a second server of S3's protocol (needs Go)
#   make test-every-order             units of PostgreSQL in each other's middle, in every order (some minutes)
#   make chaos                        kill, stop and starve servers for half an hour while clients work (needs PostgreSQL)
#   make bench                        compare the speed with CNCF Distribution's (needs Go)
#   make bench-storages               ... of every place that bytes and rows may be in; also bench-large, bench-collecting
#                                     and bench-sealing (docs/benchmarks.md)
#   make fixture                      keep a data folder of this version, which all later ones must open
#   make tools                        build the outside clients that some tests drive (needs Go)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# The first that is new enough is taken; set PYTHON to choose.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)
BIN := .venv/bin
ARGS ?=
WORKERS ?= 2
BENCHMARKS := bench-storages bench-large bench-collecting bench-sealing

# uv must use the Python that was found, the environment here, the index that the lock names, and the certificates that
# the machine trusts (behind a company's proxy its own are not enough).
export UV_PYTHON_DOWNLOADS := never
export UV_SYSTEM_CERTS := true
export UV_PROJECT_ENVIRONMENT := .venv
unexport VIRTUAL_ENV
unexport PYTHONPATH
# Images of Python often forbid it to keep what it compiled. Every server then compiles all libraries anew, which takes
# longer than all else that a start does, and the tests start hundreds. It is kept in here.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/compiled

.PHONY: help serve test check format-check lint types pyright imports unit format fuzz chaos test-s3-second test-every-order bench $(BENCHMARKS) tools clean

help:
	@sed -n 's/^#   //p' Makefile

serve: .venv/.synced
	@exec $(BIN)/openecr serve $(ARGS)

# Static checks first and side by side: they are quick and a red one saves the wait for the tests.
test: .venv/.synced
	@$(MAKE) --no-print-directory --keep-going -j $(WORKERS) --output-sync=target check
	$(BIN)/pytest -n $(WORKERS) $(ARGS)

check: format-check lint types pyright imports

format-check: .venv/.synced
	@$(BIN)/ruff format --check

lint: .venv/.synced
	@$(BIN)/ruff check

types: .venv/.synced
	@$(BIN)/mypy

pyright: .venv/.synced
	@$(BIN)/basedpyright

imports: .venv/.synced
	@$(BIN)/lint-imports

unit: .venv/.synced
	@$(BIN)/pytest -n $(WORKERS) -m "not slow" tests/unit tests/architecture $(ARGS)

format: .venv/.synced
	@$(BIN)/ruff check --fix
	$(BIN)/ruff format

fuzz: .venv/.synced
	@OPENECR_FUZZ_REQUESTS=$${OPENECR_FUZZ_REQUESTS:-200000} $(BIN)/pytest -n 0 -s tests/fuzz $(ARGS)

test-s3-second: .venv/.synced
	@.ci/tools versitygw
	OPENECR_REQUIRE_ALL=1 $(BIN)/pytest -n 0 -k Versity tests/contract $(ARGS)

test-every-order: .venv/.synced
	@OPENECR_REQUIRE_ALL=1 OPENECR_TEST_EVERY_ORDER=1 $(BIN)/pytest -n $(WORKERS) \
		$$(grep -l 'contract.interleavings' tests/contract/test_*.py) $(ARGS)

# Each of the three sites for a third of the time.
chaos: .venv/.synced
	@.ci/tools swift
	OPENECR_REQUIRE_ALL=1 OPENECR_CHAOS_SECONDS=$${OPENECR_CHAOS_SECONDS:-700} $(BIN)/pytest -n 0 -s tests/chaos $(ARGS)

bench: .venv/.synced tools
	@PATH="$(CURDIR)/.tools/bin:$$PATH" $(BIN)/python -m benchmarks $(ARGS)

$(BENCHMARKS): bench-%: .venv/.synced tools
	@PATH="$(CURDIR)/.tools/bin:$$PATH" $(BIN)/python -m benchmarks.$* $(ARGS)

fixture: .venv/.synced
	@$(BIN)/python -m tests.durability.data_folders

tools:
	@.ci/tools

clean:
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# pip brings the very uv that the lock names; uv then makes .venv hold what the lock says and nothing else.
.venv/.synced: pyproject.toml uv.lock .venv/.made
	@$(BIN)/uv --version >/dev/null 2>&1 \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check \
			"uv==$$(sed -n '/^name = "uv"$$/{n;s/^version = "\(.*\)"/\1/p}' uv.lock)"
	$(BIN)/uv sync --quiet --locked --python $(BIN)/python
	touch $@

.venv/.made:
	@if [ -z "$(PYTHON)" ]; then
		echo "OpenECR needs Python 3.11 or newer: apt-get install python3.11 (or set PYTHON)" >&2; exit 1
	fi
	if ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then
		package=$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
		echo "This Python lacks venv and pip: apt-get install $$package" >&2; exit 1
	fi
	"$(PYTHON)" -m venv --clear .venv
	touch $@
