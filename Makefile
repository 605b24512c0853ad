# make demo     see it work, with no key and nothing configured
# make test     everything that has to hold: style, types, tests, coverage; and make lowest
# make lowest   what touches other packages, with the lowest versions of them that are allowed
# make windows  subscribers for windows, with the real toolkits: each of them has to be there (installs those of pip)
# make compat   chats with servers that others wrote, and others' clients with the emulator (large: installs them)
# make bench    the numbers of benchmarks/README.md, on this machine
# make torture  every fault, others' code, Ctrl-C everywhere, random schedules, kills, load and limits; a report; 30 minutes;
#               SEED=... replays
# make mechanisms  takes out one mechanism after the other, and shows the test that fails without it
# make mutants  changes the core in some 2,400 ways; a test must notice each, or tests/mutants/survivors.toml say why not;
#               MODULES="limits.model_limits limits.governor" for some, SAMPLE=50 SEED=3 for a few; interrupted, it goes on
#               where it was
# make endurance  mixed work for MINUTES=20, and whether memory, threads and descriptors stay flat; with a graph
# make drift    where the API moved: the endpoints here against those of the official SDK's newest release
# make fuzz     tries to break the decoders with bytes of its own, for FUZZ_SECONDS=300; see tests/fuzz/README.md

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := setup.cfg pyproject.toml pytest_anthropix_actors.py $(shell find anthropix_actors -type f -not -path '*/__pycache__/*')

.PHONY: demo test lint lowest windows compat bench torture mechanisms mutants drift endurance fuzz clean

demo: $(VENV)/demo
	@$(BIN)/anthropix demo

# Most tests wait more than they compute: four at once keep two cores busy.
WORKERS := --numprocesses 4 --dist worksteal

# Where the tests are that run alone: to collect all tests only for these takes half a minute.
ALONE = $(shell grep -rl --include='test_*.py' 'pytest\.mark\.alone' tests)

# Written bytecode: the first run compiles the tests, and the four of the second read what it wrote.
test: export PYTHONDONTWRITEBYTECODE :=
test: lint
	@# pytest, not python -m pytest: that would put this folder first on the path, and test it instead of what is installed
	$(BIN)/coverage erase
	$(BIN)/coverage run $(BIN)/pytest -m "alone and not compat" $(ALONE)
	$(BIN)/coverage run $(BIN)/pytest $(WORKERS) -m "not alone and not compat"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	@$(MAKE) --no-print-directory lowest

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# both at once: each takes one core
	$(BIN)/mypy & mypy=$$!; $(BIN)/pyright --pythonpath $(BIN)/python; pyright=$$?; wait $$mypy && exit $$pyright

LOWEST := $(VENV)-lowest
LOWEST_TESTS := $(addprefix _http/test_, transport.py trust.py proxy.py interim.py secrets.py auth.py) \
	files chat/test_actor.py test_client.py _cancel/test_cancel.py _cancel/test_scope.py _decode/test_sse.py \
	_decode/test_jsonl.py

lowest: $(LOWEST)/test
	$(LOWEST)/bin/pytest -q $(WORKERS) $(LOWEST_TESTS:%=tests/%)

$(LOWEST)/test: $(SOURCES) tests/lowest.py
	@test -x $(LOWEST)/bin/pip || $(PYTHON) -m venv $(LOWEST)
	@rm -rf build
	@$(PYTHON) tests/lowest.py > $(LOWEST)/constraints.txt
	@$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/constraints.txt \
		'.[emulator,cli]' pytest pytest-xdist hypothesis trustme
	@touch $@

windows: $(VENV)/windows
	REQUIRE_WINDOWS=1 $(BIN)/pytest tests/subscribers tests/test_examples.py

compat: $(VENV)/compat
	$(BIN)/pytest tests/others

bench: $(VENV)/bench
	$(BIN)/python benchmarks

# -P: what is installed is tortured, not this folder
torture: $(VENV)/test
	PYTHONPATH=tests:benchmarks $(BIN)/python -P -m torture $(if $(SEED),--seed $(SEED)) $(if $(REPORT),--report $(REPORT))

mechanisms: $(VENV)/test
	PYTHONPATH=tests $(BIN)/python -P -m torture.mechanisms

drift: $(VENV)/test
	PYTHONPATH=tests $(BIN)/python -P -m drift $(if $(SDK),--folder $(SDK))

mutants: $(VENV)/test
	PYTHONPATH=tests $(BIN)/python -P -m mutants $(if $(MODULES),--modules $(MODULES)) \
		$(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))

MINUTES ?= 20

endurance: $(VENV)/endurance
	PYTHONPATH=tests $(BIN)/python -P -m torture.endurance --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) \
		$(if $(GRAPH),--graph $(GRAPH))

FUZZ_SECONDS ?= 300
FUZZ_TARGETS ?= raw structured resume lines chunked

fuzz: $(VENV)/fuzz
	@new=$${FUZZ_NEW:-$$(mktemp -d)}; seconds=$$(($(FUZZ_SECONDS) / $(words $(FUZZ_TARGETS)))); \
	for target in $(FUZZ_TARGETS); do \
		echo "$$target, for $$seconds seconds"; \
		mkdir -p $$new/$$target; \
		PYTHONPATH=tests $(BIN)/python -P -m fuzz $$target -max_total_time=$$seconds -timeout=20 -verbosity=0 \
			-print_final_stats=1 -artifact_prefix=$$new/$$target- $$new/$$target tests/fuzz/corpus/$$target || exit 1; \
	done; \
	echo "nothing was found; new inputs are in $$new"

clean:
	rm -rf $(VENV) $(LOWEST) build *.egg-info

# One stamp file per set of extras; each is made again when the package or its dependencies change.

$(VENV)/demo: EXTRAS := emulator,cli
$(VENV)/test: EXTRAS := test
$(VENV)/windows: EXTRAS := windows
$(VENV)/compat: EXTRAS := compat
$(VENV)/bench: EXTRAS := bench
$(VENV)/endurance: EXTRAS := endurance
$(VENV)/fuzz: EXTRAS := fuzz

$(VENV)/%: $(SOURCES)
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@rm -rf build  # what setuptools kept from an older state
	@$(BIN)/pip install --quiet --disable-pip-version-check '.[$(EXTRAS)]'
	@touch $@
