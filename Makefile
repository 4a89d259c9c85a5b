# Each target prepares what it needs. ARGS goes to the program behind a target: make test ARGS="-k releases".
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.PHONY: help setup setup-demo setup-disk demo test test-mysql failovers long fuzz machine-disk check accept docs lock wheel packages clean
BIN := .venv/bin
UV := .setup/uv/bin/uv
COMPILE = $(UV) pip compile --quiet --no-config --system-certs --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command "make lock" $(ARGS)
FILES = git ls-files --cached --others --exclude-standard

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## /\1\t/p' Makefile | expand -t 14

setup: ## make .venv and install what everything here needs; a second run is quick
	@requirements/setup test

setup-demo:
	@requirements/setup demo

setup-disk:
	@requirements/setup disk

demo: setup-demo ## the whole story on this machine: a node, its store, a release, a failure, a roll-back
	$(BIN)/rolecall demo $(ARGS)

test: setup ## all tests, in one process more than there are processors, four at most
	$(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

test-mysql: setup ## the tests of databases on MySQL, which is unpacked below .setup: 8.4 if packages offer it, or Debian sid's
	@requirements/mysql
	ROLECALL_DATABASE=mysql $(BIN)/pytest tests/database tests/readers/test_hostile_sql.py tests/roles/test_database*.py \
	  tests/roles/test_failovers.py $(ARGS)

failovers: setup ## 30 rounds in which database servers fail under load, 10 on MySQL (ROLECALL_DATABASE=mysql): half an hour
	if [[ $${ROLECALL_DATABASE:-} == mysql ]]; then requirements/mysql; fi
	ROLECALL_LONG=1 $(BIN)/pytest -s tests/roles/test_failovers.py -k many $(ARGS)

long: setup ## all tests, those that take long too, at every place where a run can break: before a release
	ROLECALL_LONG=1 $(MAKE) test

fuzz: setup ## the tests of generated examples with twenty times as many, others each time; FUZZ=100 for a hundred times
	ROLECALL_FUZZ=$(or $(FUZZ),20) $(BIN)/pytest --numprocesses=auto --dist=worksteal --timeout=0 -m hypothesis $(ARGS)

machine-disk: setup-disk ## the tests of machines that take minutes: a baked disk under QEMU, a role installed at first boot
	ROLECALL_DISK=1 $(BIN)/pytest tests/machine/test_disk.py tests/machine/test_baseline.py $(ARGS)

check: setup ## format, lint, types, layers, shell scripts, spelling, generated files, units
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy agent tests packaging/generate.py image-build/manifest.py
	$(BIN)/lint-imports --no-logo
	shebang='^#!.*[/ ](ba|da)?sh( |$$)'; $(FILES) -- ':!*.j2' ':!tests/roles' | while IFS= read -r file; do \
	  if [[ -f $$file ]] && read -r first <"$$file" && [[ $$first =~ $$shebang ]]; then printf '%s\0' "$$file"; fi; \
	done | xargs -0 shellcheck
	$(FILES) -z | xargs -0 $(BIN)/codespell
	$(BIN)/python packaging/generate.py --check
	packaging/verify-units

accept: setup ## rewrite what tests/roles and tests/images expect; read the diff before you commit it
	ROLECALL_ACCEPT=1 $(BIN)/pytest -k golden tests/roles tests/images $(ARGS)

docs: setup ## regenerate the man page and the completions from the command line's parser
	$(BIN)/python packaging/generate.py

lock: $(UV) ## pin the requirements with hashes; ARGS=--upgrade for newer versions
	$(COMPILE) -o requirements/agent.txt --extra node pyproject.toml
	$(COMPILE) -o requirements/dev.txt --extra node --group dev -c requirements/agent.txt pyproject.toml
	$(COMPILE) -o requirements/build.txt -c requirements/dev.txt - <<<$$'editables\nhatchling\nsetuptools'

$(UV): | setup
	$(BIN)/python -m venv .setup/uv
	.setup/uv/bin/pip install --quiet uv

wheel: setup ## build dist/*.whl
	$(BIN)/python -m hatchling build -t wheel -d dist

packages: setup ## build the deb and the RPMs in dist/; ARGS=debian-12 for one of them
	for platform in $(or $(ARGS),debian-12 centos-9 centos-10); do packaging/build "$$platform"; done

clean: ## remove everything that these targets made
	rm -rf .venv .setup .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
