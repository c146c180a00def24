# nanozfs.fleet. `make demo` shows the main job on a fleet of its own; `make test` is what CI runs. Both do all their set-up.

.PHONY: help setup demo first-hour test lint sanity units unit molecule test-fleet test-faults test-awx test-freebsd test-openzfs test-page bench bench-fleet build lab-down requirements clean test-matrix galaxy

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install packages (as root) and the virtual environment
	@tools/setup

demo: setup ## build, deploy, upgrade, a failing upgrade, rollback, a dead medium, a lost pool (as root; under 5 minutes)
	@tools/demo

first-hour: setup ## what the README tells a new user to type, on the lab's fleet (as root; some minutes)
	@tools/first-hour

test: ## everything that CI runs (as root; under 45 minutes)
	@tools/test

lint: setup ## ruff, mypy, shellcheck, yamllint, ansible-lint
	@tools/lint

sanity: setup ## ansible-test sanity
	@tools/ansible-test default - sanity --venv

units: setup ## ansible-test units, on every Python that is there
	@tools/ansible-test default - units --venv

unit: setup ## the unit tests, quickly
	@cd .cache/collections/ansible_collections/nanozfs/fleet && \
		PYTHONPATH=$(CURDIR)/.cache/collections $(CURDIR)/.cache/venv/bin/pytest -p no:cacheprovider -q -n auto tests/unit tests/contract tests/boot tests/lab tests/playbooks tests/awx

molecule: setup ## the scenarios of the lab (as root)
	@tools/molecule test --all

test-matrix: setup ## sanity, documentation and a sample of the playbooks on every ansible-core (some twenty minutes)
	@tools/matrix

test-fleet: setup ## an upgrade of fifty hosts while everything goes wrong that can (as root; some ten minutes)
	@tools/fleet 50

test-faults: setup ## stories of faults by the thousand, and two plays at once on one host, twenty times (as root; hours)
	@tools/faults

test-awx: setup ## every job of examples/awx under ansible-runner, cancelled in each phase (as root; some fifteen minutes)
	@tools/awx

test-freebsd: setup ## the main jobs on a real FreeBSD under QEMU; NANOZFS_FREEBSD_SETS says where its release sets are
	@tools/freebsd

test-openzfs: setup ## the contract cases on a real OpenZFS under QEMU (builds it once: some minutes)
	@tools/openzfs

test-page: setup ## the page of the report in a headless Chromium (as root where that is to be installed; a minute)
	@tools/page

bench: setup ## the benchmarks of updates (as root; about an hour), of a build and of backups (some ten minutes each) and of packages
	@bench/image/run
	@bench/build/run
	@bench/packages/run
	@bench/backup/run

bench-fleet: setup ## what plays cost the controller with 10, 50 and 200 hosts of the lab (as root; about an hour)
	@bench/fleet/run

build: setup ## the collection's artefact
	@tools/build $(CURDIR)

galaxy: setup ## what Galaxy's own importer says of the artefact (.cache/artefact)
	@tools/galaxy

lab-down: setup ## take away the lab of this checkout, where it was left behind (as root)
	@tools/lab down

requirements: ## make requirements/dev.txt anew from dev.in
	@tools/requirements

clean: ## take away what building and testing left
	@rm -rf .cache .ansible .hypothesis tests/output nanozfs-fleet-*.tar.gz
	@find . -name __pycache__ -prune -exec rm -rf {} +
