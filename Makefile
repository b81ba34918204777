# `make demo` and `make test` are all that is needed; each makes the environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FIGURE := moons.png

.PHONY: demo test env test-oldest figures bench clean

demo: $(VENV)/installed
	$(BIN)/python demos/moons.py --output $(FIGURE)

test: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

# The environment with all tools of the checks, for running them one by one.
env: $(VENV)/tested

# The tests against the oldest versions that setup.cfg names.
test-oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint tests/oldest.txt --editable '.[test]'
	.venv-oldest/bin/python -m pytest

# Each demo leaves its picture; a test holds demos/README.md to this list.
FIGURES := moons custom_gate initializers hidden_layer xor seven_segments or_gate validation scaling optimizers spirals \
	dropout_batch_norm conjugate_gradients ensemble handwritten_digits mnist1d_mlp configurable sick_nets

figures: $(VENV)/demos
	for demo in $(FIGURES); do $(BIN)/python demos/$$demo.py --output docs/figures/$$demo.png || exit 1; done
	$(BIN)/python demos/handwritten_digits.py --mnist --output docs/figures/handwritten_mnist.png

# OpenBLAS chooses the kernels for this processor: others, forced from outside, would slow NumPy down and nobody else.
bench: $(VENV)/benched
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/training.py
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/learning.py
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/estimators.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("nngraph needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] \
		+ "; name another: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/demos: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[demos]'
	touch $@

$(VENV)/benched: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) .venv-oldest build *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
