# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run lspet test check table step ui lock clean

run: .venv/ready  ## the whole default run, on drawn people
	$(BIN)/kedro run

lspet: .venv/ready  ## the same on real photographs: make lspet ROOT=/path/to/lspet
	$(BIN)/kedro run --env lspet --params source.root=$(ROOT)

test: .venv/ready  ## all tests
	$(BIN)/python -m pytest

check: .venv/ready  ## lint, types, import contracts
	$(BIN)/ruff check . || (echo "fix with: $(BIN)/ruff check --fix ." && false)
	$(BIN)/ruff format --check . || (echo "fix with: $(BIN)/ruff format ." && false)
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

table: .venv/ready  ## method x seed on a source: make table ENV=base|lspet [ROOT=...]
	$(BIN)/python benchmarks/table.py --env $(or $(ENV),base) $(if $(ROOT),--root $(ROOT))

step: .venv/ready  ## share of a training step that is not network work
	$(BIN)/python benchmarks/step.py

ui: .venv/ready  ## MLflow's pages of all runs, to compare them: make ui [PORT=5000]
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow server --backend-store-uri sqlite:///$(CURDIR)/mlflow.db --workers 1 --port $(or $(PORT),5000)

lock: .venv/ready  ## write requirements.lock from the environment
	$(BIN)/python -m pip freeze --exclude-editable | sed -E '/^(nvidia|cuda|triton)/s/$$/ ; sys_platform == "linux"/' > requirements.lock

clean:  ## delete everything that runs have made
	find data -type f ! -name .gitkeep -delete

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@
