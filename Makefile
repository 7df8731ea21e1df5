# Two commands need nothing but a fresh Debian machine with Python 3.11, Go and the package registries:
#   make demo    a cluster, SkyPilot, the operator, one model, tokens
#   make test    all tests but the longest (CONTRIBUTING.md says which)
include versions.env

PYTHON ?= python3
VENV := .venv
UV := $(VENV)/bin/uv
RUN := $(UV) run --frozen --no-sync
CLUSTER := $(RUN) python -m tests.cluster

.DEFAULT_GOAL := help
.PHONY: help install docs docs-serve dashboard-picture lint unit simulation proxy mutants contract integration e2e chart traffic cloud test on-the-cluster demo run bench-launch bench-scale bench-growth bench-memory bench-probes bench-proxy bench crds images cluster-up clean-cluster clean

help: ## What there is
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

$(VENV)/.installed: pyproject.toml uv.lock versions.env
	@echo "installing Python packages into $(VENV)"
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV) || { \
		echo "Debian keeps venv in a package of its own; installing it" && rm -rf $(VENV) && \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv && $(PYTHON) -m venv $(VENV); }
	@test -x $(UV) || $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(UV) sync --frozen --quiet --inexact --all-extras
	@touch $@

install: $(VENV)/.installed ## Python environment in .venv

lint: install ## ruff, mypy, import-linter, and that pytest finds every test
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) mypy --package tests --package hack
	$(RUN) lint-imports
	$(RUN) pytest tests --collect-only -qqq # a suite that needs the cluster must not find out half an hour later

docs: install ## The documentation site into site/, strictly: a link or anchor that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(RUN) python -m mkdocs build --quiet

docs-serve: install ## The documentation site on http://127.0.0.1:8000, rebuilt as you write
	NO_MKDOCS_2_WARNING=1 $(RUN) python -m mkdocs serve

dashboard-picture: install ## docs/images/dashboard.png, from the dashboard's queries to a real Prometheus (hack/dashboard)
	$(RUN) --with matplotlib==3.11.2 python -m hack.dashboard

unit: install ## Tests without a cluster, two minutes
	$(RUN) pytest tests/unit

simulation: install ## The control loop on a virtual clock: scenarios, films, 5,000 random schedules
	$(RUN) pytest tests/simulation --timeout=1800

proxy: install ## A real HAProxy with the operator's configuration between clients and engines on loopback (1 min)
	$(RUN) pytest tests/proxy

mutants: install ## Every guard of the control loop removed in turn: which test notices?
	$(RUN) python -m tests.mutants

cluster-up: install ## Test cluster with the images loaded
	$(CLUSTER) up

contract: cluster-up ## SkyPilot's server and the engines' parsers as the operator knows them
	$(RUN) pytest tests/contract --timeout=900

integration: cluster-up ## Real API server, real operator process, faked SkyPilot
	$(RUN) pytest tests/integration

e2e: cluster-up ## Real everything: chart, SkyPilot, vLLM on CPU
	$(RUN) pytest tests/e2e --ignore=tests/e2e/test_traffic.py --timeout=900

chart: cluster-up ## The chart with real Helm: modes of SkyPilot, upgrade and rollback, rights, Prometheus
	$(RUN) pytest tests/install --timeout=900

traffic: cluster-up ## A steady client through a rolling update, a scale-down, another port and a crash (20 min)
	$(RUN) pytest tests/e2e/test_traffic.py --timeout=3000 -s

cloud: cluster-up ## SkyPilot's AWS path against a simulated EC2 with machines of its own, and the test cluster beside it
	$(CLUSTER) build-images proxy engine-stub engine-cpu # here, where no deadline of a test counts the first time
	$(RUN) pytest tests/cloud --timeout=1800 --durations=0 -s

test: lint unit simulation proxy ## All tests but the longest, then everything taken down
	@bash hack/with-cluster.sh $(MAKE) --no-print-directory on-the-cluster

# One process each: the operators of the suites must not meet.
on-the-cluster: install
	$(RUN) pytest tests/unit/chart # helm is there now
	$(RUN) pytest tests/integration
	$(RUN) pytest tests/contract --timeout=900
	$(RUN) pytest tests/cloud/test_provider_errors.py --timeout=900 --durations=0
	$(RUN) pytest tests/e2e --ignore=tests/e2e/test_traffic.py --timeout=900 --durations=0
	$(RUN) pytest tests/install/test_upgrade.py tests/install/test_values.py --timeout=900 --durations=0

demo: install ## One model from YAML to tokens, on this machine
	@$(RUN) python -m tests.system.demo

run: install ## The operator on this machine, against KUBECONFIG and a SkyPilot server on 127.0.0.1:46580
	$(RUN) deepseek-operator run --log-format console

bench-launch: cluster-up ## apply to Ready, against the same task launched by hand
	$(RUN) python -m tests.bench.launch

bench-scale: cluster-up ## What 1,000 deployments cost, beside goals and KubeRay (N=1000, RUNS=1, KUBERAY=DIR; 15 min a run)
	$(RUN) python -m tests.bench.scale -n $(or $(N),1000) --runs $(or $(RUNS),1) $(if $(KUBERAY),--kuberay $(KUBERAY))

bench-growth: install ## What grows with the number of deployments, up to 10,000, on a virtual clock (10 min)
	$(RUN) python -m tests.bench.growth

bench-memory: install ## What is kept of each deployment, and the most that a start takes (2 min)
	$(RUN) python -m tests.bench.memory

bench-probes: install ## What a probe costs, beside aiohttp, and what silent addresses do to it
	$(RUN) python -m tests.bench.probes

bench-proxy: install ## What the proxy costs, beside asking the engine itself
	$(RUN) python -m tests.bench.proxy

bench: install ## Plans per second, and how fast kubectl deepseek starts
	$(RUN) python -m tests.bench.planning
	$(RUN) python -m tests.bench.plugin_start

crds: install ## Generate the CRD from the API models
	$(RUN) deepseek-operator crds -o crds/deepseekdeployments.deepseek-operator.io.yaml
	cp crds/deepseekdeployments.deepseek-operator.io.yaml charts/deepseek-operator/files/

clean-cluster: install ## Take the test cluster and everything of it down
	$(CLUSTER) down

clean: clean-cluster ## clean-cluster, and the build cache
	$(CLUSTER) down --purge
	rm -rf $(VENV)
