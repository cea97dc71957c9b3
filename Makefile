# make train     trains on the embedded digits, into runs/digits     make moons    the same in the plane, into runs/moons
# make test      the whole test suite                                make lint     style, formatting and types
# make benchmark measures this package against its peers, in 45 minutes, into benchmarks/results
# make docs      the documentation, into site/                       make wheel   wheel and sdist, into dist/, and a try of the wheel
# make test-oldest   the suite with the oldest versions that pyproject.toml allows, in an environment of its own
# make tutorials runs the notebooks of docs/tutorials and stores their outputs
# make clean     removes what make and the tools left, but for runs/
#
# ARGS go to the program: make train ARGS="--config.epochs=2 --workdir=runs/short"    make test ARGS=tests/train
PYTHON ?= python3
ARGS ?=

.PHONY: train moons test test-oldest lint benchmark docs tutorials wheel clean

train: .venv/installed
	.venv/bin/python -m train.main $(ARGS)

moons: .venv/installed
	.venv/bin/python -m train.main --config=train/configs/moons.py $(ARGS)

test: .venv/installed
	.venv/bin/python -m pytest -q --numprocesses=auto --dist=loadfile --no-loadscope-reorder $(ARGS)

test-oldest:
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet --requirement requirements-oldest.txt
	build/oldest/bin/python -m pytest -q --numprocesses=auto --dist=loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/installed
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

benchmark: .venv/installed-bench
	.venv/bin/python -m benchmarks.main $(ARGS)

docs: .venv/installed-docs
	.venv/bin/python -m mkdocs build --strict $(ARGS)

# The messages of TensorFlow's start go to the terminal, and not into the notebooks.
tutorials: .venv/installed-docs
	PYTHONPATH=$(CURDIR) .venv/bin/python -m nbconvert --execute --to notebook --inplace \
	  --ExecutePreprocessor.record_timing=False \
	  --ExecutePreprocessor.extra_arguments=--IPKernelApp.capture_fd_output=False \
	  $(or $(ARGS),docs/tutorials/*.ipynb)

# The sdist makes the wheel, which then trains in an environment of its own, from a folder without the source.
wheel:
	rm -rf build dist
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet --requirement requirements-wheel.txt
	build/tools/bin/python -m build --outdir dist
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet --constraint requirements.txt dist/*.whl
	cd build/empty && bin/tfp-realnvp --config=moons.py --config.epochs=1 --config.steps_per_epoch=2 --workdir=run
	cd build/empty && bin/python -c "import tfp_realnvp as rnvp; print(rnvp.load_model('run/model.keras').sample(2).shape)"

clean:
	rm -rf .venv build dist site benchmarks/results *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Written last, so that an installation that was broken off starts again from nothing.
.venv/installed: requirements.txt
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet --requirement requirements.txt
	touch $@

# A new .venv has no stamp of this kind in it.
.venv/installed-bench: .venv/installed requirements-bench.txt
	.venv/bin/python -m pip install --quiet --requirement requirements-bench.txt
	touch $@

.venv/installed-docs: .venv/installed requirements-docs.txt
	.venv/bin/python -m pip install --quiet --requirement requirements-docs.txt
	touch $@
