SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check format bench soak pictures constraints clean

BIN := .venv/bin
DEMO_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS ?=
GUARDED := src/autoheal/core/*,src/autoheal/engine/*

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "make %-12s %s\n", $$1, $$2 }'

demo: .venv/.runtime console ## break a service, watch it being healed (DEMO_ARGS=--once ends by itself)
	@$(BIN)/autoheal demo $(DEMO_ARGS)

test: components console check ## everything that must hold: check, all tests, coverage
	$(BIN)/python scripts/console test
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report= $(TEST_ARGS)
	@$(BIN)/coverage report --format=total | sed 's/$$/ % of the branches and lines of core, engine and threader covered/'
	$(BIN)/coverage report --include='$(GUARDED)' --fail-under=90

check: .venv/.dev ## ruff, mypy --strict, imports go downstairs, the console's types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/console check

format: .venv/.dev ## let ruff format and sort
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

bench: .venv/.bench console ## figures beside the floor's and a peer's (BENCH_ARGS=... chooses)
	@scripts/components bench
	$(BIN)/python -m bench $(BENCH_ARGS)

soak: components console .venv/.dev ## the long loops: a thousand kills and the like
	$(BIN)/python -m pytest -m soak --timeout 0 $(SOAK_ARGS)

pictures: .venv/.dev console ## take the README's pictures of the console anew
	$(BIN)/python -m tests.browser.shots

constraints: ## pin the dependencies' current versions anew
	@scripts/constraints

clean: ## remove what was built (and .venv)
	rm -rf .venv build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache bench/results console/node_modules src/autoheal/remediator/static/console
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: components console
components:
	@scripts/components test

console: .venv/.runtime ## build the web console, where its source changed
	@$(BIN)/python scripts/console build

.venv/.runtime .venv/.dev .venv/.bench: .venv/.%: pyproject.toml constraints.txt scripts/venv scripts/python
	@scripts/venv $*
