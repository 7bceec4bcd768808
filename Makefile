# Every target works from a fresh clone: what needs the environment makes it first.
# Paths are relative throughout, so that a tree whose path has a space in it works as well.

MAKEFLAGS += --no-builtin-rules
PYTHON := .venv/bin/python
DEMO_ARGS ?=
TEST_ARGS ?= -n 2
TIER_ARGS ?=
BENCH ?=
EXTRAS := config config-github plugins bot edge edge-grpc analytics demo

.PHONY: help venv demo test check style lint types contracts lab long bench format lock stubs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

venv: ## make .venv from the lock file, and no more
	@sh tools/venv

demo: venv ## show the whole loop on loopback; DEMO_ARGS=--once approves by itself
	@$(PYTHON) examples/demo $(DEMO_ARGS)

test: venv ## run the tests
	@$(PYTHON) -m pytest $(TEST_ARGS)

check: style lint types contracts test ## style, lint, types, import contracts, tests

style: venv ## say what `make format` would change
	$(PYTHON) -m ruff format --check .

lint: venv ## lint
	$(PYTHON) -m ruff check .

types: venv ## check the types
	$(PYTHON) -m mypy

contracts: venv ## check who imports whom
	.venv/bin/lint-imports

lab: venv ## build what is missing, and run the tests against real Go tools and whole parts of a cluster
	@if command -v go >/dev/null 2>&1; then sh tools/lab build; else echo "lab: needs go, which is not on the PATH; what is not built is skipped"; fi
	@$(PYTHON) tools/tier.py lab $(TIER_ARGS)

long: venv ## run soaks, kill matrices and big fuzzing
	@$(PYTHON) tools/tier.py long $(TIER_ARGS)

bench: venv ## list what bench/ measures; BENCH=render measures it
	@$(PYTHON) bench $(BENCH)

format: venv ## format the code and mend what the linter can mend
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

# uv resolves for every platform at once; its header names `make lock`, and no index, host or path gets into a file.
lock: venv ## resolve the extras anew into requirements/*.txt
	@sh tools/lock $(EXTRAS)

stubs: venv ## write what protoc makes of the .proto files
	@sh tools/stubs

clean: ## remove .venv and every cache
	rm -rf .venv .peers build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
