# Everything below needs Python 3.11 or newer and nothing else; `make` alone shows the list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# For example PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" to leave CUDA out.
PIP_ARGS ?=
TESTS ?=
# Processes that share the tests, file by file; each needs up to 2 GB.
JOBS ?= 2
# For example DEMO="--pair human+cat --seed 1".
DEMO ?=
# Seeds of each training of a table, and further options, for example TABLE="--columns human+dog".
SEEDS ?= 1
TABLE ?=
# For example ANALYSES="--rows dife,dve --pairs human+dog".
ANALYSES ?=
# For example FIGURES="fig3 --rows surface-teacher,dife --each 3".
FIGURES ?=
# For example LANDMARKS="--rows meta-cskt,supervised --curve".
LANDMARKS ?=
# photos, mafl_ap10k or wflw_animalweb: the table on photographs instead of the embedded world.
BENCHMARK ?=
TABLE_ARGS = --seeds $(SEEDS) $(if $(BENCHMARK),--benchmark $(BENCHMARK)) $(TABLE)
export NO_ALBUMENTATIONS_UPDATE = 1

.DEFAULT_GOAL := help
.PHONY: help setup demo world reproduce-table1 reproduce-table2 reproduce-table3 reproduce-table4 reproduce-meta-cskt tables analyses figures gallery bench test coverage test-fast test-extras test-lowest test-newest lint format types docs wheel clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the package with its tested dependencies

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; try make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## train and test DIFE on the embedded world, human+dog; results in results/demo (resumable)
	$(BIN)/python -m experiments.demo $(DEMO)

world: $(STAMP) ## rebuild the shipped generators and the surface teacher (resumable; 2 to 3 hours on a CPU with AMX)
	$(BIN)/python -m experiments.build.world

reproduce-table1: $(STAMP) ## the paper's table 1 on the embedded world; SEEDS=3 for mean and spread (resumable)
	$(BIN)/python -m experiments.tables table1 $(TABLE_ARGS)

reproduce-table2: $(STAMP) ## table 2: nine points
	$(BIN)/python -m experiments.tables table2 $(TABLE_ARGS)

reproduce-table3: $(STAMP) ## table 3: what each loss is good for
	$(BIN)/python -m experiments.tables table3 $(TABLE_ARGS)

reproduce-table4: $(STAMP) ## table 4: which layer of the generator is tapped
	$(BIN)/python -m experiments.tables table4 $(TABLE_ARGS)

reproduce-meta-cskt: $(STAMP) ## Meta-CSKT, its ablation and baselines; BENCHMARK=photos, SEEDS=3, LANDMARKS="--curve" (resumable)
	$(BIN)/python -m experiments.landmarks $(or $(BENCHMARK),world) --seeds $(SEEDS) $(LANDMARKS)

tables: $(STAMP) ## tables 1 to 4 from the committed records, without any training
	$(BIN)/python -m experiments.tables table1 table2 table3 table4 --records experiments/records/world --no_training

analyses: $(STAMP) ## analyses of the tests of table 1: landmarks, swaps, PCK, pose, failures
	$(BIN)/python -m experiments.analyses $(ANALYSES)

figures: $(STAMP) ## figures 3 and 4 from the runs of table 1: transfers by all methods, embeddings in colour
	$(BIN)/python -m experiments.figures $(if $(BENCHMARK),--benchmark $(BENCHMARK)) $(FIGURES)

gallery: $(STAMP) ## a page of pictures of all that the shipped models do: results/showcase/index.html
	$(BIN)/python -m experiments.figures.showcase

bench: $(STAMP) ## speed and memory of the hot paths, beside public reference code; results/bench.json
	$(BIN)/python -m experiments.bench

test: $(STAMP) ## run all tests; TESTS="-k name" selects some
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

coverage: $(STAMP) ## run all tests and print the coverage, which takes up to twice as long
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(TESTS)

test-fast: $(STAMP) ## run the quick tests alone, without those marked slow
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow" $(TESTS)

# sleap-io installs a package `tests`, which hides ours from the processes that other tests start.
test-extras: ## run the tests that `make test` skips without the extras backbones and sleap, in build/extras
	$(PYTHON) -m venv build/extras
	build/extras/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt \
	  -e '.[dev,backbones,sleap]'
	build/extras/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
	  -k "backbone or dinov or sleap" $(TESTS) \
	  $$(grep -rl --include='test_*.py' -E "importorskip\(\"(transformers|sleap_io)\"" tests)

test-lowest: ## run the quick tests with the oldest allowed version of each dependency, in build/lowest
	$(call own-versions,lowest,--resolution lowest-direct)

test-newest: ## run the quick tests with the newest allowed version of each dependency, in build/newest
	$(call own-versions,newest,--resolution highest)

# Make the environment build/$(1) with uv and the option $(2), then run the quick tests in it.
define own-versions
	$(PYTHON) -m venv build/$(1)
	build/$(1)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	build/$(1)/bin/uv pip install --quiet --python build/$(1)/bin/python $(2) -e '.[dev]'
	build/$(1)/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow" $(TESTS)
endef

lint: $(STAMP) ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(STAMP) ## format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(STAMP) ## check types
	$(BIN)/mypy

docs: $(STAMP) ## build the documentation in build/docs; warnings are errors
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs build/docs

wheel: $(STAMP) ## build dist/*.whl, with configurations and assets inside
	$(BIN)/hatchling build -t wheel

clean: ## remove what was built, except runs and results
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
