# Two commands on a fresh machine: `make run` (the main job) and `make test`. Both set up what they need in .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/bert-base
JOBS ?= 2

.PHONY: run compiled test test-long lint bench wheel validate reproduce clean

$(BIN)/carat: setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "needs Python 3.11 or newer (make PYTHON=python3)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --config-settings editable_mode=compat # mypy follows it
	$(BIN)/python -m compileall -q sim workloads reports # also where the environment keeps Python from writing bytecode
	@touch $@

run: $(BIN)/carat ## BERT-base on the default machine, and on the one with I-BERT units, with the breakdown plot of both
	$(BIN)/carat run bert-base --hw gemmini_default -o $(OUT)/gemmini_default
	$(BIN)/carat run bert-base --hw gemmini_ibert -o $(OUT)/gemmini_ibert
	$(BIN)/carat plot breakdown $(OUT)/gemmini_default $(OUT)/gemmini_ibert --shares -o $(OUT)/breakdown.png
	$(BIN)/carat report $(OUT)/gemmini_default $(OUT)/gemmini_ibert -o $(OUT)/report.html

lint: $(BIN)/carat
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

compiled: $(BIN)/carat ## the timing core and the executor, into the user's cache
	$(BIN)/python -P .ci/entries.py timing executor

test: $(BIN)/carat
	$(MAKE) --jobs=$(JOBS) lint compiled # mypy and each part of the compilation keep one core busy for a minute
	$(BIN)/python -m sim --help >/dev/null
	$(BIN)/pytest -m "not long" -n $(JOBS) --hypothesis-profile=ci # the same random cases each time

test-long: $(BIN)/carat
	CARAT_EXAMPLES=5000 $(BIN)/pytest -n $(JOBS) # other random cases each time

bench: $(BIN)/carat ## writes docs/BENCHMARKS.md; some five minutes, on an otherwise idle machine
	$(BIN)/python tests/bench/page.py --jobs $(JOBS) --first

wheel: $(BIN)/carat ## dist/: a wheel that brings the compiled core along, for Linux on this architecture
	$(BIN)/python .ci/wheel.py --output dist

validate: $(BIN)/carat
	$(BIN)/carat validate --markdown > docs/VALIDATION.md

reproduce: $(BIN)/carat ## what docs/REPRODUCTION.md shows: published figures beside simulated ones; some two minutes
	$(BIN)/carat reproduce all --markdown > docs/REPRODUCTION.md

clean:
	rm -rf $(VENV) out build dist *.egg-info
