# Everything that can be done here, each with one command. They work on a fresh machine with nothing but
# Python 3.11 or newer and make: what a command needs is built first, into .venv, by tools/venv.sh.
#
#   make demo     the board on the example operation
#   make test     the tests; ARGS="tests/core -x" for some of them, JOBS=1 for one at a time
#   make check    everything that has to hold before a change is done; .ci/run runs the same
#
# PYTHON=/path/to/python3.12 chooses the interpreter of a new .venv. CONTRIBUTING.md has the same without make.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PY := .venv/bin/python
JOBS ?= 2
ARGS ?=

SERVERS := .venv-servers

.PHONY: help venv lock demo test test-servers lint format types contracts docs docs-check wheel smoke check bench \
	bench-peers crash-matrix kill-test pictures example-incident clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

venv: ## build .venv, or bring it up to date
	@tools/venv.sh

lock: venv ## pin the newest versions that fit: requirements/*.txt (ARGS=--upgrade for all of them)
	tools/lock.sh $(ARGS)

demo: venv ## open the board on the example operation
	@$(PY) -m opsdash demo $(ARGS)

test: venv ## run the tests
	$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-servers: venv $(SERVERS)/.ready ## run the tests of servers that CI does not install: Patroni (wants PostgreSQL, etcd)
	OPSDASH_PATRONI="$(CURDIR)/$(SERVERS)/bin/patroni" $(PY) -m pytest -m servers $(ARGS)

$(SERVERS)/.ready: requirements/servers.txt
	$(PY) -m venv $(SERVERS)
	$(SERVERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

lint: venv ## style, and whether everything is formatted
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: venv ## format everything, and fix what can be fixed
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: venv ## types, strictly
	$(PY) -m mypy

contracts: venv ## who may import whom
	.venv/bin/lint-imports --no-logo

docs: venv ## write the generated part of docs/
	$(PY) -m tools.docs

docs-check: venv ## fail when the generated part of docs/ is not what the code says
	$(PY) -m tools.docs --check

wheel: venv ## build the source archive, and the wheel from it, into dist/
	rm -rf dist
	$(PY) -m build --no-isolation

smoke: wheel ## install the wheel into a fresh environment, and use it there
	OPSDASH_WHEEL=$$(ls "$(CURDIR)"/dist/*.whl) $(PY) -m pytest tests/smoke

check: lint types contracts docs-check test smoke ## all of it

bench: venv ## what the quality bars say, measured here
	$(PY) -m benchmarks $(ARGS)

bench-peers: venv ## the same load on other monitoring systems, those that are installed
	$(PY) -m benchmarks peers $(ARGS)

crash-matrix: venv ## kill engines, guards and clients at every point of switches and drills (long; ARGS=drills)
	$(PY) -m tools.crash_matrix $(ARGS)

kill-test: venv ## kill engines 200 times while people work, runbooks run and alarms are sent (long)
	$(PY) -m tools.kill_test $(ARGS)

pictures: venv ## draw the pictures of the board in docs/pictures/
	$(PY) -m tools.pictures

example-incident: venv ## play an incident of the example operation, and write docs/example-incident.md
	$(PY) -m tools.example_incident

clean: ## remove what was built; the environments, too
	rm -rf .venv $(SERVERS) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find opsdash tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +
