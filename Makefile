# Development and demo tasks. Requires GNU make and Python 3.11 or 3.12.

VMS     ?= 4
TRIALS  ?= 24
TRIGGER ?= http
SCALE   ?= 0.05
SEED    ?= 0
FAULTS  ?=
MINUTES ?= 10
FRESH   ?=
ARGS    ?=

VENV   := .venv
PYTHON_IN := $(VENV)/bin/python
STAMP  := $(VENV)/.complete
UV     := env UV_CACHE_DIR=.local/cache/uv $(VENV)/bin/uv

# Without bytecode caches, each process would compile pandas and SQLAlchemy.
unexport PYTHONDONTWRITEBYTECODE

# Recipes are one line with `exec`, so that the program itself gets signals, and can clean up.
.PHONY: help
help:
	@echo 'make run     run one experiment on a fleet of simulated VMs, from request to teardown'
	@echo '             VMS=$(VMS) TRIALS=$(TRIALS) TRIGGER=http|queue SEED=$(SEED)'
	@echo '             SCALE=$(SCALE)   wall seconds per simulated second'
	@echo '             FAULTS=FILE  fault plan of the Azure simulator (docs/fault-injection.md)'
	@echo 'make start   run the app on simulated Azure until Ctrl-C; prints how to use it'
	@echo '             FRESH=1      without the experiments and fleets of earlier starts'
	@echo 'make test    run all tests; ARGS="tests/fleet -k names" for some of them'
	@echo 'make test-fast  run the tests that start no process; under a minute'
	@echo 'make check   check lint, formatting, types, imports and shell scripts'
	@echo 'make bench   measure how fleets of 1 to 1,000 VMs scale'
	@echo 'make soak MINUTES=10   run fleets with faults for two simulated weeks, and check what is left'
	@echo 'make docs    generate docs/api.md from the models and routes'
	@echo 'make picture take the pictures of the README, of a fleet on the local stack'
	@echo 'make lock    pin requirements*.txt from requirements*.in; ARGS=--upgrade for newer versions'
	@echo 'make check-supply-chain   audit the deployed packages, and write an SBOM to .local'
	@echo 'make check-infra   compile infra/ with the Bicep compiler, and check it'
	@echo 'make wheel   build the client in dist; make test-client CLIENT_PYTHON=3.13 tests it'
	@echo 'make test-upstream WHEEL=FILE   test with a Powerlift built from source'
	@echo 'make release VERSION=0.2.0   set the version and date the changelog'
	@echo 'make record-histories   record the version for tests of later ones (docs/releasing.md)'
	@echo 'make clean   remove everything that was generated, including the virtual environment'
	@echo 'PYTHON=...   the Python 3.11 or 3.12 for the virtual environment'

.PHONY: run
run: $(STAMP)
	@exec $(PYTHON_IN) -m local.demo run --vms '$(VMS)' --trials '$(TRIALS)' --trigger '$(TRIGGER)' --time-scale '$(SCALE)' --seed '$(SEED)' --faults '$(FAULTS)' $(ARGS)

.PHONY: start
start: $(STAMP)
	@exec $(PYTHON_IN) -m local.demo start --time-scale '$(SCALE)' --seed '$(SEED)' --faults '$(FAULTS)' $(if $(filter-out 0,$(FRESH)),--fresh) $(ARGS)

.PHONY: test
test: $(STAMP)
	@exec $(PYTHON_IN) -m pytest -n 5 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-fast
test-fast: $(STAMP)
	@exec $(PYTHON_IN) -m pytest -q -n 2 --dist loadfile --fast $(ARGS)

.PHONY: check
check: $(STAMP)
	@exec $(PYTHON_IN) -m pytest -q tests/test_checks.py $(ARGS)

.PHONY: bench
bench: $(STAMP)
	@exec $(PYTHON_IN) -m benchmarks.scale $(ARGS)

.PHONY: soak
soak: $(STAMP)
	@exec $(PYTHON_IN) -m benchmarks.soak --minutes '$(MINUTES)' --seed '$(SEED)' $(ARGS)

.PHONY: docs
docs: $(STAMP)
	@exec $(PYTHON_IN) -m docs.api

.PHONY: picture
picture: $(STAMP)
	@exec $(PYTHON_IN) -m docs.picture

# Keeps locked versions, unless ARGS=--upgrade or ARGS="--upgrade-package NAME".
COMPILE := $(UV) pip compile --quiet --universal
LOCK := $(COMPILE) --python-version 3.11 --fork-strategy fewest --generate-hashes

.PHONY: lock
lock: $(STAMP)
	$(LOCK) $(ARGS) --output-file requirements.txt requirements.in
	$(LOCK) $(ARGS) --constraint requirements.txt --no-emit-package powerlift-fleet --output-file requirements-dev.txt requirements-dev.in
	$(COMPILE) $(ARGS) --python-version 3.8 --generate-hashes --no-deps --no-strip-extras --output-file fleet/vm/requirements.txt fleet/vm/requirements.in

# ARGS=--strict fails for packages that no advisory service knows.
.PHONY: check-supply-chain
check-supply-chain: $(STAMP)
	@exec $(PYTHON_IN) -m tools.supply_chain $(ARGS)

# The compiler is on PATH, named by BICEP, or in ../shared/tools. ARGS=--strict fails without it; ARGS=--write
# compiles what is committed.
.PHONY: check-infra
check-infra: $(STAMP)
	@exec $(PYTHON_IN) -m tools.infra $(ARGS)

.PHONY: wheel
wheel: $(STAMP)
	@exec $(UV) build --quiet --wheel --no-build-isolation --python $(PYTHON_IN) --out-dir dist client

# Tests the newest wheel in dist on another Python, which uv finds or downloads.
CLIENT_PYTHON ?= 3.13
CLIENT_TESTS := tests/client/test_client.py tests/client/test_client_errors.py \
                tests/client/test_client_settings.py tests/client/test_client_watch.py \
                tests/client/test_errors.py tests/client/test_progress.py tests/client/test_retry.py

.PHONY: test-client
test-client: $(STAMP)
	@wheel=$$(ls -t dist/powerlift_fleet-*.whl | head -n 1) && exec $(UV) run --quiet --no-project --isolated \
	  --python '$(CLIENT_PYTHON)' --with "$$wheel[queue]" --with pytest -- \
	  sh -c 'powerlift-fleet --version && exec python -m pytest -q --noconftest -p no:cacheprovider $(CLIENT_TESTS)'

# Runs the Benchmark.run and the runner of a Powerlift built from source on simulated VMs; without WHEEL, the
# published Powerlift with a runner of the same contract.
WHEEL ?=

.PHONY: test-upstream
test-upstream: $(STAMP)
	@POWERLIFT_WHEEL='$(WHEEL)' exec $(PYTHON_IN) -m pytest -m long tests/client/test_upstream.py $(ARGS)

.PHONY: release
release: $(STAMP)
	@exec $(PYTHON_IN) -m tools.release '$(VERSION)'

.PHONY: record-histories
record-histories: $(STAMP)
	@exec $(PYTHON_IN) -m tools.histories

.PHONY: clean
clean:
	rm -rf $(VENV) .local dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements-dev.txt
	@exec sh tools/bootstrap.sh '$(PYTHON)' $(VENV) $(STAMP)
