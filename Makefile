# The one list of tasks; .ci/run calls `make test` and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo

.PHONY: setup demo test test-slow lint wheel clean

# Everything the demo and the tests need: system packages that are missing, and .venv.
setup: $(VENV)/ready

CORE := $(wildcard memory_planner/core/*) memory_planner/CMakeLists.txt

$(VENV)/ready: pyproject.toml scripts/setup.sh $(CORE)
	PYTHON=$(PYTHON) scripts/setup.sh $(VENV)
	@touch $@

# The main job: build, flash, validate and one prompt on an emulated Cortex-M55.
demo: setup
	$(BIN)/mmoe-embed demo examples/watch --board qemu_mps3_an547 --sram 256K -o $(DEMO)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup lint
	$(BIN)/pytest -n 2 -m "not slow" --unexpected-skips=fail

# Minutes long: kernel sweeps on every core, planner instances, training runs.
test-slow: setup
	$(BIN)/pytest -n 2 -m slow

wheel: setup
	$(BIN)/pip wheel . --no-deps -w dist

clean:
	rm -rf build dist
