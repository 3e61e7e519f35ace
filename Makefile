# `make test` is the one command: it finds or installs what the tests need, checks everything and leaves nothing running.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

GO ?= go

# staticcheck is built once for each version of it and of Go, so that only the first run needs the network.
STATICCHECK_VERSION := v0.8.2
STATICCHECK = bin/tools/$(shell $(GO) env GOVERSION)/$(STATICCHECK_VERSION)/staticcheck

# TypeScript only checks the page's modules; there is nothing to build.
TSC = internal/web/testdata/node_modules/.bin/tsc

# What go test gets beside the defaults, for example TESTFLAGS='-run Restart -v'.
TESTFLAGS ?=
# The packages to test.
PKG       ?= ./...
TIMEOUT   ?= 40m

# The race detector, but not in SQLite, which is C that was translated: its memory is not Go's, so nothing can be seen there, and
# looking made all that is kept in a file eight times as slow.
RACE := -race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc=-race=false

# How long each fuzz target runs.
FUZZTIME  ?= 1m

# make bench BENCH=Append BENCHTIME=2000x BENCHPKG=./internal/store/sqlite, or BENCH=Answer BENCHPKG=./cmd/hwlab
BENCH     ?= .
BENCHTIME ?= 1x
BENCHPKG  ?= ./internal/store ./internal/web ./cmd/hwlab

.NOTPARALLEL:
.PHONY: build run test test-short chaos fuzz test-deps lint bench clean

build: ## the program, into bin/hwlab
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/hwlab ./cmd/hwlab

run: build ## build and serve
	./bin/hwlab serve

test: test-deps lint ## everything
	CGO_ENABLED=1 $(GO) test $(RACE) -tags integration -count=1 -timeout $(TIMEOUT) $(TESTFLAGS) $(PKG)
	CGO_ENABLED=1 $(GO) test -tags integration -count=1 -timeout $(TIMEOUT) -run '^TestManyMessages' ./internal/archive
	HWLAB_DATABASE_URL= HWLAB_TEST_PG_BIN="$$(readlink -f bin/tools/postgresql-18)" \
		CGO_ENABLED=1 $(GO) test -tags integration -count=1 -timeout $(TIMEOUT) -short ./internal/store

test-short: test-deps lint ## everything but the long tests
	CGO_ENABLED=1 $(GO) test $(RACE) -tags integration -count=1 -timeout $(TIMEOUT) -short $(TESTFLAGS) $(PKG)

chaos: test-deps ## the long form of internal/chaos: crashes, broken networks, full disks, many times each
	HWLAB_CHAOS=full CGO_ENABLED=1 $(GO) test $(RACE) -count=1 -timeout 60m -v $(TESTFLAGS) ./internal/chaos

fuzz: ## each fuzz target for a minute; what they find goes under testdata/fuzz
	@for target in $$(grep -rho --include='*_test.go' '^func Fuzz[A-Za-z]*' internal | cut -c6-); do \
		package=$$(dirname "$$(grep -rl --include='*_test.go' "^func $$target(" internal)"); \
		echo "$$target in $$package"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$package"; \
	done

test-deps: ## find or install PostgreSQL, 18 too, PgBouncer, Chromium, Node with the clients, tmux, and a C compiler
	@scripts/test-deps

lint: $(STATICCHECK) $(TSC) ## formatting, vet, staticcheck, the types of the page's modules, and the build without cgo
	@unformatted="$$("$$($(GO) env GOROOT)/bin/gofmt" -l .)"; \
	if [[ -n "$$unformatted" ]]; then printf 'gofmt -w these files:\n%s\n' "$$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags integration ./...
	$(STATICCHECK) ./...
	$(STATICCHECK) -tags integration ./...
	$(TSC) --project internal/web/ui/jsconfig.json
	CGO_ENABLED=0 $(GO) build -buildvcs=false ./...

$(STATICCHECK):
	GOBIN="$(CURDIR)/$(@D)" $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)

$(TSC): internal/web/testdata/package-lock.json
	cd internal/web/testdata && npm ci --loglevel=error
	touch $@

bench: ## benchmarks; see BENCH above
	$(GO) test -tags integration -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -timeout $(TIMEOUT) $(BENCHPKG)

clean:
	rm -rf bin
