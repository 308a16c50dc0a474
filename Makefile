# Every target builds what it needs, so each works as the first command after
# cloning. Everything made lies in .venv and build.

PYTHON ?= python3
CLANG ?= clang
FUZZ_SECONDS ?= 60
PYTEST_ARGS ?=
MUTANTS_ARGS ?=
WORST_CASE_ARGS ?=
BENCH_SERVE_ARGS ?=
MODULES ?=
WORLDS ?= 20000

VENV := .venv
BIN := $(VENV)/bin
TOOLCHAIN := $(VENV)/.toolchain
BUILT := $(VENV)/.built
FILES := $(VENV)/.files

# cmake and ninja come from the virtual environment where the system has none.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Most modules of the dependencies are never imported: Python compiles those that are. pip
# reads this the other way round.
export PIP_NO_COMPILE := 0

NATIVE := CMakeLists.txt native/make_cdef.py $(shell find native/include native/src native/python -type f)
C_FILES = $(shell find native -name '*.[ch]')
PYTHON_TARGETS = compile_unverified_crl certificate open_index catalog node signatures record pem kind name json
FUZZ_TARGETS = $(patsubst native/fuzz/%.c,%,$(wildcard native/fuzz/fuzz_*.c))

MUTATED := build/mutants
FUZZ_VENV := build/fuzz/venv

# Tests, and the processes they start, use what is installed rather than what lies
# in the working directory.
PYTEST_ENV := PYTHONSAFEPATH=1

.DEFAULT_GOAL := build
.PHONY: FORCE build bundles deploy-check terraform-reference dist-check docs docs-check lock release-check sbom upgrade-check man demo recording test test-all test-engines e2e stores journeys links load soak interleavings conformance differential mutants lint format bench bench-large bench-targets bench-serve bench-columns bench-engines worst-case fuzz fuzz-python sanitize clean
.DELETE_ON_ERROR:

build: $(BUILT)

# What pyproject.toml names as build requirements, and cmake and ninja if need be:
# the build runs without isolation so that a change recompiles only what it must.
$(TOOLCHAIN): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' > $(VENV)/requires.txt
	$(BIN)/python -m pip install --quiet --requirement $(VENV)/requires.txt
	$(BIN)/python -c 'from scikit_build_core.build import get_requires_for_build_editable as requires; print(*requires(), sep="\n")' > $(VENV)/requires.txt
	$(BIN)/python -m pip install --quiet --requirement $(VENV)/requires.txt
	touch $@

# The package's files by name. An editable installation remembers where each module lies,
# so it is made anew when one comes, goes or moves. The list changes only then. Several
# runs of make may look at once.
$(FILES): FORCE | $(TOOLCHAIN)
	@new=$@.$$$$ && find crlcheck -name __pycache__ -prune -o -name '[!.]*' -type f -print | LC_ALL=C sort > $$new && \
	    if cmp -s $$new $@; then rm $$new; else mv $$new $@; fi

FORCE:

$(BUILT): $(TOOLCHAIN) $(NATIVE) $(FILES) crlcheck/__init__.py tests/install_functions.py
	$(BIN)/python -m pip install --quiet --no-build-isolation \
	    --config-settings=build-dir=build/editable --editable '.[dev]'
	$(BIN)/python tests/install_functions.py
	touch $@

# A virtual environment that borrows every package from .venv. crlcheck itself is none
# of them, because an editable installation cannot be borrowed.
define borrow
	test -x $(1)/bin/python || $(BIN)/python -m venv --without-pip $(1)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    > $$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth
	$(1)/bin/python tests/install_functions.py
endef

# nginx, for the tests of mutual TLS and the demo's second half, is installed where it
# is missing. That needs apt-get, and root or sudo; the demo asks for no password, and
# goes on without.
IS_ROOT = $(filter 0,$(shell id -u))
FIND = PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v
INSTALL = $(SUDO) timeout 60 apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends

FIND_BROWSER = { $(FIND) chromium-headless-shell || $(FIND) chromium || $(FIND) google-chrome; }
INSTALL_BROWSER = { $(INSTALL) chromium-headless-shell fonts-dejavu-core || \
    $(INSTALL) chromium fonts-dejavu-core; }

demo: SUDO = $(if $(IS_ROOT),,sudo -n)
demo: $(BUILT)
	$(FIND) nginx >/dev/null || { $(INSTALL) nginx-light; } </dev/null >/dev/null || true
	$(BIN)/crlcheck demo

