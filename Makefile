# make demo  from a bare machine to real recommendations
# make test  every test, the way CI runs them
# make help  the rest
PYTHON ?= python3.11
VENV   ?= .venv
DEPLOY_VENV := $(VENV)/deploy-tools
BIN    := $(VENV)/bin
# Where the package index serves CUDA builds of torch, name PyTorch's own CPU wheel index here.
TORCH_INDEX ?=
PIP_EXTRA := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
DATA_ROOMS := data serving agents judge finetune app
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help demo test app browser screenshots lint format types install models lock deploy-check faults fuzz audit clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'

# The stamp is written last, so an interrupted installation is simply repeated (pip keeps what it has).
$(VENV)/.installed: requirements/cpu.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 was expected as '$(PYTHON)'; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar on $(PIP_EXTRA) --no-deps -r requirements/cpu.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	touch $@

install: $(VENV)/.installed  ## the lock and this checkout, into .venv

models: install  ## fetch the bundled models and ML-100K (once)
	$(BIN)/foretaste models fetch
	$(BIN)/foretaste data fetch ml-100k

demo: models  ## real recommendations for one real user, on vLLM; writes runs/demo/result.json
	$(BIN)/foretaste recommend --dataset ml-100k --user 1 --out runs/demo

test: models browser  ## all tests
	$(BIN)/python -P -m pytest

app: models  ## the page in the browser, on this machine
	$(BIN)/foretaste app --dataset ml-100k

# The page is tested in Debian's own chromium; elsewhere its tests are skipped, and say why.
browser:  ## chromium, for the tests of the page
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
	    || echo "chromium could not be installed: the tests of the page are skipped" >&2; \
	  else echo "chromium was not found: install it (Debian: apt-get install chromium) to test the page" >&2; fi; }

screenshots: models browser  ## pictures of every tab, light and dark, into docs/pictures
	$(BIN)/python -P benchmarks/screenshots.py

types:
	@mkdir -p .types/foretaste
	@for room in $(DATA_ROOMS); do ln -sfn ../../$$room .types/foretaste/$$room; done

# FAULT_TRIALS, FAULT_SECONDS and FAULT_ONLY bound it; docs/reliability.md.
faults: install  ## kill, fill, damage and deceive every long command; nothing may be lost (15 minutes)
	@$(BIN)/python -P tests/faults/run.py

fuzz: install  ## ten thousand requests made up from the API's own document, a thousand runs with hostile titles
	FUZZ_REQUESTS=$${FUZZ_REQUESTS:-10000} INJECTION_RUNS=$${INJECTION_RUNS:-1000} $(BIN)/python -P -m pytest -q -s tests/app/test_api_fuzz.py tests/app/test_api_injected_titles.py

audit: install  ## look the lock up among published advisories
	@$(BIN)/python -P .ci/audit.py

lint: install types  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Regenerates the lock from pyproject.toml (cpu, dev, ray, postgres and qdrant extras) and requirements/overrides.txt.
# The local mark of a torch build ("+cpu") is dropped, so that any CPU build of that version fits.
lock: install  ## regenerate requirements/cpu.lock and gpu.lock
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet pyproject.toml --extra cpu --extra dev --extra ray --extra postgres --extra qdrant --python-version 3.11 \
	    --override requirements/overrides.txt $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) \
	    --custom-compile-command 'make lock' --no-annotate --upgrade -o requirements/cpu.lock
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements/cpu.lock
	$(BIN)/uv pip compile --quiet pyproject.toml $(foreach one,gpu ray qdrant postgres,--extra $(one)) --python-version 3.11 \
	    --custom-compile-command 'make lock' --no-annotate --upgrade -o requirements/gpu.lock

# The linters live in an environment of their own; kubectl is used where it is installed.
$(DEPLOY_VENV)/.installed: requirements/deploy.txt
	test -x $(DEPLOY_VENV)/bin/python || $(PYTHON) -m venv $(DEPLOY_VENV)
	$(DEPLOY_VENV)/bin/python -m pip install --quiet -r requirements/deploy.txt
	touch $@

deploy-check: $(DEPLOY_VENV)/.installed  ## lint the images, compose file and manifests in deploy/
	PATH="$(CURDIR)/$(DEPLOY_VENV)/bin:$$PATH" $(DEPLOY_VENV)/bin/python -P deploy/check.py

clean:  ## remove what make made here (models and data under FORETASTE_HOME stay)
	rm -rf $(VENV) .types build *.egg-info runs
