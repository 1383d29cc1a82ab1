# The README's two commands are `make demo` and `make test`; each makes the environment if it is missing.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
# One thread a process: oversubscribed cores are many times slower, and workers ask for more by themselves.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

# A file's tests share fixtures and so a process; more processes are worth it where there are more cores.
TEST_WORKERS ?= 2

.PHONY: env demo test test-portable test-faults test-pages test-long fuzz check format bench validity docs wheel clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "polyscan needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: env
	$(BIN)/polyscan scan digits --run runs/digits

test: env
	$(ONE_THREAD) $(BIN)/python -m pytest -q --numprocesses $(TEST_WORKERS) --dist loadfile

# All tests as an x86-64 CPU without AVX-512 runs them: a test that fails here alone expects bits that CPUs differ in.
AVX2_ALONE := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell \
	FAISS_SIMD_LEVEL=AVX2 ARROW_USER_SIMD_LEVEL=AVX2
# numpy refuses names that it does not know, so the list is of what it would use on this CPU.
NUMPY_AVX512 := from numpy._core._multiarray_umath import __cpu_dispatch__ as known, __cpu_features__ as has; \
	print(*(name for name in known if has[name] and (name == "X86_V4" or name.startswith("AVX512"))))

test-portable: env
	NPY_DISABLE_CPU_FEATURES="$$(NPY_DISABLE_CPU_FEATURES= $(BIN)/python -c '$(NUMPY_AVX512)')" $(AVX2_ALONE) \
		$(ONE_THREAD) $(BIN)/python -m pytest -q --numprocesses $(TEST_WORKERS) --dist loadfile

# Workers, nodes and drivers killed, disks filled, files damaged: all cells, with a table at the end.
test-faults: env
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m 'faults or not faults' tests/faults tests/storage/test_object_store.py \
		tests/test_nodes.py tests/test_ray_runner.py tests/jobs/test_submit.py

# The pages of a run of 30,000 units in a real browser, and every page kind by axe-core.
test-pages: env
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m 'pages or not pages' --numprocesses $(TEST_WORKERS) --dist loadfile tests/maps

# Studies that scan a network several times.
test-long: env
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m long --numprocesses $(TEST_WORKERS) --dist loadfile

# As `make fuzz N=1000 SEED=7`: so many files of each kind, made to hurt.
N ?= 10000
SEED ?= 0

fuzz: env
	FUZZ_N=$(N) FUZZ_SEED=$(SEED) $(ONE_THREAD) $(BIN)/python -m pytest -q -rP tests/fuzz

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(MAKE) docs

format: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: env
	$(ONE_THREAD) $(BIN)/python -m sphinx -W --keep-going -q docs build/docs

bench: env
	$(ONE_THREAD) $(BIN)/python -m benchmarks

validity: env
	$(ONE_THREAD) RAY_AUTH_MODE=disabled $(BIN)/python -m benchmarks.validity

wheel: env
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf build dist runs/digits
