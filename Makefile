PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup run test e2e images lint format reference bench bench-accuracy lock clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/' | expand -t 18

$(STAMP): locks/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r locks/dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP) ## make .venv from the lock file

run: $(STAMP) ## the whole pipeline on the built-in sample: tokenize, train, evaluate, gate, export
	$(BIN)/kubert run

test: $(STAMP) ## every test that needs neither a cluster nor a network
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/faults
	$(BIN)/python -m pytest tests/faults

e2e: $(STAMP) ## the tests that need a cluster, against the one that KUBECONFIG names
	$(BIN)/python -m pytest -m e2e tests/e2e -rs

images: ## both container images (podman or docker; DEVICE=gpu, BASE=, PUSH=), and build/images.env with their digests
	docker/build.sh

lint: $(STAMP) ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(STAMP) ## generate docs/reference from the code
	PYTHONPATH=. $(BIN)/python docs/generate_reference.py

$(BENCH_STAMP): locks/bench.txt pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r locks/bench.txt
	$(BENCH)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

bench: $(BENCH_STAMP) ## speed against what one would use instead (DATA=directory with AG News' train.csv and test.csv); the environment takes 7 GB
	@test -n "$(DATA)" || { echo "make bench DATA=DIR: the directory with AG News' train.csv and test.csv"; exit 2; }
	$(BENCH)/bin/python -m benchmarks.harness --data $(DATA) --workdir .kubert/bench

bench-accuracy: $(STAMP) ## AG News with the shipped configurations (DATA=as for bench); hours on two cores
	@test -n "$(DATA)" || { echo "make bench-accuracy DATA=DIR: the directory with AG News' train.csv and test.csv"; exit 2; }
	$(BIN)/python benchmarks/suites/accuracy_ag_news.py --data $(DATA) --workdir .kubert/bench

COMPILE := uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

# The images and the benchmarks get the versions that the tests ran with: their locks are bound by dev.txt.
lock: ## pin every dependency anew, with hashes (needs uv)
	cd locks \
	&& $(COMPILE) --override overrides.txt --override overrides-cpu.txt dev.in -o dev.txt \
	&& $(COMPILE) --override overrides.txt --override overrides-cpu.txt --constraint dev.txt train.in -o train.txt \
	&& $(COMPILE) --override overrides.txt --override overrides-gpu.txt --constraint dev.txt train-gpu.in -o train-gpu.txt \
	&& $(COMPILE) --override overrides.txt --override overrides-cpu.txt --override overrides-bench.txt --constraint dev.txt bench.in -o bench.txt \
	&& $(COMPILE) --constraint dev.txt tools.in -o tools.txt \
	&& $(COMPILE) --constraint dev.txt --no-deps executor.in -o executor.txt

clean: ## remove the environment, the caches and the work directory
	rm -rf $(VENV) $(BENCH) .kubert .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
