# SPDX-License-Identifier: GPL-2.0
#
# The driver: gets the base kernel, puts this tree into it, builds, boots, tests.
# It is no kernel makefile; those are below mm/ and go into the kernel's tree.

TOOLS := tools/testing/ksm
FLAVOR ?= release
MINUTES ?= 120
export FLAVOR
ifneq ($(words $(FLAVOR)) $(words $(filter release debug kcsan stock,$(FLAVOR))),1 1)
$(error FLAVOR is "$(FLAVOR)"; it can be release (ours, fast), debug (ours, full of checks), kcsan (ours, looking for data races) or stock (the base kernel as it is))
endif

help: ## list the targets (this)
	@echo "Targets; FLAVOR is release (ours, fast; the default), debug (ours, full of checks),"
	@echo "kcsan (ours, looking for data races) or stock (the base kernel as it is):"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

run: kernel ## build a kernel, boot it in a virtual machine, show memory saved there
	$(TOOLS)/demo

test: ## build what the tests need and run them; "make test ALL=1" runs what takes long, too
	$(TOOLS)/test $(if $(ALL),all)

soak: ## two hours of random work that an oracle watches, then stress-ng, or "make soak MINUTES=10 FLAVOR=kcsan"
	$(TOOLS)/soak $(MINUTES) $(if $(filter command environment,$(word 1,$(origin FLAVOR))),$(FLAVOR))

compare: ## run the user-space tests on the stock kernel too, show both results, record stock's interface
	$(TOOLS)/compare

bench: ## measure the stock kernel and this one; "make bench BENCH=quick" takes ten minutes
	$(TOOLS)/bench

shell: kernel ## a shell in a virtual machine with that kernel
	$(TOOLS)/vm --flavor $(FLAVOR) --interactive

kernel: ## build the kernel of FLAVOR, and say where
	$(TOOLS)/build $(FLAVOR)

um: ## build the kernel that runs the KUnit suites in build/um
	$(TOOLS)/build um

tools: ## build ksmctl, the administrator's program, and libksmoffer in build/tools
	$(TOOLS)/userland build

patch: ## our tree as one patch to the base kernel, in build/ksm.patch
	$(TOOLS)/mkpatch build/ksm.patch

rebase: ## record a base kernel whose changes "graft" refused, once somebody has looked at them
	base=$$($(TOOLS)/base) && $(TOOLS)/graft --record "$$base"

deb: ## Debian packages for a real machine, in build/deb; "make deb CONFIG=FILE DEBUG_INFO=yes"
	$(TOOLS)/deb $(if $(DEBUG_INFO),--debug-info) $(if $(CONFIG),"$(CONFIG)")

deb-test: ## build such packages, install them in a Debian, boot that
	$(TOOLS)/tests/deb_test

coverage: ## which lines and branches of mm/ksm the tests reach (about 40 minutes)
	$(TOOLS)/coverage

check: ## read scripts, C files and documents with shellcheck, checkpatch, cppcheck, Coccinelle, sparse, W=1, Sphinx, spin
	$(TOOLS)/check

clean: ## remove what was built here
	rm -rf build

distclean: clean ## and all that was downloaded and cached, for other clones too
	$(TOOLS)/forget

.PHONY: help run test soak compare bench shell kernel um tools patch rebase deb deb-test coverage check clean distclean
