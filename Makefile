# Every command sets up what it needs in .venv. Switches: PYTHON, DEVICE (make demo DEVICE=npu-loopback), ARGS.
PYTHON ?= python3
DEVICE ?= cpu
VENV := .venv
BIN := $(VENV)/bin
NPU_SITE := $(CURDIR)/build/torch_npu-2.13.0
CXX_FILES := $(shell git ls-files '*.cpp' '*.h')

.PHONY: all demo torch_npu test bench features lint format sanitize wheel clean

all: $(VENV)/.built

$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -r requirements.txt
	touch $@

# setup.py compares time stamps itself and rebuilds only what changed.
$(VENV)/.built: $(VENV)/.installed FORCE
	PYTHONPATH=$(NPU_SITE) $(BIN)/pip install -q --no-build-isolation --no-deps --editable .
	@touch $@

FORCE:

ifeq ($(DEVICE),npu-loopback)
demo: torch_npu all
	$(BIN)/python -m tests.loopback_acl.demo $(ARGS)
else
demo: all
	$(BIN)/python benchmarks/train_digits.py --device $(DEVICE) $(ARGS)
endif

# The real torch_npu, outside every import path, for the loopback device; the NPU half is built against it.
torch_npu: $(VENV)/.installed
	$(BIN)/python -m tests.loopback_acl.build --fetch

test: torch_npu all
	$(BIN)/python -m pytest -n auto $(ARGS)

# The CPU suite under AddressSanitizer with UBSan, then what threads do under ThreadSanitizer. Not part of `make test`.
sanitize: $(VENV)/.installed
	$(BIN)/python tests/sanitize/run.py address $(ARGS)
	$(BIN)/python tests/sanitize/run.py thread $(ARGS)

# README's feature table, from the results of the tests that are marked as its proof.
features: torch_npu all
	$(BIN)/python -m pytest -n 2 -m feature --feature-report=out/features_cpu.json
	$(BIN)/python -m tests.loopback_acl.features --feature-report=$(CURDIR)/out/features_npu.json
	$(BIN)/python benchmarks/feature_table.py out/features_cpu.json out/features_npu.json

bench: all
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/citizen.py
	$(BIN)/python benchmarks/backward.py $(ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

wheel: $(VENV)/.installed
	$(BIN)/python -m build --no-isolation

clean:
	rm -rf $(VENV) build dist out *.egg-info group_norm_grad/*.so
