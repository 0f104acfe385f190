# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run lspet repro test check docs campaign schema table curve step plans viz ui lock clean

run: .venv/ready  ## the whole default run, on drawn people
	$(BIN)/kedro run

lspet: .venv/ready  ## the same on real photographs: make lspet ROOT=/path/to/lspet
	$(BIN)/kedro run --env lspet --params source.root=$(ROOT)

repro: .venv/ready  ## rebuild with DVC what is out of date: make repro [STAGES=evaluation]
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "This folder is no git repository, and DVC needs one: git init && git add . && git commit -m start (without DVC: make run)" >&2; exit 1; }
	@test -f .dvc/config || { echo "There is no .dvc/config: git checkout .dvc brings the project's own back, dvc init makes a new one (without DVC: make run)" >&2; exit 1; }
	PATH="$(abspath $(BIN)):$$PATH" dvc repro $(STAGES)

test: .venv/ready  ## all tests, files side by side in as many processes: make test [JOBS=2]
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(or $(JOBS),2) --dist loadfile --no-loadscope-reorder

check: .venv/ready  ## lint, types, import contracts
	$(BIN)/ruff check . || (echo "fix with: $(BIN)/ruff check --fix ." && false)
	$(BIN)/ruff format --check . || (echo "fix with: $(BIN)/ruff format ." && false)
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: .venv/ready  ## the documentation as a site in build/site; a link or anchor that leads nowhere is an error
	$(BIN)/zensical build --strict --clean
	@echo "look at it with: $(BIN)/python -m http.server --directory build/site 4142"

campaign: .venv/ready  ## break runs in every way, and count what comes out right: make campaign [KIND="kills damage"] [SEED=0] [JOBS=2] [QUICK=1]
	$(BIN)/python -m benchmarks.reliability $(KIND) --seed $(or $(SEED),0) --jobs $(or $(JOBS),2) $(if $(QUICK),--quick)

schema: .venv/ready  ## write conf/parameters.schema.json from the types of the parameters
	$(BIN)/python docs/parameters_schema.py

table: .venv/ready  ## method x seed on a source: make table [ENV=base|lspet] [ROOT=...] [SEEDS="0 1 2"] [JOBS=2] [PARAMS=machine.device=cuda]
	$(BIN)/python benchmarks/table.py --env $(or $(ENV),base) $(if $(ROOT),--root $(ROOT)) $(if $(SEEDS),--seeds $(SEEDS)) --jobs $(or $(JOBS),2) $(if $(PARAMS),--params $(PARAMS))

curve: .venv/ready  ## score against number of labels: make curve [ENV=base|lspet] [ROOT=...] [LABELS="20 50 100"] [SEEDS="0 1"] [JOBS=2] [PARAMS=machine.device=cuda]
	$(BIN)/python benchmarks/curve.py --env $(or $(ENV),base) $(if $(ROOT),--root $(ROOT)) $(if $(LABELS),--labels $(LABELS)) $(if $(SEEDS),--seeds $(SEEDS)) --jobs $(or $(JOBS),2) $(if $(PARAMS),--params $(PARAMS))

step: .venv/ready  ## share of a training step that is not network work
	$(BIN)/python benchmarks/step.py

plans: .venv/ready  ## what a full run of each published benchmark costs, without its data
	$(BIN)/python benchmarks/plan.py $(if $(ENV),--env $(ENV))

viz: .venv/ready  ## the pipeline with its last results as a static site in build/: make viz [ENV=smoke]
	rm -rf build
	KEDRO_ENV=$(or $(ENV),local) $(BIN)/kedro viz build --include-hooks --include-previews
	@test -f build/index.html  # kedro viz ends well even where it failed
	@echo "look at it with: $(BIN)/python -m http.server --directory build 4141"

ui: .venv/ready  ## MLflow's pages of all runs, to compare them: make ui [PORT=5000]
	@$(BIN)/python -c "import socket; socket.create_server(('127.0.0.1', $(or $(PORT),5000))).close()" 2>/dev/null || { echo "Port $(or $(PORT),5000) cannot be had, most likely because something listens there. Take another: make ui PORT=$$(( $(or $(PORT),5000) + 1 ))" >&2; exit 1; }
	@$(BIN)/python -c "import sqlite3; print('Runs, with the columns that matter: http://127.0.0.1:$(or $(PORT),5000)/#/experiments/%s/runs?viewStateShareKey=sspcm' % sqlite3.connect('file:mlflow.db?mode=ro', uri=True).execute('select experiment_id from experiments where name = \'$(or $(MLFLOW_EXPERIMENT_NAME),sspcm)\'').fetchone()[0])" 2>/dev/null || echo "There is no run yet: kedro run"
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow server --backend-store-uri sqlite:///$(CURDIR)/mlflow.db --workers 1 --port $(or $(PORT),5000)

lock: .venv/ready  ## write requirements.lock from the environment
	$(BIN)/python -m pip freeze --exclude-editable | sed -E '/^(nvidia|cuda|triton)/s/$$/ ; sys_platform == "linux"/; /^uvloop/s/$$/ ; sys_platform != "win32"/' > requirements.lock

clean:  ## delete everything that runs have made
	find data -type f ! -name .gitkeep -delete

.venv/ready: requirements.lock pyproject.toml
	@echo "Installing into .venv what requirements.lock lists: with CUDA (Linux) 7.3 GiB; docs/start/install.md has the smaller way for a CPU. It ends with a silent while after 'Installing collected packages'."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -r requirements.lock # Python compiles what it imports
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@
