# Everything that a newcomer or CI calls. Needs git, make, gcc with libc headers, CA certificates and Go 1.26 or newer; the
# targets fetch the rest themselves.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION := v1.9.0
PROMTOOL_VERSION := v0.316.0
BIN := bin
IMAGES := command-handler synchronizer open-bank
COMMANDS := $(IMAGES) latency-benchmark
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.PHONY: demo
demo: build ## start a whole bank on this machine, send it 50,000 transfers, check everything
	$(BIN)/open-bank demo

.PHONY: run
run: build ## keep a whole bank running until ctrl-C; bank.env says how to join it
	$(BIN)/open-bank run

.PHONY: build
build: tools ## build the commands into bin/
	CGO_ENABLED=1 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/ $(addprefix ./cmd/,$(COMMANDS))

.PHONY: static
static: build ## the same, with the handler as the image has it: what is measured
	$(call install,musl-gcc,musl-tools)
	CC=musl-gcc VERSION=$(VERSION) cmd/command-handler/build-static -o $(BIN)/command-handler

.PHONY: test
test: tools ## the tests that need nothing else, with the race detector; starts its own servers
	CGO_ENABLED=1 go test -race -timeout 15m -p 2 ./...

# Without the race detector: with it a handler takes three times as long to start, and there are two or three kills a schedule.
.PHONY: soak
soak: tools ## random faults for MINUTES=n (default 10): handlers killed, networks cut, servers gone; as root a full disk too; SEED=n repeats a run's schedules
	CGO_ENABLED=1 go test -count 1 -v -tags soak$$([ $$(id -u) != 0 ] || echo ,disk) -timeout $$(( $(or $(MINUTES),10) + 25 ))m ./fault -args -minutes $(or $(MINUTES),10) -worlds 4 $(if $(SEED),-seed $(SEED))

# Each in turn, for its share of MINUTES; what they find stays in testdata and runs with all tests from then on.
FUZZ := schemas/FuzzDecode schemas/FuzzLearn handler/FuzzRecord deadletter/FuzzLetter

