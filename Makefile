# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Packages first, then what needs them; go uses all cores by itself.
.NOTPARALLEL:

VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

# Where the image, the logs and other results go; bin/ has the programs.
IMAGE := build/image
LOGS  := build/logs
# The same of Debian 13 with OpenVPN and the kernel of its backports.
BACKPORTS := build/image-backports
# What the image is measured against; scripts/measure has it there as well.
STOCK     := build/measure/stock-trixie

# Our programs and the tools that scripts/ built, before others of their names.
export PATH := $(CURDIR)/bin:$(CURDIR)/build/moto/bin:$(PATH)
# Packer asks nobody whether there is a newer one, and finds our plugin only here.
export CHECKPOINT_DISABLE := 1
export PACKER_PLUGIN_PATH := $(CURDIR)/build/plugins

# What runs as root: the bake (it makes a root file system) and the lab (it
# makes network namespaces and boots machines in them). sudo takes its own PATH
# and drops the rest, so what is needed is named. Root's build cache is its own:
# files of root in a user's cache would break her next build.
kept := PATH CHECKPOINT_DISABLE PACKER_PLUGIN_PATH LAB_VM CI http_proxy https_proxy no_proxy
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo env $(foreach v,$(kept),$(if $($v),$v='$($v)')) \
	GOPROXY=$(shell go env GOPROXY) GOMODCACHE=$(shell go env GOMODCACHE) GOCACHE=$(CURDIR)/build/go-cache-of-root)
, := ,
# Terraform is no package of Debian's. Without it images/launch is not tested,
# which is said below, but for CI, where it is required.
terraform := VPNAMI_TERRAFORM=$(VPNAMI_TERRAFORM) VPNAMI_TERRAFORM_PLUGINS=$(shell scripts/terraform-plugins)
# Tests that need root or real programs fail without them; they are never skipped.
root_tests := go test -tags lab -count=1 -timeout 25m \
	-exec "$(AS_ROOT) env VPNAMI_REQUIRE=1 VPNAMI_IMAGE=$(CURDIR)/$(IMAGE) VPNAMI_LOGS=$(CURDIR)/$(LOGS) $(terraform)"