# The demo as a terminal shows it, with its times, for the front of the documentation's site.
recording: SUDO = $(if $(IS_ROOT),,sudo)
recording: $(BUILT)
	$(FIND) nginx >/dev/null || { $(INSTALL) nginx-light; }
	$(BIN)/python -P docs/record_demo.py docs/site/demo.cast

# The bundles of the Lambda functions, and a layer, for x86_64 and arm64, in build/bundles.
# BUNDLES="authorizer" or ARCHITECTURES="arm64" makes fewer of them; RUNTIME=3.12 is for
# another runtime than python3.13.
BUNDLES ?=
ARCHITECTURES ?= x86_64 arm64
RUNTIME ?= 3.13
MAKE_BUNDLES := $(BIN)/python -P deploy/bundles/make.py

# What only some targets need, by the name of the extra that lists it.
$(VENV)/.extra-%: $(BUILT)
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$*"], sep="\n")' > $@.txt
	$(BIN)/python -m pip install --quiet --requirement $@.txt
	touch $@

bundles: $(VENV)/.extra-bundles
	$(MAKE_BUNDLES) $(BUNDLES) $(ARCHITECTURES:%=--architecture=%) --python $(RUNTIME)

# A list of what the bundles have, in CycloneDX.
sbom: $(VENV)/.extra-release
	mkdir -p build/bundles
	$(BIN)/cyclonedx-py requirements deploy/bundles/requirements.txt --output-reproducible \
	    --of JSON --output-file build/bundles/sbom.cdx.json

# Whether the version can be released: make release-check VERSION=1.2.3
release-check:
	$(PYTHON) deploy/release.py "$$VERSION"
	@test -z "$$(git status --porcelain)" || { git status --short; \
	    echo "release-check: what is listed is not committed: commit or remove it" >&2; exit 1; }

