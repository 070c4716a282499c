# Everything for development and the demo. A fresh machine needs GNU make and Python 3.11 or 3.12.

VMS     ?= 4
TRIALS  ?= 24
TRIGGER ?= http
SCALE   ?= 0.05
SEED    ?= 0
FAULTS  ?=
ARGS    ?=

VENV   := .venv
PYTHON_IN := $(VENV)/bin/python
STAMP  := $(VENV)/.complete
UV     := env UV_CACHE_DIR=.local/cache/uv $(VENV)/bin/uv

# Without bytecode caches each of our processes would compile pandas and SQLAlchemy anew.
unexport PYTHONDONTWRITEBYTECODE

# One recipe line, and `exec`: Ctrl-C and `kill` reach the program itself, which then cleans up.
.PHONY: help
help:
	@echo 'make run     one experiment on a fleet of simulated VMs, from request to teardown'
	@echo '             VMS=$(VMS) TRIALS=$(TRIALS) TRIGGER=http|queue SEED=$(SEED)'
	@echo '             SCALE=$(SCALE)   wall seconds per simulated second'
	@echo '             FAULTS=FILE  what goes wrong in Azure (docs/weather.md)'
	@echo 'make start   the app on simulated Azure, until Ctrl-C; prints how to talk to it'
	@echo 'make test    all tests; ARGS="tests/fleet -k names" for some'
	@echo 'make test-fast  the tests that start no process; under a minute'
	@echo 'make check   lint, formatting, types and shell scripts'
	@echo 'make bench   the measured claims'
	@echo 'make docs    docs/api.md, from the models and the table of routes'
	@echo 'make lock    requirements*.txt, from requirements*.in; ARGS=--upgrade for newer versions'
	@echo 'make check-supply-chain   advisories for what is deployed, and an SBOM in .local'
	@echo 'make wheel   the client, in dist; make test-client CLIENT_PYTHON=3.13 tries it'
	@echo 'make release VERSION=0.2.0   writes the version and dates the changelog'
	@echo 'make clean   removes what the others made, the virtual environment included'
	@echo 'PYTHON=...   the Python 3.11 or 3.12 to make the virtual environment with'

.PHONY: run
run: $(STAMP)
	@exec $(PYTHON_IN) -m local.demo run --vms '$(VMS)' --trials '$(TRIALS)' --trigger '$(TRIGGER)' --time-scale '$(SCALE)' --seed '$(SEED)' --faults '$(FAULTS)' $(ARGS)

.PHONY: start
start: $(STAMP)
	@exec $(PYTHON_IN) -m local.demo start --time-scale '$(SCALE)' --seed '$(SEED)' --faults '$(FAULTS)' $(ARGS)

.PHONY: test
test: $(STAMP)
	@exec $(PYTHON_IN) -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-fast
test-fast: $(STAMP)
	@exec $(PYTHON_IN) -m pytest -q -n 2 --dist loadfile --fast $(ARGS)

.PHONY: check
check: $(STAMP)
	@exec $(PYTHON_IN) -m pytest -q tests/test_checks.py $(ARGS)

.PHONY: bench
bench: $(STAMP)
	@exec $(PYTHON_IN) -m benchmarks.makespan $(ARGS)

.PHONY: docs
docs: $(STAMP)
	@exec $(PYTHON_IN) -m docs.api

# The versions that are locked stay, unless ARGS=--upgrade or ARGS="--upgrade-package NAME".
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes

.PHONY: lock
lock: $(STAMP)
	$(LOCK) $(ARGS) --output-file requirements.txt requirements.in
	$(LOCK) $(ARGS) --constraint requirements.txt --no-emit-package powerlift-fleet --output-file requirements-dev.txt requirements-dev.in

# ARGS=--strict: a package that no advisory service knows is a failure.
.PHONY: check-supply-chain
check-supply-chain: $(STAMP)
	@exec $(PYTHON_IN) -m local.supply_chain $(ARGS)

.PHONY: wheel
wheel: $(STAMP)
	@exec $(UV) build --quiet --wheel --no-build-isolation --python $(PYTHON_IN) --out-dir dist client

# The wheel that is newest in dist, on another Python (uv finds it, or downloads it).
CLIENT_PYTHON ?= 3.13
CLIENT_TESTS := tests/client/test_client.py tests/client/test_errors.py tests/client/test_progress.py \
                tests/client/test_retry.py

.PHONY: test-client
test-client: $(STAMP)
	@wheel=$$(ls -t dist/powerlift_fleet-*.whl | head -n 1) && exec $(UV) run --quiet --no-project --isolated \
	  --python '$(CLIENT_PYTHON)' --with "$$wheel[queue]" --with pytest -- \
	  sh -c 'powerlift-fleet --version && exec python -m pytest -q --noconftest -p no:cacheprovider $(CLIENT_TESTS)'

.PHONY: release
release: $(STAMP)
	@exec $(PYTHON_IN) -m local.release '$(VERSION)'

.PHONY: clean
clean:
	rm -rf $(VENV) .local dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements-dev.txt
	@exec sh local/bootstrap.sh '$(PYTHON)' $(VENV) $(STAMP)
