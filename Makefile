# tokgraft: `make help` lists the targets. Everything is installed into .venv; nothing global is touched.
SHELL  := /bin/bash
PYTHON := python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := 0.9.9
TORCH  := cpu
# What is given as `make target NAME=value`. Set here to nothing, so that the environment, which may have a LANGUAGE or a MODEL, chooses nothing.
CONFIG :=
STAGE :=
LANGUAGE :=
METHOD :=
MODEL :=
ONLY :=
NEEDED :=
TARGET :=
EXPERIMENT :=
REMOTE :=
URL :=
ENDPOINT :=
PORT :=
# Extra flags for snakemake, e.g. ARGS="--cores 8 --dry-run".
ARGS :=
export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true

# torch==2.13.0 takes a CPU build where pip knows one (a wheel folder or an extra index), else the registry's CUDA build, which runs
# on a CPU too; torch===2.13.0 matches the registry's CUDA build only.
TORCH_PIN := $(if $(filter cuda,$(TORCH)),torch===2.13.0,torch==2.13.0)

# What `make demo` and `make run` run.
EXPERIMENT_FILE = $(or $(CONFIG),config/config.yaml)
# Targets go before these: --configfile takes every word that follows.
FLAGS := $(if $(CONFIG),--configfile '$(CONFIG)') $(ARGS)
# Where the tables of the experiment lie: its name decides, not the target that runs it.
WHERE := tokgraft list results $(if $(CONFIG),--settings '$(CONFIG)')

.PHONY: help setup demo run report snakemake-report push pull remote ui test test-fast test-integration parity bench checks format lock schema clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

setup: $(VENV)/.ready  ## Install everything into .venv (GPU: make setup TORCH=cuda)

