# The project's commands. `make help` lists them.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
CONFIG ?= serve_config.yaml
# The extra of this machine: vLLM for its GPUs, or vLLM for the CPU.
EXTRA  ?= $(if $(shell command -v nvidia-smi),gpu,cpu)

# uv does not read pip's settings: wheels that pip would find in a folder are found there by uv too.
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null || echo $$PIP_FIND_LINKS)
export PYTHONUNBUFFERED := 1

INSTALLED := $(VENV)/.installed-$(EXTRA)
COMPILE := $(BIN)/uv pip compile --quiet --no-header --no-annotate pyproject.toml --extra dev

.DEFAULT_GOAL := help
.PHONY: help install serve test check format constraints bench-parity bench-store bench-emitter clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## create the environment (again only when its inputs change)

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $$(test -f constraints/$(EXTRA).txt && echo --constraint constraints/$(EXTRA).txt) uv

$(INSTALLED): pyproject.toml constraints/$(EXTRA).txt cpu-overrides.txt $(BIN)/uv
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints/$(EXTRA).txt \
		$(if $(filter cpu,$(EXTRA)),--override cpu-overrides.txt) --editable '.[$(EXTRA),dev]'
	touch $@

serve: install ## serve the model of serve_config.yaml (CONFIG=file for another)
	@$(BIN)/python -m deployments.launch $(CONFIG)

test: install check ## everything: the checks, then the whole suite with the real engine
	$(BIN)/python -m pytest

check: install ## ruff, mypy strict, the import rules, the configuration
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deployments.check_config serve_config.yaml

format: install ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-parity: install ## our tokens/s and first token beside vLLM's own server, in one run
	$(BIN)/python -m tests.bench.bench_parity

bench-store: install ## the stores' appends/s beside bare SQLite
	$(BIN)/python -m tests.bench.bench_store

bench-emitter: install ## the emitter's events/s beside a bare encoder
	$(BIN)/python -m tests.bench.bench_emitter

constraints: $(BIN)/uv ## pin all dependencies anew, for both extras
	mkdir -p constraints
	$(COMPILE) --upgrade --extra cpu --override cpu-overrides.txt --output-file constraints/cpu.txt
	@# What both need is pinned alike: uv prefers the versions of a file that is there already.
	cp constraints/cpu.txt constraints/gpu.txt
	UV_FIND_LINKS= $(COMPILE) --extra gpu --output-file constraints/gpu.txt

clean: ## remove the environment
	rm -rf $(VENV)
