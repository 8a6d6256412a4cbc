# make portrait   the whole way once: photo in, portrait, LoRA file and crops out, on the real ComfyUI
# make test       every check and test
# make env        the environment alone; its last line is the path of its Python
#
# Nothing is installed into the system but Chromium (`make browser`, and only where there is none and the user is root).
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

.PHONY: help env
help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

env: $(ENV)/.ready
	@echo $(PY)

$(ENV)/.ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed; this is " + sys.version.split()[0] + ". Say make PYTHON=/path/to/python3.11")'
	echo "Building the environment in $(ENV) (about 6 GB, once) ..."
	mkdir -p $(CACHE)
	exec 9> $(CACHE)/env.lock && flock 9
	if [ ! -f $@ ]; then
	    rm -rf $(ENV)
	    $(PYTHON) -m venv $(ENV)
	    $(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	    touch $@
	fi