go_files   := $(shell find plugin firstboot images pki -name '*.go' -not -name '*_test.go') go.mod go.sum
embedded   := $(shell find images/rootfs plugin/bootstrap/base plugin/bootstrap/mke2fs.conf plugin/*/scripts -type f -not -name '*.go')
programs   := plugin/provisioner/programs/vpnami-firstboot_linux_amd64 plugin/provisioner/programs/vpnami-firstboot_linux_arm64

# The programs that leave this machine are built the same everywhere: no cgo, no
# paths of this machine, no symbol table.
go_build := CGO_ENABLED=0 go build -trimpath -ldflags='-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)'

##@ The two commands

demo: packages build build/plugins/.installed moto ## Bake, launch, first boot, connect: the whole way on this machine (KEEP=1 leaves it running, LAB_VM=qemu boots whole machines)
	@$(AS_ROOT) scripts/demo $(IMAGE) --moto "$$(scripts/moto)" $(if $(KEEP),--keep) $(if $(LAB_VM),--engine $(LAB_VM))

# What test-root runs has all the units in it. Whoever is not root sees them first
# without; root would wait minutes for the same twice.
test: packages lint $(if $(filter 0,$(shell id -u)),,test-unit) test-root verify ## All tests: sources, units, transcripts, the bake, and the lab with the baked image
	@command -v terraform >/dev/null || echo "NOT TESTED: images/launch, because terraform is not on this machine."
	@echo "All tests passed."

##@ Build

build: bin/packer-plugin-vpnami bin/vpnami-pki bin/vpnami-pki-aws bin/vpnami-images bin/vpnami-lab bin/ec2-metadata-mock packer ## Build everything into bin/
image: $(IMAGE)/manifest.json ## Bake the image into build/image (root.tar, disk.raw, manifest.json)
ami: build/plugins/.amazon ## Bake the AMI in your AWS account (minutes, cents; PACKER_VARS="-var ubuntu=26.04" and so on)
	@mkdir -p build/ami
	$$(scripts/tool packer) build -var commit=$(COMMIT) -var manifest_path=build/ami/manifest.json \
		-var sbom_path=build/ami/sbom.cdx.json -var artifacts=build/ami/packer-manifest.json $(PACKER_VARS) images
packages: ## Install the Debian packages that are missing, and say why
	@scripts/packages bake lab check

# Without HTTP/2, 0.36 MB of its 10: what it asks speaks HTTP/1.1 as well.
$(programs): $(go_files)
	GOOS=linux GOARCH=$(lastword $(subst _, ,$@)) $(go_build) -tags nethttpomithttp2 -o $@ ./firstboot
bin/packer-plugin-vpnami: $(go_files) $(embedded) $(programs)
	$(go_build) -o $@ ./plugin
# The desk, and beside it the program that it becomes to speak with AWS.
bin/vpnami-pki: $(go_files)
	$(go_build) -tags noaws -o $@ ./pki
bin/vpnami-pki-aws: $(go_files)
	$(go_build) -o $@ ./pki
bin/vpnami-images: $(go_files)
	$(go_build) -o $@ ./images/catalog
bin/vpnami-lab: $(go_files) $(wildcard images/lab/moto/*.*)
	$(go_build) -o $@ ./images/lab/vpnami-lab
bin/ec2-metadata-mock bin/packer-sdc bin/packer-plugin-amazon: scripts/tools/go.sum
	@scripts/tool $(notdir $@) >/dev/null && touch $@

.PHONY: packer moto
packer:
	@scripts/tool packer >/dev/null
moto:
	@scripts/moto >/dev/null

build/plugins/.installed: bin/packer-plugin-vpnami | packer
	@rm -rf build/plugins
	$$(scripts/tool packer) plugins install --path bin/packer-plugin-vpnami github.com/vpnami/vpnami
	@touch $@
# Amazon's plugin is needed for an AMI only, and takes minutes to build.
build/plugins/.amazon: build/plugins/.installed bin/packer-plugin-amazon
	$$(scripts/tool packer) plugins install --path bin/packer-plugin-amazon github.com/hashicorp/amazon
	@touch $@
$(IMAGE)/manifest.json: build/plugins/.installed images/vpnami.pkr.hcl
	@$(AS_ROOT) rm -rf $(IMAGE)
	$(AS_ROOT) $$(scripts/tool packer) build -var output_directory=$(IMAGE) $(if $(PACKAGES),-var 'packages=$(PACKAGES)') images/vpnami.pkr.hcl
$(BACKPORTS)/manifest.json: build/plugins/.installed images/vpnami.pkr.hcl
	@$(AS_ROOT) rm -rf $(BACKPORTS)
	$(AS_ROOT) $$(scripts/tool packer) build -var output_directory=$(BACKPORTS) -var backports=true images/vpnami.pkr.hcl

$(STOCK)/manifest.json: | build/plugins/.installed
	@mkdir -p $(dir $(@D))
	$(AS_ROOT) $$(scripts/tool packer) build -force -var output_directory=$(STOCK) images/hardening/stock

##@ Test

test-unit: $(programs) ## Units, goldens and transcripts: no root, seconds
	go test ./...
test-root: build bin/packer-sdc bin/packer-plugin-amazon moto build/plugins/.installed ## What needs root or the real programs (openvpn, packer, moto, systemd); nothing is skipped
	$(root_tests) -p 1 $$(go list ./... | grep -v '/images/verify$$')
verify: image build moto ## The boot verification of the baked image in the lab (LAB_VM=qemu boots whole machines)
	@mkdir -p $(LOGS)
	$(root_tests) -v ./images/verify
verify-boot: export LAB_VM := qemu
verify-boot: image build moto ## Boot the disk image as a whole machine: UEFI, NVMe, a kernel update, a reboot (10 minutes)
	@mkdir -p $(LOGS)
	$(subst -tags lab,-tags lab$(,)boot,$(root_tests)) -v -run '^TestBoot$$' ./images/verify
bench-boot: export LAB_VM := qemu
bench-boot: image $(STOCK)/manifest.json build moto ## Measure from the kernel's start to OpenVPN up in a whole machine, beside the stock image (20 minutes)
	@mkdir -p $(LOGS)
	$(subst -timeout 25m,-timeout 60m,$(subst -tags lab,-tags lab$(,)boot$(,)bench,$(subst VPNAMI_REQUIRE=1,VPNAMI_REQUIRE=1 VPNAMI_STOCK=$(CURDIR)/$(STOCK),$(root_tests)))) -v -run '^TestBenchBoot$$' ./images/verify
verify-offload: export LAB_VM := qemu
verify-offload: $(BACKPORTS)/manifest.json build moto ## Boot an image of Debian 13 with backports: the kernel carries the data (10 minutes, and a bake)
	@mkdir -p $(LOGS)
	$(subst $(IMAGE),$(BACKPORTS),$(subst -tags lab,-tags lab$(,)offload,$(root_tests))) -v -run '^TestOffload$$' ./images/verify
check-image: packages build build/plugins/.installed moto ## Measure the image beside the stock one: Lynis, systemd's exposure, OpenSCAP (10 minutes; LAB_VM=qemu boots whole machines, an hour)
	@$(AS_ROOT) rm -rf build/measure/ours-trixie build/measure/ours-bookworm
	$(AS_ROOT) scripts/measure build/measure
	$(subst -tags lab,-tags lab$(,)measure,$(subst VPNAMI_REQUIRE=1,VPNAMI_REQUIRE=1 VPNAMI_MEASURE=$(CURDIR)/build/measure,$(root_tests))) -timeout 80m -v -run '^TestMeasure$$' ./images/hardening
bake-twice: build build/plugins/.installed ## Bake twice and compare the bytes; where they differ, name the first path that does (2 to 3 minutes)
	@scripts/packages bake
	@$(subst -tags lab,-tags lab$(,)twice,$(subst VPNAMI_REQUIRE=1,VPNAMI_REQUIRE=1 VPNAMI_TWICE=$(CURDIR)/build/twice,$(root_tests))) -v -run '^TestDifferenceOfRoots$$|^TestBakeTwice$$' ./plugin
# What stands between the checkout and AWS, without a right there: a workflow makes it
# before it has credentials. Terraform's provider is some hundred megabytes.
build/verify-aws.test: $(go_files) $(wildcard images/verify/*_test.go)
	@mkdir -p $(@D)
	go test -tags aws -count=1 -c -o $@ ./images/verify
build/terraform/.terraform: images/launch/versions.tf
	@mkdir -p $(@D) && cp $< $(@D)
	plugins=$$(scripts/terraform-plugins) && terraform -chdir=$(@D) init -no-color -input=false $${plugins:+-plugin-dir="$$plugins"}
	@touch $@
.PHONY: verify-aws verify-aws-ready
verify-aws-ready: bin/vpnami-pki bin/vpnami-pki-aws build/verify-aws.test build/terraform/.terraform ## Build and fetch what verify-aws needs, with no credentials
verify-aws: ## Launch an AMI in your AWS account, connect, assert, end it (AMI=ami-... or ARTIFACTS=FILE, else it bakes one; 20 minutes, some cents; images/iam/verify.json)
	@scripts/verify-aws "$(or $(AMI),$(ARTIFACTS))"
verify-outside: image build moto ## The assertions of verify-aws against the lab, and the whole of verify-aws against a stand-in for AWS, with its policy (5 minutes)
	@mkdir -p $(LOGS)
	$(subst -tags lab,-tags lab$(,)rehearse,$(root_tests)) -run '^TestOutside' -v ./images/verify
rehearse-aws: image build moto build/plugins/.amazon ## Bake the AMI of a local guest, launch it by Terraform against a stand-in for AWS that enforces its policies, boot in the lab, replace, destroy, several gateways (5 minutes)
	@mkdir -p $(LOGS)
	$(subst -tags lab,-tags lab$(,)rehearse,$(root_tests)) -run '^TestRehearsal$$' -v ./images/launch
rehearse-per-client: image build moto ## The launch with nat = "per-client" against a stand-in for AWS, booted in the lab, and a second gateway that takes over (3 minutes)
	@mkdir -p $(LOGS)
	$(subst -tags lab,-tags lab$(,)rehearse,$(root_tests)) -run '^TestPerClientRehearsed$$' -v ./images/launch
rehearse-policies: image build moto build/plugins/.amazon ## Take every right of the bake and of verify-aws away in turn, against a stand-in for AWS: each time a step of Packer's or Terraform's fails and names it (12 minutes)
	$(subst -tags lab,-tags rehearse,$(root_tests)) -p 1 -parallel 4 -run '^TestBakePolicies$$|^TestVerifyPolicy$$' -v ./images/iam ./images/verify
rehearse-broken: moto ## Launches that AWS refuses: the reason, going on from there, nothing left (4 minutes)
	@$(root_tests) -tags rehearse -run '^TestBroken$$' -v ./images/launch
faults: $(programs) ## What goes wrong around a first boot, when, and how it ends (firstboot/testdata/faults.tsv), and kills at every write
	@scripts/packages lab
	@$(root_tests) -run '^TestFaults$$|^TestKilled' -v ./firstboot | grep -v '^=== \|^ *--- PASS\|^PASS\|^ok'
# "make test" runs them by what they begin with, and by what was once found.
FUZZTIME := 5s
fuzz: $(programs) ## Feed what is read from outside with what is made up, FUZZTIME=5s for each parser (some minutes; the first time all is built anew for it)
	@go test -list '^Fuzz' ./... | awk '/^Fuzz/ { names[++n] = $$1 } $$1 == "ok" { for (i = 1; i <= n; i++) print $$2, names[i]; n = 0 }' | \
		while read -r package name; do echo "$$name of $$package"; \
			said="$$(go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$package" 2>&1)" || { echo "$$said"; exit 1; }; done
lint: bin/packer-sdc ## Read the sources: vet, golangci-lint, shellcheck, shfmt, actionlint, packer fmt
	@scripts/lint
# Apart from lint: to build tflint takes two minutes of a machine like CI's (126 s of
# processor, measured), for half a second of reading; "make test" has Terraform's own
# judgement and the lint of the plans.
lint-terraform: ## Read images/launch with tflint: all rules of the language (two minutes the first time)
	@for folder in images/launch images/launch/examples/*/; do \
		"$$(scripts/tool tflint)" --chdir="$$folder" --config="$(CURDIR)/images/launch/.tflint.hcl"; done
bench: image build moto bin/packer-plugin-amazon ## Measure the desk against easy-rsa and openssl, a first boot against a bare openvpn, the bake of an AMI against apt alone (some minutes)
	@scripts/packages bench
	@$(go_build) -tags noaws,bench -o build/bench/vpnami-pki ./pki
	@VPNAMI_BENCH_PROGRAM=$(CURDIR)/build/bench/vpnami-pki go test -tags bench -count=1 -timeout 20m -run '^TestBench$$' -v ./pki | grep --line-buffered -v '^=== \|^ok'
	@$(root_tests) -tags lab,bench -run '^TestBench$$' -v ./images/verify | grep --line-buffered -v '^=== \|^ok'
	@$(root_tests) -tags lab,bench -run '^TestBenchBake$$' -v ./plugin | grep --line-buffered -v '^=== \|^ok'
	@echo "On whole machines: make bench-boot (from the kernel's start to OpenVPN up, beside the stock image), make verify-offload (throughput with and without data channel offload), make bench-script."
bench-script: ## Measure whole machines from power-on to ready: by firstboot, and by a cloud-init script with awscli (half an hour)
	@$(MAKE) IMAGE=build/image-awscli PACKAGES='["awscli"]' LAB_VM=qemu bench-script-of-image
bench-script-of-image: image build moto
	@$(root_tests) -tags lab,bench -run '^TestBenchScript$$' -v ./images/verify | grep --line-buffered -v '^=== \|^ok'

snapshot: ## Build what a release is made of, for all systems, into build/dist; nothing is published (5 minutes)
	@"$$(scripts/tool goreleaser)" release --snapshot --clean
generate: bin/packer-sdc ## Make generated files anew (HCL2 specifications, images/README.md, the plugin's documentation in .web-docs)
	go generate ./...
	@scripts/webdocs .web-docs

##@ The rest

down: bin/vpnami-lab ## Take down every lab that was left running
	$(AS_ROOT) bin/vpnami-lab down --all
clean: ## Remove bin/ and build/
	$(AS_ROOT) rm -rf bin build plugin/provisioner/programs/vpnami-*

help: ## Say what make can do
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: help demo test build image ami packages test-unit test-root verify-boot bench-boot verify-offload check-image bake-twice faults fuzz rehearse-broken rehearse-per-client rehearse-policies verify verify-outside lint lint-terraform bench bench-script bench-script-of-image snapshot generate down clean
