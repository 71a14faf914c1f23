# make train   train on the sample pairs, or on what the constants name; FLAGS="--epochs 1" for flags
# make test    the tests that take minutes at most;  make test-all  the slow ones too
# make lint    ruff and mypy
# make mutations  breaks the code a line at a time and says whether a test notices: some minutes

PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
EMBEDDED := transformers/bert/all-MiniLM-L6-v2

.PHONY: train test test-all mutations lint clean

train: .venv/installed
	@flags=$(if $(findstring --encoder,$(FLAGS)),,$$($(BIN)/python downloadBert.py --for-training)) && \
	$(BIN)/python bertFineTuningWithConnectionData.py $$flags $(FLAGS)

test: .venv/installed-for-tests $(EMBEDDED)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: .venv/installed-for-tests $(EMBEDDED)
	$(BIN)/python -m pytest -m "slow or not slow"

mutations: .venv/installed-for-tests $(EMBEDDED)
	$(BIN)/python tests/mutations.py

lint: .venv/installed-for-tests
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

# A missing encoder only skips the tests that need it.
$(EMBEDDED): | .venv/installed
	-@$(BIN)/python downloadBert.py all-MiniLM-L6-v2

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v < (3, 14) else \
	"This is Python %d.%d; Python 3.10, 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv .venv
	@echo "Installing torch and the rest of requirements.txt into .venv: once, for minutes ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(PYTHON) -c 'open(".venv/installed", "w").close()'

.venv/installed-for-tests: requirements-test.txt requirements-extra.txt requirements-milvus.txt .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	@$(PYTHON) -c 'open(".venv/installed-for-tests", "w").close()'

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis
