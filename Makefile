# Every target is one small script of scripts/; continuous integration (.ci/run) calls the same ones.
.PHONY: help setup demo test check lint format serve reference docs test-dialects

help:           ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/ready  ## make .venv, with the command .venv/bin/coppice in it

.venv/ready: pyproject.toml constraints.txt scripts/setup
	@scripts/setup

demo: setup     ## prune the two models of the documents through the real service, load and retrain the results
	@scripts/demo

test: setup     ## the whole suite, except what needs other TensorFlow and Keras versions
	@scripts/test

check: setup    ## lint and quick tests: two minutes
	@scripts/check

lint: setup     ## format, lint, import rules, file sizes, types
	@scripts/lint

format: setup   ## rewrite the files as the linter wants them
	@scripts/format

serve: setup    ## start the service on https://127.0.0.1:8443, data in .data/
	@scripts/serve

reference: setup  ## write docs/reference/ from the code
	@.venv/bin/python -m docs.generate

docs: setup     ## write the site of docs/ to site/
	@.venv/bin/zensical build --strict

test-dialects: setup  ## set up other TensorFlow and Keras versions (gigabytes), run what needs them
	@scripts/test-dialects