$(VENV)/.ready: envs/lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version 2>&1) found. Say which to use: make setup PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv; \
	  else echo "Python's venv module is missing. Type: sudo apt-get update && sudo apt-get install python3-venv"; exit 1; fi; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	$(BIN)/uv pip install --quiet --no-deps --compile-bytecode --python $(BIN)/python -r envs/lock.txt \
	  || $(BIN)/python -m pip install --quiet --no-deps -r envs/lock.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH_PIN)"
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python -e . \
	  || $(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

demo: setup  ## The default experiment, end to end: two languages, two base models (no GPU, no hub needed)
	tokgraft run '$(EXPERIMENT_FILE)' $(ARGS)
	@echo; $(WHERE)

run: setup  ## Another experiment: make run CONFIG=config/experiments/smoke.yaml [ARGS="--cores 8"]
	tokgraft run '$(EXPERIMENT_FILE)' $(ARGS)
	@echo; $(WHERE)

report: setup  ## Tables and report of an experiment, and what they still lack: results/experiments/<name>/tables/report.html
	snakemake report_build $(FLAGS)
	@echo; $(WHERE)

snakemake-report: setup  ## Snakemake's own report with run times and provenance
	snakemake --report results/snakemake-report.html $(FLAGS)

push: setup  ## Record the run's artifacts (dvc.lock, snakemake.lock) and push them to the store: make push [EXPERIMENT=name] [REMOTE=name]
	tokgraft push $(if $(EXPERIMENT),--experiment $(EXPERIMENT)) $(if $(REMOTE),--remote $(REMOTE))

pull: setup  ## Fetch stored artifacts, verified: make pull [STAGE=.. LANGUAGE=.. METHOD=.. MODEL=..] [ONLY=1], or what a run needs: NEEDED=1
	tokgraft pull $(if $(REMOTE),--remote $(REMOTE)) $(if $(STAGE),--stage $(STAGE)) $(if $(LANGUAGE),--language $(LANGUAGE)) \
	  $(if $(METHOD),--method $(METHOD)) $(if $(MODEL),--model $(MODEL)) $(if $(ONLY),--only) $(if $(NEEDED),--needed) --run $(TARGET) $(FLAGS)

remote: setup  ## Name the team's store: make remote URL=/shared/folder | s3://bucket/folder [ENDPOINT=https://...] | ssh://host/folder
	@test -n "$(URL)" || { echo "Which store? make remote URL=/shared/folder, URL=s3://bucket/folder or URL=ssh://host/folder"; exit 1; }
	dvc remote add --quiet --force --default store '$(URL)'
	$(if $(ENDPOINT),dvc remote modify --quiet store endpointurl '$(ENDPOINT)')
	@echo "The store is $(URL). For the team: git add .dvc/config && git commit. Credentials go to .dvc/config.local or the environment."

ui: setup  ## Compare the runs in the MLflow UI: prints (and opens) a table of bits per byte for each model and language
	$(BIN)/tokgraft ui $(if $(PORT),--port $(PORT))

test: setup  ## All checks and tests: style, types, layers, unit, contract, dry runs, the whole pipeline on a tiny real sample
	$(MAKE) --no-print-directory checks
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: setup  ## Tests without the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not network and not integration"

test-integration: setup  ## Tests with real parts: DVC stores, MLflow on PostgreSQL, Slurm, injected faults
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python -r envs/integration.txt \
	  || $(BIN)/python -m pip install --quiet --no-deps -r envs/integration.txt
	$(BIN)/python -m pytest -m integration tests/integration

$(VENV)-parity/.ready: $(VENV)/.ready envs/parity.txt
	$(PYTHON) -m venv $(VENV)-parity
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > "$$($(VENV)-parity/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tokgraft.pth"
	$(BIN)/uv pip install --quiet --no-deps --python $(VENV)-parity/bin/python -r envs/parity.txt \
	  || $(VENV)-parity/bin/python -m pip install --quiet --no-deps -r envs/parity.txt
	@touch $@

# The environment of its own only adds packages: those of .venv are seen through a .pth file. Real inputs that results/ lacks are made in
# .cache/parity, once.
parity: $(VENV)-parity/.ready  ## Methods beside the reference packages, which get an environment of their own (.venv-parity)
	TOKGRAFT_PARITY=all $(VENV)-parity/bin/python tests/real.py
	TOKGRAFT_PARITY=all $(VENV)-parity/bin/python -m pytest -n 0 -rs tests/parity

# Inputs of the real case are those of `make demo`; what is missing is made. An interrupted measurement goes on where it was.
BENCH := results/bench
BENCH_MODEL := results/models/smollm2-135m/base
bench: $(VENV)-parity/.ready  ## Speed of every method beside the reference packages, memory from 16k to 128k tokens (hours; docs/benchmarks.md)
	snakemake $(BENCH_MODEL)/manifest.json results/corpora/deu_Latn/manifest.json results/corpora/eng_Latn/manifest.json $(FLAGS)
	$(VENV)-parity/bin/python -m tests.bench.speed --base $(BENCH_MODEL) --corpus results/corpora/deu_Latn --english results/corpora/eng_Latn \
	  --folder $(BENCH)/german --out $(BENCH)/speed.json
	$(BIN)/python -m tests.bench.memory --out $(BENCH)/memory.json
	$(BIN)/python -m tests.bench.tables --folder $(BENCH)

checks: setup  ## Style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check --line-length 120 Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Rewrite the files in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt --line-length 120 Snakefile workflow

schema: setup  ## Write config/schema.json and docs/configuration.md from the configuration models
	$(BIN)/tokgraft list schema > config/schema.json
	$(BIN)/tokgraft list configuration > docs/configuration.md

lock:  ## Resolve envs/requirements.in into envs/lock.txt
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)-lock/bin/python -m pip install --quiet -r envs/requirements.in
	(head -1 envs/lock.txt; $(VENV)-lock/bin/python -m pip freeze | grep -viE '^(torch|fasttext|fasttext-predict)==') > envs/lock.new
	mv envs/lock.new envs/lock.txt && rm -rf $(VENV)-lock
	$(PYTHON) envs/conda.py > envs/tokgraft.yaml

clean:  ## Delete results, logs and benchmarks (asks first)
	@read -p "Delete results/, logs/, benchmarks/? [y/N] " answer && [ "$$answer" = y ] && rm -rf results logs benchmarks
