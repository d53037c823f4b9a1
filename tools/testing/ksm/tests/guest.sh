# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests that run in the virtual machine share, beside tap.sh. Sourced.

. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

knobs=/sys/kernel/mm/ksm

# knob NAME: its text.
knob() {
	cat "$knobs/$1"
}

# set_knob NAME VALUE
set_knob() {
	echo "$2" >"$knobs/$1"
}

# knob_is NAME VALUE, knob_exceeds NAME NUMBER
knob_is() {
	[ "$(knob "$1")" = "$2" ]
}

knob_exceeds() {
	[ "$(knob "$1")" -gt "$2" ]
}

# eventually COMMAND...: wait until it succeeds. The bound is only a safety net.
eventually() {
	local tries
	set +x
	for ((tries = 0; tries < 1200; tries++)); do
		if "$@"; then
			set -x
			return
		fi
		sleep 0.5
	done
	echo "this did not come true: $*"
	grep . "$knobs"/*
	return 1
}

# ksmd scans as much as it can, from an empty start. The stock smart_scan skips pages
# that came at different times in different passes, so that they may never meet.
scan_fast() {
	set_knob run 2
	set_knob pages_to_scan 10000
	set_knob sleep_millisecs 0
	[ "${KSM_FLAVOR:-}" != stock ] || set_knob smart_scan 0
	set_knob run 1
}

# passes NUMBER: wait until ksmd has made that many full ones, begun after this call.
passes() {
	eventually knob_exceeds full_scans $(($(knob full_scans) + $1))
}

# slab_objects: how many are in use in the slab caches named after KSM, where they
# can be told. They count as used until their slab is shrunk.
slab_objects() {
	local cache
	for cache in /sys/kernel/slab/ksm_*; do
		[ -e "$cache/shrink" ] || continue
		echo 1 >"$cache/shrink"
		sed 's/ .*//' "$cache/objects"
	done | awk '{ sum += $1 } END { print sum + 0 }'
}

no_slab_objects() {
	[ "$(slab_objects)" -eq 0 ]
}

# With no offered memory left, run=2 brings everything back to nothing.
nothing_is_left() {
	local counter
	set_knob run 2
	for counter in pages_{shared,sharing,unshared,volatile} stable_node_{chains,dups} ksm_zero_pages; do
		eventually knob_is "$counter" 0
	done
	eventually no_slab_objects
}