.PHONY: fuzz
fuzz: tools ## random records and schemas for MINUTES=n of CPU (default 10)
	for target in $(FUZZ); do \
	  CGO_ENABLED=1 nice go test -run '^$$' -fuzz "^$${target#*/}\$$" -fuzztime $$(( $(or $(MINUTES),10) * 60 / $(words $(FUZZ)) ))s -parallel 1 ./$${target%/*} || exit 1; \
	done

# What it takes is measured on Apache Kafka, and told; a handler with more than 64 MiB is a failure.
.PHONY: memory
memory: static ## 1,000,000 hostile records, a backlog of 2,000,000 commands, Postgres away for a minute: RECORDS=n (6 min; Java and Maven)
	$(call install,java,openjdk-17-jre-headless)
	$(call install,mvn,maven)
	CGO_ENABLED=1 go test -tags memory -count 1 -timeout 3h -v -run Memory ./security -args -handler $(CURDIR)/$(BIN)/command-handler -records $(or $(RECORDS),1000000)

.PHONY: test-stores
test-stores: tools ## have keytool and openssl read what `make certs` writes
	$(call install,keytool,openjdk-17-jre-headless)
	$(call install,openssl,openssl)
	go test -tags foreign -count 1 -run 'Java|JKS' ./certs

# The oldest that the store supports, and the newest that can be fetched.
POSTGRES_VERSIONS := 11.22.0 18

.PHONY: test-postgres
test-postgres: tools ## the tests of the SQL on other versions of Postgres, which it fetches: POSTGRES_VERSIONS="11.22.0 18"
	for version in $(POSTGRES_VERSIONS); do \
	  POSTGRES_VERSION=$$version CGO_ENABLED=1 go test -count 1 -race -timeout 30m ./store ./audit || exit 1; \
	done

.PHONY: lint
lint: tools .tools/golangci-lint-$(GOLANGCI_LINT_VERSION) ## gofmt, vet, golangci-lint
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt these: $$unformatted" >&2; exit 1; }
	go mod tidy -diff
	.tools/golangci-lint-$(GOLANGCI_LINT_VERSION) run --timeout 10m ./...

# Kept out of go.mod: its hundreds of dependencies are none of ours.
.tools/golangci-lint-%:
	@mkdir -p .tools
	GOBIN=$(CURDIR)/.tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$*
	mv .tools/golangci-lint $@

# Kept out of go.mod, as above.
.tools/govulncheck-%:
	@mkdir -p .tools
	GOBIN=$(CURDIR)/.tools go install golang.org/x/vuln/cmd/govulncheck@$*
	mv .tools/govulncheck $@

# Kept out of go.mod, as above. It is Prometheus 3.16's; Debian's package is of 2023, and starts a server at the port of the stack's.
.tools/promtool-%:
	@mkdir -p .tools
	GOBIN=$(CURDIR)/.tools go install github.com/prometheus/prometheus/cmd/promtool@$*
	mv .tools/promtool $@

.PHONY: vulncheck
vulncheck: tools .tools/govulncheck-$(GOVULNCHECK_VERSION) ## known vulnerabilities in what the commands call; asks vuln.go.dev, or GOVULNDB
	@.tools/govulncheck-$(GOVULNCHECK_VERSION) $(if $(GOVULNDB),-db $(GOVULNDB)) ./... || { status=$$?; \
	  [ $$status = 3 ] && echo "govulncheck found what is above: upgrade those" >&2 || \
	  echo "nothing was checked, for the reason above; where the database of vulnerabilities can't be reached, name a mirror of it by GOVULNDB=URL" >&2; exit $$status; }

.PHONY: bench
bench: tools ## what the store does in a second, beside pgbench and the bare writes (5 min); the codecs' allocations
	go test -run '^$$' -bench . -benchmem ./bank ./schemas
	go test -run '^$$' -bench BenchmarkStore -benchtime 1x -timeout 60m ./store

# What takes turns: the handler in both of its modes.
BOTH := --handler 'exactly-once=$(BIN)/command-handler' --handler 'at-least-once=$(BIN)/command-handler --delivery at-least-once'
RESULTS ?= bench-results
MEASURE = timeout $(1) $(BIN)/latency-benchmark run $(2) --surroundings real --out $(RESULTS)/$$(date +%F)-$(3).json

.PHONY: bench-handler
bench-handler: static ## the handler on a real Apache Kafka, beside what the machine can do at best, into bench-results/ (30 min; Java and Maven)
	$(call install,java,openjdk-17-jre-headless)
	$(call install,mvn,maven)
	@mkdir -p $(RESULTS)
	$(call MEASURE,600,drain --commands 500000 --rounds 3 --beside tpcb $(BOTH),drain)
	$(call MEASURE,720,latency --rate 500$(,)1000 --accounts 100 --rounds 2 --warm-up 8s --duration 12s --beside echo-exactly-once$(,)echo-at-least-once $(BOTH),latency)
	$(call MEASURE,400,hot --commands 300000 --rounds 2,hot)
	$(call MEASURE,420,grow --commands 300000 --rounds 2,grow)
	$(call MEASURE,400,drain --commands 300000 --handlers 1$(,)2$(,)4,handlers)
	$(call MEASURE,400,ramp --step 2000 --every 5 --interval 200ms --check-every 0 --repeats 1 --warm-up-rounds 1,ramp)
	$(call MEASURE,300,floor --rate 500 --duration 15s --commands 200000,floor)

, := ,

.PHONY: bench-check
bench-check: build ## has the handler become slower? ratios to yardsticks of the same run, held to the baseline (3 min; 6 when it looks like it)
	.ci/bench-check

.PHONY: bench-baseline
bench-baseline: build ## measure that baseline anew: after a change that is meant to cost or gain, and on another kind of machine (3 min)
	.ci/bench-check --renew

.PHONY: certs
certs: build ## a development CA, certificates and stores for brokers and clients, into dev-certs/
	$(BIN)/open-bank certs --dir dev-certs

.PHONY: image
image: docker ## the commands as images: openbank/command-handler, openbank/synchronizer, openbank/open-bank
	for command in $(IMAGES); do \
	  docker build --target $$command --build-arg VERSION=$(VERSION) --tag openbank/$$command:$(VERSION) --tag openbank/$$command:latest .; \
	done

.PHONY: stack
stack: image ## the whole stack in Docker: three brokers, registry, Postgres, synchronizer, handler
	[ -e dev-certs/ca-root.crt ] || $(MAKE) certs # Docker makes an empty directory of one that is missing
	chmod a+r dev-certs/* # each image has a user of its own, and the password of the keys is public anyway
	$(call install,$(firstword $(COMPOSE)),docker-compose)
	$(COMPOSE) up --detach
	@echo 'It is up. `$(COMPOSE) logs --follow command-handler` shows the handler at work, `$(COMPOSE) down` stops all, with --volumes for good.'

.PHONY: test-images
test-images: tools ## the images as they run in Docker, against Apache Kafka of today and of 2019 (15 min; root, or a Docker that is there)
	$(call install,docker,docker.io)
	$(call install,java,openjdk-17-jre-headless)
	$(call install,mvn,maven)
	$(call install,debootstrap,debootstrap)
	CGO_ENABLED=1 go test -tags docker -count 1 -timeout 40m -v ./image

# Without the race detector, since times are measured. SEED=n repeats a run's fault schedules.
KAFKA_TEST = CGO_ENABLED=1 go test -tags realkafka -count 1 -timeout 20m -v

.PHONY: test-kafka
test-kafka: tools ## the handler and its fault schedules on real Apache Kafkas, of one broker and of three, and a real registry (14 min; Java and Maven)
	$(call install,java,openjdk-17-jre-headless)
	$(call install,mvn,maven)
	$(KAFKA_TEST) -skip 'RecoveryWithout|ServersThatGoAwayAreWaitedFor/at-least-once' -parallel 2 ./handler
	OPENBANK_TEST_BROKERS=3 $(KAFKA_TEST) -run 'Recover|ComeAndGo/exactly-once' -parallel 1 ./handler
	$(KAFKA_TEST) -run RandomFaults ./fault -args -worlds 1 -schedules 8 $(if $(SEED),-seed $(SEED))

.PHONY: test-kafka-tools
test-kafka-tools: tools ## synchronizer, open-bank, privileges and secrets on the same, and Kafkas since 2019 (6 min; Java and Maven)
	$(call install,java,openjdk-17-jre-headless)
	$(call install,mvn,maven)
	$(KAFKA_TEST) ./realkafka
	$(KAFKA_TEST) ./security
	$(KAFKA_TEST) ./cmd/synchronizer
	$(KAFKA_TEST) -run 'Check|DeadLetter|Replay' -parallel 2 ./cmd/open-bank

.PHONY: test-report
test-report: tools ## the benchmark's report in a headless Chromium: on phones, in the dark, on paper, and what it asks for (1 min)
	$(call install,chromium,chromium)
	CGO_ENABLED=0 go test -tags chromium -count 1 -timeout 5m -run Browser -v ./report

.PHONY: test-alerts
test-alerts: tools .tools/promtool-$(PROMTOOL_VERSION) ## when each alert fires and what the dashboard asks for, by promtool (10 s, and once minutes to build it)
	CGO_ENABLED=0 go test -tags promtool -count 1 -timeout 5m -run Promtool -v ./metric -args -promtool $(CURDIR)/.tools/promtool-$(PROMTOOL_VERSION)

.PHONY: clean
clean: ## remove what was built and the bank of `make run`
	rm -rf $(BIN) .tools .openbank dev-certs

.PHONY: tools
tools:
	@command -v go >/dev/null || { echo "Go is missing: install Go 1.26 or newer, see https://go.dev/dl" >&2; exit 1; }
	@have=$$(go env GOVERSION | sed 's/^go//'); \
	  [ "$$(printf '%s\n' 1.26 "$$have" | sort -V | head -n 1)" = 1.26 ] || \
	  { echo "Go $$have is too old: install Go 1.26 or newer, see https://go.dev/dl" >&2; exit 1; }
	@command -v gcc >/dev/null || { echo "gcc is missing: the Kafka client is C; install gcc with libc headers (Debian: apt-get install gcc libc6-dev)" >&2; exit 1; }

.PHONY: docker
docker:
	$(call install,docker,docker.io)
	@docker info >/dev/null || { echo "Docker does not answer: start it (systemctl start docker), or join its group" >&2; exit 1; }

# $(call install,COMMAND,PACKAGE) installs a package of Debian's when its command is missing and root calls, and says what is
# missing otherwise.
define install
@command -v $(1) >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(2); } || \
  { echo "$(1) is missing: install it (Debian: apt-get install $(2))" >&2; exit 1; }
endef
