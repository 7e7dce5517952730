PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed
DOCS := .venv-docs
DOCS_STAMP := $(DOCS)/.installed
DATA_FILES := the directory with AG News' train.csv and test.csv
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
PIP_INSTALL := -W ignore -m pip install --disable-pip-version-check --quiet --no-deps

.DEFAULT_GOAL := help
.PHONY: help setup run test nightly fuzz e2e images lint format reference docs release-check screenshots notebook bench bench-accuracy lock clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/' | expand -t 18

$(STAMP): locks/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r locks/dev.txt
	$(BIN)/python $(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

setup: $(STAMP) ## create .venv from the lock file

run: $(STAMP) ## run the whole pipeline on the built-in sample
	$(BIN)/kubert run

test: $(STAMP) ## run every test that needs neither a cluster nor a network
	$(PYTEST)

nightly: $(STAMP) ## run the slow tests that repeat others, or train for minutes
	$(PYTEST) -m nightly

fuzz: $(STAMP) ## read damaged sources for half an hour (MINUTES=)
	end=$$(($$(date +%s) + 60 * $(or $(MINUTES),30))); \
	while [ $$(date +%s) -lt $$end ]; do \
	  $(BIN)/python -m pytest tests/fuzz -x --timeout 0 --hypothesis-profile=fuzz || exit 1; \
	done

e2e: $(STAMP) ## run the tests that need a cluster, on the one of KUBECONFIG
	$(BIN)/python -m pytest -m e2e tests/e2e -rs

images: ## build the images and build/images.env (DEVICE=gpu, BASE=, PUSH=)
	docker/build.sh

lint: $(STAMP) ## check rules, format and types (ruff, mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## fix and format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(STAMP) ## generate docs/reference and the fault catalogue from the code
	$(BIN)/python -m docs.generate_reference
	$(BIN)/python -m docs.generate_fault_catalogue

$(DOCS_STAMP): locks/docs.txt locks/docs-assets.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python $(PIP_INSTALL) --require-hashes -r locks/docs.txt -r locks/docs-assets.txt
	@touch $@

docs: $(DOCS_STAMP) ## build the documentation site in build/site, with all links checked
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

release-check: $(STAMP) ## check what a release needs; changes nothing
	$(BIN)/python docker/check_release.py

screenshots: $(STAMP) ## take the pictures in docs/images again (needs Chromium)
	$(BIN)/python -m docs.take_screenshots

notebook: $(STAMP) ## run examples/attention.ipynb again and store its outputs
	$(BIN)/python -m docs.execute_notebook

$(BENCH_STAMP): locks/bench.txt pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python $(PIP_INSTALL) --require-hashes -r locks/bench.txt
	$(BENCH)/bin/python $(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

bench: $(BENCH_STAMP) ## measure speed on AG News (DATA=DIR); its environment takes 7 GB
	@test -n "$(DATA)" || { echo "$@: set DATA=DIR, $(DATA_FILES)"; exit 2; }
	$(BENCH)/bin/python -m benchmarks.harness --data $(DATA) --workdir .kubert/bench

bench-accuracy: $(STAMP) ## measure accuracy on AG News (DATA=DIR); takes hours
	@test -n "$(DATA)" || { echo "$@: set DATA=DIR, $(DATA_FILES)"; exit 2; }
	$(BIN)/python benchmarks/suites/accuracy_ag_news.py --data $(DATA) --workdir .kubert/bench

COMPILE := uv pip compile --quiet --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header
CPU := --override overrides.txt --override overrides-cpu.txt
GPU := --override overrides.txt --override overrides-gpu.txt
TESTED := --constraint dev.txt

# The images and the benchmarks use the versions that the tests ran with: dev.txt constrains them.
lock: ## pin all dependencies again, with hashes (needs uv)
	cd locks \
	&& $(COMPILE) $(CPU) dev.in -o dev.txt \
	&& $(COMPILE) $(CPU) $(TESTED) train.in -o train.txt \
	&& $(COMPILE) $(GPU) $(TESTED) train-gpu.in -o train-gpu.txt \
	&& $(COMPILE) $(CPU) --override overrides-bench.txt $(TESTED) bench.in -o bench.txt \
	&& $(COMPILE) $(TESTED) tools.in -o tools.txt \
	&& $(COMPILE) $(TESTED) --no-deps executor.in -o executor.txt \
	&& $(COMPILE) $(TESTED) docs.in -o docs.txt \
	&& $(COMPILE) $(TESTED) --no-deps docs-assets.in -o docs-assets.txt

clean: ## remove the environment, the caches and the work directory
	rm -rf $(VENV) $(BENCH) $(DOCS) .kubert .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
