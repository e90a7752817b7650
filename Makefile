# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# One short command for each thing that one does here, the same for people and for CI.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help lab-setup lab lab-kernels test bench bench-tester bench-chain bench-flood bench-balance bench-forwarder check lab-cleanup lock need-root

# ARGS is passed on to the command; PYTHON chooses the interpreter of .venv (an existing one is kept without it).
ARGS ?=
PYTHON ?=
export PYTHON
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
VENV := .venv/bin

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  ARGS="…" is passed on:  make lab ARGS="--packets 1000"  ·  make test ARGS="-m lab -x"'

lab-setup: ## install what is missing (system packages, .venv), build; does nothing the second time
	@scripts/setup
	@# An editable install caches no bytecode by itself, and each forwarder that starts would compile anew.
	@$(VENV)/python -m compileall -q xdp forwarder labs

lab: need-root lab-setup ## set up, then run the main lab: UDP through an XSKMAP, a forwarder, and back (root)
	@$(VENV)/xdplab run $(ARGS)

lab-kernels: need-root lab-setup ## set up, then the labs under several kernels in guests, and a table of it (root)
	@scripts/setup --vm
	@$(VENV)/xdplab vm labs $(ARGS)

test: need-root lab-setup ## set up, then run all tests, unit tests and labs (root)
	@$(VENV)/python -m pytest $(ARGS)

bench: need-root lab-setup ## set up, then print how long things take (root)
	@$(VENV)/xdplab bench $(ARGS)

bench-tester: need-root lab-setup ## set up, then print how fast the tester is beside other senders (root)
	@$(VENV)/python -m labs.bench.tester $(ARGS)

bench-chain: need-root lab-setup ## set up, then send ten million frames at half the rate without loss, each verified (root)
	@$(VENV)/python -m labs.bench.chain $(ARGS)

bench-flood: need-root lab-setup ## set up, then offer three times what a forwarder takes: where is the rest lost? (root)
	@$(VENV)/python -m labs.bench.flood $(ARGS)

bench-balance: need-root lab-setup ## set up, then run each test of the account ten times in a row: all must pass (root)
	@$(VENV)/python -m pytest -q -m balance --count 10 labs/ledger labs/pipeline labs/foreign $(ARGS)

bench-forwarder: need-root lab-setup ## set up, then measure the forwarder beside a minimal C loop on libxdp (root)
	@$(VENV)/python -m labs.bench.forwarder $(ARGS)

check: lab-setup ## set up, then all linters and types: ruff, mypy, clang-format, shellcheck
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/mypy
	find xdp forwarder labs -name '*.[ch]' -print0 | xargs -0 -r $(VENV)/clang-format --dry-run -Werror
	@if command -v shellcheck >/dev/null; then shellcheck scripts/setup scripts/lock scripts/cleanup .ci/run; \
	else echo 'shellcheck is not installed: the scripts were not checked'; fi

# "make --dry-run lab-cleanup" must list what would go too, not the command: hence the "+".
DRY := $(if $(findstring n,$(firstword -$(MAKEFLAGS)))$(filter-out 0 no,$(DRY_RUN)),--dry-run)
lab-cleanup: ## remove what labs left: processes, namespaces, pins (root); DRY_RUN=1 only lists
	+@scripts/cleanup $(DRY) $(ARGS)

lock: ## re-make requirements.lock from pyproject.toml (network); LOCK_ARGS=--upgrade for newer versions
	@scripts/lock

need-root:
	@[ "$$(id -u)" = 0 ] || { echo 'needs root for network namespaces and BPF. Run: sudo make $(MAKECMDGOALS)' >&2; exit 2; }
