# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What runs as root: the bake (it makes a root file system) and the lab (it
# makes network namespaces and boots machines in them).
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env)

VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

# Packer asks nobody whether there is a newer one, and finds our plugin only here.
export CHECKPOINT_DISABLE := 1
export PACKER_PLUGIN_PATH := $(CURDIR)/build/plugins

# Where the image, the logs and other results go; bin/ has the programs.
IMAGE := build/image

go_files   := $(shell find plugin firstboot images pki -name '*.go' -not -name '*_test.go') go.mod go.sum
root_files := $(shell find images/rootfs -type f -not -name '*.go')
programs   := plugin/provisioner/programs/vpnami-firstboot_linux_amd64 plugin/provisioner/programs/vpnami-firstboot_linux_arm64

# The programs that leave this machine are built the same everywhere: no cgo, no
# paths of this machine, no symbol table.
go_build := CGO_ENABLED=0 go build -trimpath -ldflags='-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)'

##@ The two commands

demo: packages build build/plugins/.installed moto ## Bake, launch, first boot, connect: the whole way on this machine (KEEP=1 leaves it running, LAB_VM=qemu boots whole machines)
	@$(AS_ROOT) scripts/demo $(IMAGE) --moto "$$(scripts/moto)" $(if $(KEEP),--keep) $(if $(LAB_VM),--engine $(LAB_VM))

test: packages lint test-unit test-root verify ## All tests: sources, units, transcripts, the bake, and the lab with the baked image
	@echo "All tests passed."

##@ Build

build: bin/packer-plugin-vpnami bin/vpnami-pki bin/vpnami-lab bin/ec2-metadata-mock packer ## Build everything into bin/
image: $(IMAGE)/manifest.json ## Bake the image into build/image (root.tar, disk.raw, manifest.json)
packages: ## Install the Debian packages that are missing, and say why
	@scripts/packages bake lab check

$(programs): $(go_files)
	GOOS=linux GOARCH=$(lastword $(subst _, ,$@)) $(go_build) -o $@ ./firstboot
bin/packer-plugin-vpnami: $(go_files) $(root_files) $(programs) $(wildcard plugin/*/scripts/*)
	$(go_build) -o $@ ./plugin
bin/vpnami-pki: $(go_files)
	$(go_build) -o $@ ./pki
bin/vpnami-lab: $(go_files)
	$(go_build) -o $@ ./images/lab/vpnami-lab
bin/ec2-metadata-mock: scripts/tools/go.sum
	@scripts/tool ec2-metadata-mock && touch $@

.PHONY: packer moto
packer: scripts/tools/go.sum
	@scripts/tool packer >/dev/null
moto:
	@scripts/moto >/dev/null

build/plugins/.installed: bin/packer-plugin-vpnami | packer
	@rm -rf build/plugins
	$$(scripts/tool packer) plugins install --path bin/packer-plugin-vpnami github.com/vpnami/vpnami
	@touch $@
$(IMAGE)/manifest.json: build/plugins/.installed $(wildcard images/*.hcl)
	@$(AS_ROOT) rm -rf $(IMAGE)
	$(AS_ROOT) $$(scripts/tool packer) build -var output_directory=$(IMAGE) images

##@ Test

test-unit: $(programs) ## Units, goldens and transcripts: no root, seconds
	go test ./...
test-root: build moto build/plugins/.installed ## What needs root or the real programs (openvpn, packer, moto, systemd); nothing is skipped
	PATH="$(CURDIR)/bin:$$PATH" VPNAMI_REQUIRE=1 go test $(if $(AS_ROOT),-exec '$(AS_ROOT)') -tags lab -count=1 -p 1 $$(go list ./... | grep -v /images/verify)
verify: image build moto ## The boot verification of the baked image in the lab
	VPNAMI_IMAGE=$(CURDIR)/$(IMAGE) PATH="$(CURDIR)/bin:$$PATH" VPNAMI_REQUIRE=1 go test $(if $(AS_ROOT),-exec '$(AS_ROOT)') -tags lab -count=1 -v ./images/verify
lint: ## Read the sources: vet, golangci-lint, shellcheck, shfmt, actionlint, packer fmt
	@scripts/lint
generate: ## Make generated files anew (HCL2 specifications)
	PATH="$$(dirname $$(scripts/tool packer-sdc)):$$PATH" go generate ./...

##@ The rest

down: bin/vpnami-lab ## Take down a lab that was left running
	$(AS_ROOT) bin/vpnami-lab down
clean: ## Remove bin/ and build/
	$(AS_ROOT) rm -rf bin build plugin/provisioner/programs/vpnami-*

help: ## Say what make can do
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: help demo test build image packages test-unit test-root verify lint generate down clean
