# Every target makes the environment first when it is missing or out of date; nothing is done by hand.
# `make help` lists the targets.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# Written last: the environment is whole only when this file is newer than what it was made from.
READY := $(VENV)/.ready
# `make env CPU=1` takes the build of torch without CUDA from PyTorch's own index; the environment then stays one of that kind.
CPU ?= $(shell cat $(READY) 2>/dev/null)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# One more than there are cores: some tests wait for others.
PARALLEL := --numprocesses 3 --dist worksteal

.DEFAULT_GOAL := help
TRAINED := outputs/make_train/$(shell date +%Y-%m-%d_%H-%M-%S)
# What the embedded example is trained with; chosen by cross-validation over its training rows.
TRAINING := recipe=small head.rank=4 head.hidden=[64] head.dropout=0.7 optimizer.weight_decay=3 train.batch_size=48 \
	train.max_steps=300 train.patience=null train.keep_every=100

.PHONY: help env run train test test-gpu test-slow test-all lint format docs bench bench-audio bench-memory bench-public bench-scale bench-serving bench-start bench-statistics bench-stores bench-training mutants ui screenshots clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

env: $(READY) ## Make the environment (.venv) with the pinned versions (CPU=1: a third of the size, without CUDA)

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on the PATH: install Python 3.11, or use make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(if $(CPU),$(PIP) --no-deps --index-url $(TORCH_INDEX) torch torchaudio)
	$(PIP) --editable '.[dev,docs]'
	@echo $(CPU) > $@

run: $(READY) ## Run the embedded benchmark with the signal baseline (nothing is downloaded but the environment)
	$(BIN)/python run.py model=signal data=mini +device=cpu

train: $(READY) ## Train a small head on the embedded example, sweep over its checkpoints, and compare them with the signal baseline
	$(BIN)/python run.py task=train data=mini model=audio_statistics $(TRAINING) +device=cpu hydra.run.dir=$(TRAINED)/training
	$(BIN)/python run.py -m +sweep=checkpoints sweep.checkpoint_dir=$(TRAINED)/training/checkpoints data=mini +device=cpu \
		hydra.sweep.dir=$(TRAINED)/checkpoints
	$(BIN)/python run.py model=signal data=mini +device=cpu hydra.run.dir=$(TRAINED)/signal
	$(BIN)/python run.py task=compare runs=[$(TRAINED)/checkpoints,$(TRAINED)/signal] hydra.run.dir=$(TRAINED)/comparison

test: lint ## Lint, type-check and run the tests that are not slow (less than 5 minutes on 2 cores)
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-slow: $(READY) ## Run the slow tests: subprocesses, several processes, a browser, full sizes
	$(BIN)/python -m pytest $(PARALLEL) -m slow

test-gpu: $(READY) ## Run the tests that need a CUDA GPU; they say so where there is none
	$(BIN)/python -m pytest -m gpu -rs tests/gpu

test-all: test test-slow ## Run everything

lint: $(READY) ## Check style, types, and that imports run down only
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY) ## Build the documentation site (site/index.html), without a warning
	$(BIN)/python docs/build_site.py

bench-scale: $(READY) ## Measure how memory and time grow with the number of rows, to a million: an hour or more (outputs/bench/; ROWS="1000 10000")
	$(BIN)/python -m benchmarks.scale $(ROWS)

bench: $(READY) ## Measure how fast CMI-RM scores, on a random network of its size (outputs/bench/; ROWS=16, or on a GPU DEVICE=cuda CLIPS=1024)
	$(BIN)/python -m $(if $(DEVICE),benchmarks.gpu $(CLIPS),benchmarks.inference $(ROWS))

bench-public: $(READY) ## Measure CMI-RM beside the public code, 4 GB for a while (REPO=checkout of it, PYTHON_PUBLIC=its interpreter, DEVICE=cuda, WORDS="--busy 0 2 4")
	$(BIN)/python -m benchmarks.against_public --repo "$(or $(REPO),CMI-RewardBench)" --device $(or $(DEVICE),cpu) \
		$(if $(PYTHON_PUBLIC),--python $(PYTHON_PUBLIC)) $(WORDS)

bench-training: $(READY) ## Measure how fast CMI-RM's head trains on cached embeddings, 7 GB for a while (outputs/bench/; STEPS=6, DEVICE=cuda)
	DEVICE=$(DEVICE) $(BIN)/python -m benchmarks.training $(STEPS)

bench-stores: $(READY) ## Measure how fast a million scores and 100,000 embeddings are kept and found, 3 GB for a while (outputs/bench/; SCORES, EMBEDDINGS)
	$(BIN)/python -m benchmarks.stores $(or $(SCORES),1000000) $(or $(EMBEDDINGS),100000)

bench-statistics: $(READY) ## Simulate how often intervals hold the truth and tests find what is not there (outputs/bench/; REPLICATES=1000)
	$(BIN)/python -m benchmarks.statistics --replicates $(or $(REPLICATES),1000)

bench-start: $(READY) ## Measure how soon mistakes are told and work shows its first line (outputs/bench/; REPEATS=5)
	$(BIN)/python -m benchmarks.first_output --repeats $(or $(REPEATS),5)

bench-memory: $(READY) ## Measure how much memory CMI-RM takes by batch and length of clips, 3 GB of disk for a while (outputs/bench/)
	$(BIN)/python -m benchmarks.memory

bench-audio: $(READY) ## Measure how fast audio is decoded (outputs/bench/; MUSIC=folder for music of your own)
	$(BIN)/python -m benchmarks.audio $(MUSIC)

bench-serving: $(READY) ## Measure a reward server under load against the plain loop (outputs/bench/; MODEL=signal, CHECKPOINT, SECONDS=60)
	$(BIN)/python -m benchmarks.serving --model $(or $(MODEL),signal) --seconds $(or $(SECONDS),60) \
		$(if $(CHECKPOINT),--checkpoint $(CHECKPOINT))

mutants: $(READY) ## Put mistakes into what changed since main, one at a time, and list those no test notices (FILES, SINCE, SET, SAMPLE, SEED, TESTS, THEN)
	$(BIN)/python -m benchmarks.mutants $(FILES) $(if $(SINCE),--since $(SINCE)) $(if $(SET),--set $(SET)) \
		$(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) $(if $(TESTS),--tests $(TESTS)) $(if $(THEN),--then $(THEN))

ui: $(READY) ## Open the MLflow pages of the recorded runs: models and runs (http://127.0.0.1:5000; PORT=5001)
	$(BIN)/cmi-bench ui $(if $(PORT),--port $(PORT))

screenshots: $(READY) ## Take the pictures of MLflow in docs/images/ (needs chromium)
	$(BIN)/python -m benchmarks.screenshots

clean: ## Remove the environment and caches; runs and data stay
	rm -rf $(VENV) .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
