# Everything works from a fresh clone with python3 (3.11 or newer), make and a package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_READY := $(VENV)/.demo-ready
INSTALL := install --quiet --disable-pip-version-check
PRINT_NEEDS := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")

.PHONY: help demo test tools check docs reference screenshots browser-test page-screenshots chromium dist bench clean

help:
	@echo "make demo    install what running needs, then list and prune a copy of a real cache"
	@echo "make test    install, then run the linters, build the documentation and run all tests"
	@echo "make tools   a C compiler and strace, which the tests need, from Debian's packages"
	@echo "make check   ruff, mypy --strict, the import contracts, and the structure in figures"
	@echo "make docs    the documentation as a site, in build/site"
	@echo "make reference   write the pages that are made from the program, docs/reference/"
	@echo "make screenshots   run the program in a terminal and draw it, docs/images/terminal/"
	@echo "make browser-test   try the HTML report in Chromium, which root gets from Debian's packages"
	@echo "make page-screenshots   pictures of the HTML report, docs/images/report/"
	@echo "make dist    wheel and sdist in dist/, installed and tried in fresh environments"
	@echo "make bench   a quick set of benchmarks (about two minutes)"
	@echo "make clean   remove the virtual environment and caches"

# What running needs, and no more: a newcomer sees a prune sooner. fastprune itself runs from src/:
# to build it takes as long as to install all else. Where PYTHON has a pip that can install
# elsewhere (23 or newer), the environment gets none yet.
$(DEMO_READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fastprune needs Python 3.11 or newer; run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@mkdir -p $(VENV) && $(PYTHON) -c '$(PRINT_NEEDS)' >$(VENV)/needs.txt
	@if $(PYTHON) -c 'import pip; assert int(pip.__version__.split(".")[0]) >= 23' 2>/dev/null; then \
		$(PYTHON) -m venv --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $(BIN)/python $(INSTALL) --no-compile --requirement $(VENV)/needs.txt; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip $(INSTALL) --no-compile --requirement $(VENV)/needs.txt; \
	fi
	@touch $@

# pip 25.1 is the first that knows groups.
$(READY): $(DEMO_READY)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	$(BIN)/python -m pip $(INSTALL) --upgrade "pip>=25.1"
	$(BIN)/python -m pip $(INSTALL) --editable . --group dev --group docs
	@touch $@

demo: $(DEMO_READY)
	@PYTHONPATH=src $(BIN)/python benchmarks/demo.py

test: $(READY) tools check docs
	$(BIN)/python -m pytest --numprocesses logical --dist worksteal

# What the tests of tests/faults need besides Python: a C compiler and strace. Root on Debian or
# Ubuntu gets what is missing; elsewhere it is said.
tools:
	@if command -v cc >/dev/null && command -v strace >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			gcc libc6-dev strace >/dev/null; \
	elif [ "$$(uname)" = Linux ]; then \
		echo "the tests need a C compiler (cc) and strace; on Debian: apt-get install gcc libc6-dev strace" >&2; \
		exit 1; \
	fi

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.structure

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(READY)
	$(BIN)/python -m tools.reference

screenshots: $(READY)
	$(BIN)/python -m tools.screenshots

browser-test: chromium
	$(BIN)/python -m pytest tests/browser/check_page.py

page-screenshots: chromium
	$(BIN)/python -m tools.page_screenshots

chromium: $(READY)
	@$(BIN)/python -m pip $(INSTALL) --group browser
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver; }

dist: $(READY)
	$(BIN)/python -m pip $(INSTALL) --group dist
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m tools.check_dist dist

bench: $(READY)
	$(BIN)/python benchmarks/bench_plan.py
	$(BIN)/python benchmarks/bench_apply.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
