# Highwater's commands. Each sets up what it needs by itself: Python 3.11 or later, make and PyPI are all it takes;
# `make test` tries resharding too where there is npm, and looks at the dashboard where there is a Chromium.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# The Kinesis of the resharding test runs on Node, and npm has what looks for obstacles to accessibility in the dashboard.
# Without npm these tests alone are skipped, and say so; CI fails then.
KINESIS_LOCAL := tests/integration/kinesis_local
BROWSER       := tests/browser
NODE_READY    := $(if $(shell command -v npm 2>/dev/null),$(KINESIS_LOCAL)/node_modules/.ready $(BROWSER)/node_modules/.ready)

# File by file, in the order in which they are named.
PARALLEL := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# What is given on the command line, and not by a shell that has exported something of that name for something else.
given    = $(if $(filter command,$(origin $(1))),$($(1)))
option   = $(if $(call given,$(1)),$(2) $(call given,$(1)))
settings = $(foreach parameter,$(call given,SET),--set $(parameter)) # SET: parameters of the stack, for once
DEPLOY   = $(strip $(BIN)/python -m ops.deploy --stage $(STAGE) $(call option,BUCKET,--bucket) $(call option,ARCH,--arch) $(settings))

ifneq ($(filter package preflight deploy,$(MAKECMDGOALS)),)
ifeq ($(call given,STAGE),)
$(error Say which stage, here: make $(firstword $(filter package preflight deploy,$(MAKECMDGOALS))) STAGE=dev)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo test stage loadtest check lint format types imports simulate bench screenshots package preflight deploy deploy-local clean

help: ## Print every target with what it does
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make the virtual environment (every other target does so by itself)

$(READY): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.txt
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib # on all cores: pip compiles on one
	@touch $@

%/node_modules/.ready: %/package.json %/package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund --prefix $*
	@touch $@

demo: $(READY) ## Count 69 659 real orders on a local stage, and check every total, result and alert against the file
	$(BIN)/python -m loadtest.demo

# The first line computes, what takes longest first; the tests of the second start whole stages, and wait for them a lot.
test: $(READY) $(NODE_READY) ## Run the tests
	$(PARALLEL) tests/simulation tests/contract tests/unit
	$(PARALLEL) tests/browser tests/integration

stage: $(READY) ## Run a local stage: AWS on 127.0.0.1:4566 (AWS_PORT=…), the API on :8000 (API_PORT=…); Ctrl-C stops it
	$(BIN)/python -m localstage $(call option,AWS_PORT,--aws-port) $(call option,API_PORT,--api-port)

loadtest: $(READY) ## Load a stage and prove every count: make loadtest STAGE=local PROFILE=smoke (WORKERS=…)
	@$(BIN)/python -m loadtest $(call option,STAGE,--stage) $(call option,PROFILE,--profile) $(call option,WORKERS,--workers)

check: lint types imports test ## What CI runs: lint, types, import contracts, tests

lint: $(READY) ## Check style and format, and the workflows' security
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/zizmor --offline --quiet .github

format: $(READY) ## Put style and format right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## Check types
	$(BIN)/mypy

imports: $(READY) ## Check that imports run one way
	$(BIN)/lint-imports

simulate: $(READY) ## Run the real consumers through seeded faults: make simulate RUNS=10000 TABLES_RUNS=1000
	$(BIN)/python -m tests.simulation.simulate --runs $(or $(RUNS),2000)
	$(BIN)/python -m tests.simulation.tables.simulate --runs $(or $(TABLES_RUNS),40)

bench: $(READY) ## Measure all of docs/performance.md, and make it anew: make bench SECTIONS="costs memory" (QUICK=1 to try)
	$(BIN)/python -m benchmarks $(call given,SECTIONS) $(if $(call given,QUICK),--quick)
	$(if $(call given,QUICK),,$(BIN)/python -m benchmarks.render)

screenshots: $(READY) ## Make docs/screenshots anew: the dashboard over real orders on a local stage, in Chromium
	$(BIN)/python -m tests.browser.screenshots

package: $(READY) ## Make a stage's package in out/: make package STAGE=dev (ARCH=… for once)
	$(BIN)/python -m ops.package --stage $(STAGE) $(call option,ARCH,--arch)

preflight: package ## Package a stage and hold it against the production checklist: make preflight STAGE=prod SET="AlarmEmail=…"
	$(BIN)/python -m ops.preflight --stage $(STAGE) $(settings)

deploy: $(READY) ## Package, preflight and deploy a stage: make deploy STAGE=dev BUCKET=my-artifacts SET="Name=Value …"
	$(DEPLOY) --check
	@$(MAKE) --no-print-directory preflight
	$(DEPLOY)

deploy-local: $(READY) ## Package a stage, deploy it on an emulated AWS (AWS_PORT=…) and try it there; Ctrl-C stops it
	$(BIN)/python -m localstage.deployed $(call option,STAGE,--stage) $(call option,AWS_PORT,--aws-port) $(settings)

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(KINESIS_LOCAL)/node_modules $(BROWSER)/node_modules out .localstage .chalice/deployments .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