# The source distribution and the wheel of this machine, in build/dist, and whether a
# registry and its users can take them.
dist-check: $(VENV)/.extra-release
	rm -rf build/dist
	$(BIN)/python -m build --outdir build/dist .
	$(BIN)/twine check --strict build/dist/*
	$(BIN)/check-wheel-contents build/dist/*.whl
	$(BIN)/pydistcheck build/dist/*
	$(BIN)/abi3audit --strict build/dist/*.whl
	$(BIN)/zizmor --offline --quiet .github

# Another version and this one, each with what the other has published:
# make upgrade-check BASE=v0.1.0
BASE ?= HEAD

upgrade-check: $(BUILT)
	$(BIN)/python -P tests/upgrade.py "$(BASE)"

# Newer versions of what goes into the bundles, each with its hashes.
lock: $(VENV)/.extra-bundles
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.12 --generate-hashes \
	    --no-header --no-emit-index-url --no-annotate \
	    --output-file deploy/bundles/requirements.txt deploy/bundles/requirements.in

# The deployment: bundles from their unpacked folders, for this machine and, by qemu and
# Debian's Python for it, for arm64.
ARM64 := build/arm64
DEPLOY_TESTS := tests/bundles tests/deploy

$(ARM64)/root: tests/bundles/arm64_python.sh
	rm -rf $(ARM64)
	sh tests/bundles/arm64_python.sh $(ARM64)

# SAM's own tools and translation, scanners, and what decides rights as IAM does, each apart
# from the others, as their requirements contradict each other.
HAS_TERRAFORM := $(shell command -v terraform)
DEPLOY := awscli sam scan simulate $(if $(HAS_TERRAFORM),terraform)

build/deploy/%/.built: tests/deploy/%.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	touch $@

# Terraform comes as no package: where it is on PATH, the module is planned against the
# schemas of the provider for AWS, which are read from a package and not installed.
build/deploy/terraform/.built: tests/deploy/terraform.txt tests/deploy/terraform-schemas.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	rm -f $(@D)/*.whl
	$(@D)/bin/python -m pip download --quiet --no-deps --dest $(@D) \
	    --requirement tests/deploy/terraform-schemas.txt
	touch $@

build/deploy/simulate/.built: tests/deploy/package.json build/deploy/node/.built
	mkdir -p $(@D)
	cp $< $(@D)
	PATH="$(CURDIR)/build/deploy/node/bin:$$PATH" \
	    npm install --prefix $(@D) --no-audit --no-fund --silent
	touch $@

deploy-check: SUDO = $(if $(IS_ROOT),,sudo)
deploy-check: $(VENV)/.extra-bundles $(ARM64)/root $(DEPLOY:%=build/deploy/%/.built)
	{ $(FIND) qemu-aarch64-static || $(FIND) qemu-aarch64; } >/dev/null || \
	    { $(INSTALL) qemu-user-static || $(INSTALL) qemu-user; }
	{ $(FIND) curl && $(FIND) openssl; } >/dev/null || $(INSTALL) curl ca-certificates openssl
	$(if $(HAS_TERRAFORM),,@echo "deploy-check: no terraform here, so its module was not planned")
	$(PYTEST_ENV) $(BIN)/python -m pytest $(DEPLOY_TESTS) \
	    $(if $(HAS_TERRAFORM),,--ignore=tests/deploy/test_terraform.py) $(PYTEST_ARGS)

# The documentation's site, in build/site-source/site, and its tests in a browser.
docs: $(VENV)/.extra-docs
	$(BIN)/python -P docs/make_site.py

docs-check: SUDO = $(if $(IS_ROOT),,sudo)
docs-check: docs
	$(FIND_BROWSER) >/dev/null || $(INSTALL_BROWSER)
	$(PYTEST_ENV) $(BIN)/python -m pytest tests/site $(PYTEST_ARGS)

# The tables in the guide of the Terraform module, from its files.
terraform-reference: $(BUILT)
	$(BIN)/python -P docs/make_terraform.py

# Whether the pages of others that the documents link to are there: this needs the network.
links:
	grep -v '^#' tests/data/external_links.txt | xargs -n 1 curl --silent --show-error --fail \
	    --location --max-time 30 --output /dev/null --write-out '%{http_code} %{url_effective}\n'

# A man page for each command, in build/man.
man: $(BUILT)
	$(BIN)/python -P docs/make_man.py build/man

test: $(BUILT)
	$(PYTEST_ENV) $(BIN)/python -m pytest $(PYTEST_ARGS)

# The same on every supported interpreter that is found, on PATH or under pyenv, with
# the one wheel that serves them all.
WHEELS := build/test-all/wheel

test-all: $(BUILT)
	rm -rf $(WHEELS)
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation \
	    --config-settings=build-dir=build/test-all/cmake --wheel-dir $(WHEELS) .
	$(BIN)/python tests/interpreters.py $(WHEELS)/*.whl $(PYTEST_ARGS)

# Every order of the store operations of publishers, clean-ups and readers: of the real code
# in small worlds, and of a model of it in a larger one, by spin, which is installed where it
# is missing. Half an hour.
SPIN := build/spin

interleavings: SUDO = $(if $(IS_ROOT),,sudo)
interleavings: $(BUILT)
	$(FIND) spin >/dev/null || { $(INSTALL) spin; }
	mkdir -p $(SPIN)
	cd $(SPIN) && spin -a $(CURDIR)/tests/models/publishing.pml && \
	    $(CC) -O2 -DSAFETY -DCOLLAPSE -DVECTORSZ=1024 -DMEMLIM=16000 -o pan pan.c
	$(SPIN)/pan -m100000 -b > $(SPIN)/result.txt
	grep -q 'errors: 0$$' $(SPIN)/result.txt && ! grep -q 'not completed' $(SPIN)/result.txt || \
	    { grep -v '^Depth=' $(SPIN)/result.txt; false; }
	grep 'states, stored' $(SPIN)/result.txt
	CRLCHECK_ALL_INTERLEAVINGS=1 $(PYTEST_ENV) $(BIN)/python -m pytest \
	    tests/publisher/test_interleavings.py $(PYTEST_ARGS)

# NIST's revocation tests, what they expect and what comes out.
conformance: $(BUILT)
	PYTHONPATH=tests $(BIN)/python -m support.pkits

# Random PKIs against the reference, OpenSSL and what is not remembered, and how often each
# rule decided; the tests try a few of them too.
differential: $(BUILT)
	WORLDS=$(WORLDS) $(PYTEST_ENV) $(BIN)/python -m pytest tests/conformance/test_differential.py \
	    tests/conformance/test_differential_serials.py tests/conformance/test_remembered_worlds.py \
	    --hypothesis-show-statistics $(PYTEST_ARGS)

$(VENV)/.mutation: $(BUILT)
	$(BIN)/python -m pip install --quiet --no-build-isolation \
	    --config-settings=build-dir=build/editable --editable '.[mutation]'
	touch $@

# Small faults in the modules that decide, and which of them no test notices. An hour;
# MODULES="scope path" or MUTANTS_ARGS="--sample 100" is less, and after new tests
# MUTANTS_ARGS=--again tries what was left. The interpreter borrows every dependency
# from .venv, but imports the mutated copy.
mutants: $(VENV)/.mutation
	$(call borrow,$(MUTATED)/venv)
	PYTHONPATH=$(CURDIR)/$(MUTATED)/tree/mutants $(PYTEST_ENV) $(MUTATED)/venv/bin/python \
	    tests/mutation.py $(MUTANTS_ARGS) $(MODULES) \
	    --native "$$($(BIN)/python -c 'import crlcheck._native; print(crlcheck._native.__file__)')"

# Real mutual TLS: nginx before a gateway before the authorizer, and proxies that ask the
# service. The status page in Chromium, which leaves pictures in build/status. And completion
# by zsh and fish, and the man pages as mandoc and groff render them.
PROXIES := nginx-light haproxy apache2-bin lua-socket caddy
FIND_PROXIES = $(FIND) nginx && $(FIND) haproxy && $(FIND) apache2 && $(FIND) caddy && \
    test -e /usr/share/lua/5.3/socket.lua
TRAEFIK := build/e2e/traefik
ENVOY := build/e2e/envoy

e2e: SUDO = $(if $(IS_ROOT),,sudo)
e2e: $(BUILT) $(TRAEFIK)/.built $(ENVOY)/.built
	{ $(FIND) nginx && $(FIND) curl && $(FIND) zsh && $(FIND) fish && \
	    $(FIND) mandoc && $(FIND) groff; } >/dev/null || \
	    { $(INSTALL) nginx-light curl ca-certificates zsh fish mandoc groff-base; }
	{ $(FIND_PROXIES); } >/dev/null || { $(INSTALL) $(PROXIES); }
	$(FIND) systemd-analyze >/dev/null || $(INSTALL) systemd
	$(FIND_BROWSER) >/dev/null || $(INSTALL_BROWSER)
	$(PYTEST_ENV) $(BIN)/python -m pytest tests/e2e $(PYTEST_ARGS)

# A program that comes as a package, apart from ours.
build/e2e/%/.built: tests/e2e/%.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	touch $@

# Stores on S3 servers of others. Each is installed apart, as its requirements in
# tests/servers contradict ours; LocalStack takes minutes, SERVERS=rclone seconds.
STORES := build/stores
SERVERS ?= rclone localstack

stores: $(BUILT) $(SERVERS:%=$(STORES)/%/.built)
	SERVERS="$(SERVERS)" $(PYTEST_ENV) $(BIN)/python -m pytest tests/servers $(PYTEST_ARGS)

$(STORES)/%/.built: tests/servers/%.txt
	test -x $(@D)/bin/python || $(or $(shell command -v python3.11),$(PYTHON)) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	touch $@

# Tables of certificates in DuckDB, Polars and pandas, and in Dask, Ray and Spark, which needs
# Java and some gigabytes; CLUSTERS= leaves out the latter.
CLUSTERS ?= dask ray spark
ENGINE_TESTS = $(if $(CLUSTERS),tests/engines,$(addprefix tests/engines/test_,duckdb.py polars.py pandas.py))

test-engines: SUDO = $(if $(IS_ROOT),,sudo)
test-engines: $(VENV)/.extra-engines $(if $(CLUSTERS),$(VENV)/.extra-clusters)
	test -z "$(CLUSTERS)" || $(FIND) java >/dev/null || { $(INSTALL) default-jre-headless; }
	$(PYTEST_ENV) $(BIN)/python -m pytest $(ENGINE_TESTS) $(PYTEST_ARGS)

# First hours with crlcheck: what people have, what they type and what they read.
journeys: SUDO = $(if $(IS_ROOT),,sudo)
journeys: $(BUILT)
	{ $(FIND) nginx && $(FIND) curl && test -e /usr/share/easy-rsa/easyrsa; } >/dev/null || \
	    { $(INSTALL) nginx-light curl ca-certificates easy-rsa openssl; }
	$(PYTEST_ENV) $(BIN)/python -m pytest tests/journeys $(PYTEST_ARGS)

# 16 authorizers for a minute, and a new CRL every five seconds.
load: $(BUILT)
	$(PYTEST_ENV) $(BIN)/python tests/support/load.py

# The long form of the tests that search: thousands of interleavings of publishers,
# hundreds of kills, every partition of a large CA against S3. Some ten minutes.
soak: $(BUILT)
	CRLCHECK_MODEL_RUNS=5000 CRLCHECK_PARTITIONS=128 CRLCHECK_KILLS=100 $(PYTEST_ENV) \
	    $(BIN)/python -m pytest --capture=no \
	    tests/publisher/test_model.py tests/publisher/test_processes.py $(PYTEST_ARGS)

# All C, Python's side of it included, is compiled by each of these that is there.
LINT_COMPILERS ?= gcc $(CLANG)

lint: $(BUILT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	set -e; for compiler in $(LINT_COMPILERS); do \
	    command -v $$compiler >/dev/null || { echo "lint: no $$compiler here, its warnings were not looked for"; continue; }; \
	    cmake -S . -B build/lint/$$compiler -DCMAKE_C_COMPILER=$$compiler -DCMAKE_BUILD_TYPE=Release \
	        -DCRLCHECK_LINT=ON -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python; \
	    cmake --build build/lint/$$compiler --clean-first --parallel 2; \
	done

format: $(BUILT)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

$(VENV)/.bench: $(BUILT)
	$(BIN)/python -m pip install --quiet --no-build-isolation \
	    --config-settings=build-dir=build/editable --editable '.[bench]'
	touch $@

# A whole run writes the report in docs/explanation: the page of this kind of machine, and the
# one of all of them. With PYTEST_ARGS it may be any part of one, and a report of a part would lose the rest: it goes to build/bench/report
# unless REPORT names another directory.
RESULTS := build/bench/results
PART := $(if $(strip $(PYTEST_ARGS)),part)
REPORT ?= $(if $(PART),build/bench/report,docs/explanation)
MEASURE = $(BIN)/python -m pytest -o pythonpath=. --benchmark-quiet benchmarks
WRITE_REPORT = $(BIN)/python -m benchmarks.report --output $(REPORT) \
    $(patsubst %,$(RESULTS)/%.json,$(or $(PART),targets standard large))

# The standard sizes, up to 1 M entries and 100,000 scopes: some half an hour. The stores
# with many scopes are made the first time, which takes as long again and 3 GB of disk.
bench: $(VENV)/.bench
	mkdir -p $(RESULTS)
	$(MEASURE) --benchmark-json $(RESULTS)/$(or $(PART),standard).json $(PYTEST_ARGS)
	$(WRITE_REPORT)

# 10 M entries, beside what the last standard run has measured: half an hour, 12 GB
# of memory and 6 GB of disk.
bench-large: $(VENV)/.bench
	mkdir -p $(RESULTS)
	$(MEASURE) --sizes large --benchmark-json $(RESULTS)/$(or $(PART),large).json $(PYTEST_ARGS)
	$(WRITE_REPORT)

# What is compared with the targets of everyday use, of all sizes in one run: a quarter of an
# hour, 8 GB of memory and 2 GB of disk. Of rows that other runs have too, the latest count.
TARGET_SIZES := 0,10,100,1000,10000,100000,1000000,10000000
TARGET_TESTS := test_first_answer or test_check or test_peer or test_warm_invocation \
    or (1000000 and (test_compile[ or test_against_set)) \
    or (10000000 and (test_batch or test_first_decision or test_decision_memory))
bench-targets: $(VENV)/.bench
	mkdir -p $(RESULTS)
	$(MEASURE) --sizes $(TARGET_SIZES) -k "$(TARGET_TESTS)" \
	    --benchmark-json $(RESULTS)/$(or $(PART),targets).json $(PYTEST_ARGS)
	$(WRITE_REPORT)

# What the service beside proxies costs, and what nginx and HAProxy do with the same CRL of
# 1 M entries: seven minutes. Leave the machine alone meanwhile.
bench-serve: SUDO = $(if $(IS_ROOT),,sudo)
bench-serve: $(VENV)/.bench $(TRAEFIK)/.built
	{ $(FIND) h2load && $(FIND_PROXIES); } >/dev/null || { $(INSTALL) nghttp2-client $(PROXIES); }
	mkdir -p $(RESULTS)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.serve --output $(RESULTS)/serve.json $(BENCH_SERVE_ARGS)

# Tables of verdicts beside reading them and looking their rows up: some minutes, 6 GB of memory.
bench-columns: $(VENV)/.bench
	mkdir -p $(RESULTS)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.columns --output $(RESULTS)/columns.json $(BENCH_COLUMNS_ARGS)

# The same rows in DuckDB and Polars.
bench-engines: $(VENV)/.bench $(VENV)/.extra-engines
	mkdir -p $(RESULTS)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.engines --output $(RESULTS)/engines.json $(BENCH_COLUMNS_ARGS)

# How the time for hostile input grows, for each kind of it: a few minutes.
worst-case: $(BUILT)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.worst_case $(WORST_CASE_ARGS)

# ---- fuzzing -----------------------------------------------------------------

# Each target starts from the seeds in build/fuzz/corpus/<target>, which gains what
# it finds, and from those kept in native/fuzz/corpus/<target>. Two run at a time.
fuzz: $(BUILT)
	cmake -S . -B build/fuzz -DCMAKE_C_COMPILER=$(CLANG) -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	    -DCRLCHECK_FUZZ=ON -DCRLCHECK_SANITIZE=ON
	cmake --build build/fuzz --parallel
	$(BIN)/python native/fuzz/make_corpus.py build/fuzz/corpus
	printf '%s\n' $(FUZZ_TARGETS) | xargs -P 2 -I NAME native/fuzz/run.sh NAME $(FUZZ_SECONDS)

# What users call, from Python: atheris follows the Python code, the sanitizers that it
# brings watch the native one, which clang builds for them. The installation is one of
# its own, because atheris cannot follow an editable one; it borrows from .venv.
fuzz-python: $(FUZZ_VENV)/.built
	PYTHONPATH=tests $(BIN)/python -P tests/fuzz_python.py --seeds build/fuzz/python 2>/dev/null
	mkdir -p build/fuzz/failures
	printf '%s\n' $(PYTHON_TARGETS) | xargs -P 2 -I NAME native/fuzz/run_python.sh \
	    $(FUZZ_VENV)/bin/python NAME $(FUZZ_SECONDS)

$(FUZZ_VENV)/.built: $(VENV)/.fuzz $(NATIVE) $(shell find crlcheck -name '*.py')
	$(call borrow,$(FUZZ_VENV))
	CC=$(CLANG) $(BIN)/python -m pip --python $(FUZZ_VENV)/bin/python install --quiet --no-deps \
	    --no-build-isolation --force-reinstall --config-settings=build-dir=build/fuzz/module \
	    --config-settings=cmake.build-type=Debug --config-settings=install.strip=false \
	    --config-settings=cmake.define.CRLCHECK_SANITIZE=ON .
	touch $@

$(VENV)/.fuzz: $(BUILT)
	$(BIN)/python -m pip install --quiet --no-build-isolation \
	    --config-settings=build-dir=build/editable --editable '.[fuzz]'
	touch $@

# ---- sanitizers --------------------------------------------------------------

SANITIZED := build/sanitize/venv
ASAN_PRELOAD = $(foreach library,libasan.so libubsan.so libstdc++.so.6,$(shell $(CC) -print-file-name=$(library)))

# The tests run against a second installation whose native module is built with
# ASan and UBSan; it borrows every dependency from .venv. The sanitizers must be
# loaded before the interpreter, and see each allocation for themselves.
sanitize: $(BUILT)
	$(call borrow,$(SANITIZED))
	$(BIN)/python -m pip --python $(SANITIZED)/bin/python install --quiet --no-deps \
	    --no-build-isolation --force-reinstall --config-settings=build-dir=build/sanitize/cmake \
	    --config-settings=cmake.build-type=Debug --config-settings=install.strip=false \
	    --config-settings=cmake.define.CRLCHECK_SANITIZE=ON .
	LD_PRELOAD="$(ASAN_PRELOAD)" PYTHONMALLOC=malloc $(PYTEST_ENV) \
	    ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 \
	    $(SANITIZED)/bin/python -m pytest -m 'not uninstrumented' -p no:cacheprovider $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) build dist wheelhouse
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
