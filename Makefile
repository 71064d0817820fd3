# Every target makes .venv when it is not there; nothing else is needed but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Processes start by the hundred: their modules are compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench chaos gpu clean

demo: $(STAMP)
	$(BIN)/farm demo

test: $(STAMP)
	$(BIN)/pytest

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Zeus without its dependencies: amdsmi among them makes CodeCarbon look for AMD devices.
bench: $(STAMP)
	$(BIN)/pip install --quiet -c constraints.txt httpx procrastinate
	$(BIN)/pip install --quiet --no-deps -c constraints.txt zeus
	$(BIN)/python -m tests.bench --write

chaos: $(STAMP)
	$(BIN)/pytest -m chaos -n 0 -s --timeout 3600

# On a host with an NVIDIA GPU; goes on where it stopped. docs/gpu-host.md says what to do without a network.
MINUTES ?= 8
gpu: $(STAMP)
	$(BIN)/python -m tests.gpu --minutes $(MINUTES)

# torch first and alone: nothing that is installed later may bring another build of it.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || $(BIN)/pip install --quiet ziglang
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info tests/fake_nvml/build
