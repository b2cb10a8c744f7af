# The one task runner: CI calls these names and nothing else.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 3
LOCKED := --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

help:  ## Show what can be done
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | awk -F'\t' '{printf "  make %-18s %s\n", $$1, $$2}'

$(BIN)/cliffwatch: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(BIN)/cliffwatch $@

install: $(BIN)/cliffwatch  ## Install cliffwatch into .venv

demo: $(BIN)/cliffwatch  ## Replay a real rollout and print what it did to the hard tier
	$(BIN)/cliffwatch demo

lint: $(VENV)/.dev  ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(VENV)/.dev  ## Rebuild the files that are generated from the code
	$(BIN)/python -m monitor.config.model > cliffwatch.yaml
	$(BIN)/python -m grafana.dashboards
	$(BIN)/python -m rules.slo
	$(BIN)/python -m deploy.manifests
	$(BIN)/python -m docs.handbook.metric_reference > docs/metrics.md

figures: $(VENV)/.dev  ## Replay the demo and draw the pictures of the concept pages from its numbers
	$(BIN)/python -m docs.handbook.figures

docs: $(VENV)/.dev  ## Build the documentation site into site/, strictly, and check every link
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	$(BIN)/python -m docs.handbook.links site

dashboards-preview: $(VENV)/.dev servers  ## Draw every dashboard over a real rollout into docs/images/dashboards (needs Node and Chromium)
	$(BIN)/python -m grafana.preview

lock: $(VENV)/.dev  ## Lock the newest dependencies that pyproject.toml allows, with their hashes
	$(BIN)/uv pip compile --quiet --upgrade $(LOCKED) --extra kafka-codecs --extra postgres pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade $(LOCKED) deploy/build.in --output-file deploy/build.lock

audit: $(VENV)/.dev  ## Ask for known vulnerabilities of the locked dependencies (needs pypi.org)
	$(BIN)/python -m deploy.audit

page-preview: $(VENV)/.dev servers  ## Take the pictures of the status page over the demo into docs/images/status-page (needs Chromium)
	$(BIN)/python -m tests.browser.pictures

servers: $(VENV)/.dev  ## Install the servers that the stack tests start (Kafka, Prometheus, Alertmanager, PostgreSQL)
	tests/stack/install-servers

.PHONY: eval-tools eval-files
eval-tools:  ## Install the eval tools whose results `cliffwatch report` reads (large; make test does without them)
	tests/evals/tools/install

eval-files: $(VENV)/.dev eval-tools  ## Write the result files of real eval tools in tests/evals/files anew
	$(BIN)/python -m tests.evals.real_tools

captures: $(VENV)/.dev  ## Make the captures of tests/libraries/agents anew from the newest releases of their libraries
	$(BIN)/python -m tests.libraries.record
	$(BIN)/python -m tests.trace.test_captures

collector: .servers/bench-collector/otelcol  ## Build the OpenTelemetry Collector that bench-spans reads beside (needs Go and its module proxy; minutes)

.servers/bench-collector/otelcol: bench/collector.yaml
	go run go.opentelemetry.io/collector/cmd/builder@v0.155.0 --config $<
	@touch $@

bench-verdicts: $(VENV)/.dev  ## Judge rollouts whose truth is known: false alarms, power, real versions
	$(BIN)/python -m bench.bench_verdicts

bench-labels: $(VENV)/.dev  ## Judge rollouts whose labels are missing, late, one-sided or mistaken
	$(BIN)/python -m bench.bench_labels

bench-difficulty: $(VENV)/.dev  ## Measure tiers and the share's shift on real versions, beside simpler methods
	$(BIN)/python -m bench.bench_difficulty

bench-decode: $(VENV)/.dev  ## Time decoding of every format beside a bare decode of the same bytes
	$(BIN)/python -m bench.bench_decode

bench-pipeline: $(VENV)/.dev servers  ## Time the whole pipeline on a real Kafka beside a bare poll
	$(BIN)/python -m bench.bench_pipeline

bench-spans: $(VENV)/.dev servers  ## Time spans from Kafka to their verdict, beside the OpenTelemetry Collector
	$(BIN)/python -m bench.bench_spans

bench-startup: $(VENV)/.dev servers  ## Time a start until the first scrape
	$(BIN)/python -m bench.bench_startup

bench-growth: $(VENV)/.dev  ## Show how cost grows up to ten million rows, and whether memory does
	$(BIN)/python -m bench.bench_growth

bench: bench-decode bench-pipeline bench-startup bench-growth  ## Time what is on the way of every record (half an hour)

test-hostile-names: $(VENV)/.dev servers  ## Read a million records with new names into SQLite and PostgreSQL (ten minutes)
	CLIFFWATCH_HOSTILE_NAMES=1000000 $(BIN)/pytest tests/ledger/test_hostile_names.py tests/stack/test_hostile_names.py -q -s

test-hostile: $(VENV)/.dev servers  ## Read bombs and 100,000 hostile events beside three honest services into SQLite and PostgreSQL
	CLIFFWATCH_HOSTILE_EVENTS=100000 $(BIN)/pytest -s -p no:randomly tests/stack/test_hostile.py tests/stack/test_bombs.py tests/hostile -q

test-collector: $(VENV)/.dev servers  ## Send 10,000 runs through a real OpenTelemetry Collector four ways, and count (needs Go)
	tests/collector/install
	CLIFFWATCH_COLLECTOR_RUNS=10000 $(BIN)/pytest -s -p no:randomly tests/collector -q

fuzz: $(VENV)/.dev  ## Decode 100,000 mutated records, and tell 400 stories in any order
	CLIFFWATCH_FUZZ_INPUTS=100000 CLIFFWATCH_STORIES=400 $(BIN)/pytest tests/trace/test_fuzz.py tests/service/test_pipeline.py -q

test-faults: $(VENV)/.dev servers  ## Kill replicas, brokers and databases under a million events, and compare every count with the truth
	CLIFFWATCH_FAULTS_EVENTS=1000000 CLIFFWATCH_FAULTS_KILLS=100 CLIFFWATCH_FAULTS_PAUSES=5 \
	CLIFFWATCH_FAULTS_BROKER_RESTARTS=20 CLIFFWATCH_FAULTS_DATABASE_RESTARTS=10 \
	CLIFFWATCH_FAULTS_JOINS=25 CLIFFWATCH_FAULTS_LEAVES=25 \
	$(BIN)/pytest -s -p no:randomly tests/faults

test-newcomer: $(VENV)/.dev servers  ## Follow the README from a fresh clone to a verdict, and without references to a message in Slack, and time both
	CLIFFWATCH_NEWCOMER=full $(BIN)/pytest -s -p no:randomly tests/stack/test_newcomer.py

test-fast: $(VENV)/.dev  ## Run the quick tests that need no server, in about a minute
	$(BIN)/pytest -m 'not stack and not slow' -q --numprocesses $(WORKERS) --dist worksteal

# Bytecode is kept, whatever the shell says: the tests start the monitor some hundred times, and without it each start
# compiles the whole package. Stealing keeps the tests of a module together, whose fixtures may have cost minutes.
test: export PYTHONDONTWRITEBYTECODE =
test: lint servers  ## Install what the tests need and run all of them, by three workers
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: help install demo docs figures lint format generate dashboards-preview page-preview servers bench bench-decode bench-difficulty bench-growth bench-labels bench-pipeline bench-spans bench-startup bench-verdicts captures collector fuzz test-hostile test-hostile-names test-collector test-fast test-newcomer test-faults test
