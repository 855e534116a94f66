# Commands of this repository. `make` alone lists them. Each is a script under scripts/ or a cargo command.
.DEFAULT_GOAL := help
.PHONY: help demo up down status test bench soak conformance fmt lint doc clean
SHELL := /bin/bash

help: ## this list
	@echo "scargate: measures myocardial scar on LGE cardiac MR (research use). Commands:"
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'
	@echo
	@echo "New here: make demo (the first run installs and builds, for many minutes), then docs/."

demo: ## one synthetic study from the PACS to SEG, FHIR and audit trail, on real servers
	@scripts/demo.sh

up: ## install what is missing, start PostgreSQL, RabbitMQ, Orthanc and the EHR (loopback, .scargate/)
	@scripts/install.sh
	@scripts/servers.sh up

down: ## stop the servers; data is kept (scripts/servers.sh wipe deletes it)
	@scripts/servers.sh down

status: ## which servers run, and where
	@scripts/servers.sh status

test: ## everything that must be green: install, lint, build, all tests (prints minutes per stage)
	@scripts/test.sh

bench: ## timings and memory of a study, its stages and the ledger (release build, not part of the tests)
	@scripts/bench.sh

soak: ## many studies through all servers while these are killed and restarted (SOAK_MINUTES=30)
	@scripts/soak.sh

conformance: ## outputs of many phantoms through every independent DICOM and FHIR validator
	@scripts/conformance.sh

fmt: ## format the Rust sources
	@cargo fmt --all

lint: ## what the lint stage of the tests checks
	@scripts/test.sh lint

doc: ## the API documentation in target/doc
	@cargo doc --no-deps --workspace --document-private-items

clean: ## stop the servers, delete .scargate/ and the build
	@scripts/servers.sh wipe
	@SCARGATE_STATE=.scargate/test scripts/servers.sh wipe
	@rm -rf .scargate out
	@cargo clean
