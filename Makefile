# The table of contents. Each verb installs what it is missing; run as root, it installs the packages and
# goes on as the unprivileged user `innkeeper` in a copy of this checkout (see scripts/as-innkeeper).

.DEFAULT_GOAL := help
SHELL := /bin/sh
#: Passed on to the program behind the verb: make demo ARGS=--crash, make test ARGS="-k wake -x"
ARGS ?=
#: How many kills `make kill` makes in all; it goes on where it ended.
KILLS ?= 2000

VERBS := demo test lint docs bench kill faults matrix serve
.PHONY: help clean packages $(VERBS)

help:
	@echo 'make demo    one night on three real machines: kept, rolled back, woken (ARGS=--crash kills the service in it)'
	@echo 'make test    all tests, those on real QEMU too'
	@echo 'make lint    formatting, style, types, and who may import whom'
	@echo 'make docs    the documentation as a site, under build/docs; fails where a link, an anchor or a picture leads nowhere'
	@echo 'make bench   the benchmarks; tables here, numbers under build/bench'
	@echo 'make kill    kill anything, anywhere, KILLS=2000 times, and tell what was left; goes on where it ended'
	@echo 'make faults  let disks, stores, daemons, clocks and guests fail, and tell what was promised and seen (ARGS="clock locked": these alone)'
	@echo 'make matrix  nights on real guests, each with what goes wrong in the field (ARGS="locked java": these alone)'
	@echo 'make serve   the service, from this checkout (ARGS=--fake: with simulated machines)'
	@echo 'make clean   remove all that the others made, the cached guest images too'

ifeq ($(shell id -u),0)

$(VERBS):
	@scripts/install-packages
	@scripts/as-innkeeper $(MAKE) --no-print-directory $@ 'ARGS=$(ARGS)' 'KILLS=$(KILLS)'

clean:
	@! getent passwd innkeeper >/dev/null || scripts/as-innkeeper $(MAKE) --no-print-directory clean

else

BIN := .venv/bin
READY := .venv/made-from
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/innkeeper

demo: $(READY)
	@$(BIN)/python -m demo $(ARGS)

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	@for program in $(filter-out __init__,$(basename $(notdir $(wildcard benchmarks/*.py)))); do echo "== $$program" && $(BIN)/python -m "benchmarks.$$program" $(ARGS) || exit 1; done

kill: $(READY)
	@$(BIN)/python -m tests.night.killing --kills $(KILLS) $(ARGS)

faults: $(READY)
	@$(BIN)/python -m tests.faults $(ARGS)

matrix: $(READY)
	@$(BIN)/python -m tests.matrix $(ARGS)

docs: $(READY)
	@$(BIN)/python scripts/documentation.py

serve: $(READY)
	@$(BIN)/innkeeper serve $(ARGS)

clean:
	rm -rf .venv build demo/build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache $(CACHE)

packages:
	@scripts/install-packages

# By content, not by time: a fresh clone with the same lock file has nothing to make.
NEEDED := $(shell cat requirements.lock pyproject.toml scripts/make-venv | cksum)
ifneq ($(NEEDED),$(shell cat $(READY) 2>/dev/null))
.PHONY: $(READY)
endif

$(READY): | packages
	@scripts/make-venv
	@echo '$(NEEDED)' > $@

endif
