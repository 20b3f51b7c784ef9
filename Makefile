# Everything a person or a machine does with this repository. `make` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVICES := discovery config_push ca agent ctl local webhook
CLUSTER := seine
# Where images cannot be pulled, these name others. They are for skaffold and kind, and nobody else:
# to the services an unknown SEINE_ variable is an error.
unexport SEINE_PYTHON_IMAGE SEINE_KIND_NODE_IMAGE
IMAGES := SEINE_PYTHON_IMAGE=$(SEINE_PYTHON_IMAGE)
NODE_IMAGE := $(addprefix --image ,$(SEINE_KIND_NODE_IMAGE))
PROTOS := $(wildcard libs/protos/*/v1/*.proto libs/protos/*/*/v1/*.proto examples/*/*.proto)

export PYTHONDONTWRITEBYTECODE ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test explore e2e endure check fmt golden protos crds rbac revision tools lock bench docs faults clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Make .venv with every requirement (hashed) and the stubs of Envoy's API

$(VENV)/.ready: requirements/dev.txt pyproject.toml tests/tools/stubs.py
	@$(PYTHON) -c 'import sys; sys.exit("Seine needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	$(BIN)/python tests/tools/stubs.py
	@touch $@

demo: setup ## Run the mesh on this machine with a sample application (ONCE=1: check and end)
	@$(BIN)/python -m services.local $(if $(ONCE),--once) $(if $(MODE),--mode $(MODE))

dev: setup ## Run the mesh and the bookshop on a kind cluster and follow every change (skaffold dev)
	@kind get clusters 2>/dev/null | grep -qx $(CLUSTER) || kind create cluster --name $(CLUSTER) $(NODE_IMAGE)
	$(IMAGES) skaffold dev --tail=false --kube-context kind-$(CLUSTER)

test: setup ## Run every test that this machine can run, and say why others are skipped
	$(BIN)/python -m pytest $(ARGS)

explore: setup ## Try N (30) times as many random examples and walks as `make test`, other ones each time
	$(BIN)/python -m pytest --explore $(or $(N),30) --timeout 7200 $(ARGS) \
	  $(shell grep -rlE 'from hypothesis|support.examples' tests --include='test_*.py')

e2e: setup ## Test the mesh on a kind cluster of its own (needs docker, kind, kubectl and skaffold)
	$(IMAGES) $(BIN)/python -m pytest tests/e2e --e2e --cluster-name seine-e2e $(addprefix --kind-image ,$(SEINE_KIND_NODE_IMAGE)) $(ARGS)

endure: ## The same with a hundred pod starts, ten rollouts and a minute without a control plane
	$(MAKE) e2e ARGS="--long $(ARGS)"

check: setup ## Format, lint, types, import contracts, generated files: changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture

fmt: setup ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

golden: setup ## Rewrite the expected outputs of tests/golden; read the difference before committing
	$(BIN)/python -m tests.golden.rewrite

protos: setup ## Regenerate the modules beside each .proto
	$(BIN)/python tests/tools/protos.py

docs: setup ## Regenerate docs/reference
	$(BIN)/python -m tests.tools.reference

crds: setup ## Regenerate deploy/crds from the types of libs/api
	$(BIN)/python -m tests.tools.crds

rbac: setup ## Regenerate the roles and webhook configurations of deploy/base
	$(BIN)/python -m tests.tools.rbac
	$(BIN)/python -m tests.tools.admission

revision: setup ## Make deploy/overlays/NAME: a control plane of that revision beside the default one (NAME=canary)
	$(BIN)/python -m tests.tools.revision $(NAME)

tools: setup ## Build etcd, kube-apiserver and a judge of identities for tests (four minutes, once; needs Go)
	$(BIN)/python -m tests.tools.kubernetes.build
	$(BIN)/python -m tests.tools.spiffe.build

lock: setup ## Compile requirements/*.txt anew from pyproject.toml
	$(BIN)/python tests/tools/lock.py

bench: setup ## Print the cost of generating and pushing configuration, with percentiles
	$(BIN)/python -m tests.load

faults: setup ## Run every recipe of tests/faults at full length (20 minutes) and print a table
	$(BIN)/python -m tests.faults $(ARGS)

clean: ## Remove everything that the targets above made
	rm -rf $(VENV) typings .run .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
