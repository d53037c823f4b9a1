# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the programs of this folder share. Sourced, never run.

KSM_TOOLS=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
KSM_TOP=$(cd -- "$KSM_TOOLS/../../.." && pwd -P)
KSM_BUILD=$KSM_TOP/build
KSM_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ksm
# shellcheck disable=SC2034 # the programs use it
KSM_BASE_VERSION=6.12
export LC_ALL=C.UTF-8

# The programs print results on stdout; what they are doing goes to stderr.
say() {
	printf 'ksm: %s\n' "$*" >&2
}

die() {
	say "$*"
	exit 1
}

# as_root COMMAND...: run it as root, by sudo when we are not.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "this needs root, and there is no sudo here; as root, run: $*"
	fi
}

# logged LOG COMMAND...: run it with its output in LOG; on failure show the log's end.
logged() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	if "$@" >"$log" 2>&1 </dev/null; then
		return 0
	fi
	say "this failed: $*"
	say "the end of its output (all of it is in $log):"
	tail -n 40 "$log" >&2
	return 1
}

# alone NAME: let no other process of ours do NAME until this one ends.
# Descriptor 9 stays open in children, so start no daemon while holding it.
alone() {
	mkdir -p "$KSM_CACHE"
	exec 9>"$KSM_CACHE/$1.lock"
	flock -n 9 && return
	say "waiting for another process that is doing the same ($1)"
	flock 9
}

# is_base DIR: is that the source of the kernel we build on, with or without our files?
is_base() {
	local version
	version=$(sed -n 's/^VERSION = //p; s/^PATCHLEVEL = //p' "$1/Makefile" 2>/dev/null | paste -sd .)
	[ "$version" = "$KSM_BASE_VERSION" ] && [ -f "$1/mm/Makefile" ] && [ -f "$1/kernel/fork.c" ]
}

# How long each stressor of stress-ng works where time does not matter.
# shellcheck disable=SC2034 # the programs use it
stressor_seconds=120

# oracle FLAVOR SECONDS OPTION...: random work that an oracle watches, in a virtual machine;
# options are those of vm.
oracle() {
	local flavor=$1 seconds=$2 checks=()
	shift 2
	[ "$flavor" != debug ] || checks=(--leaks --append "page_owner=on page_poison=1")
	"$KSM_TOOLS/vm" --flavor "$flavor" --mem 2G --cpus 2 --nodes 2 --swap 512M "${checks[@]}" "$@" -- \
		/host/tools/testing/ksm/tests/run-oracle "$seconds"
}

# copy_base BASE TREE: of hard links, so that files of TREE change by replacement only.
copy_base() {
	[ "$(cat "$2/.ksm-base" 2>/dev/null)" != "$1" ] || return 0
	mkdir -p "$(dirname "$2")"
	rm -rf "$2" "$2.new"
	cp -al "$1/." "$2.new" 2>/dev/null || { rm -rf "$2.new" && cp -a "$1/." "$2.new"; }
	echo "$1" >"$2.new/.ksm-base"
	mv "$2.new" "$2"
}

# folder_of FLAVOR: where that kernel is built, in a folder beside its source. Seen from
# there stock's source and ours have the same name, so ccache compiles once what does
# not differ, which is nearly all.
folder_of() {
	local beside=$KSM_BUILD
	[ "$1" != stock ] || beside=$KSM_BUILD/stock
	printf '%s/x86_64-%s\n' "$beside" "$1"
}

# kernel_of FLAVOR: where that flavor's bootable kernel is.
kernel_of() {
	printf '%s/arch/x86/boot/bzImage\n' "$(folder_of "$1")"
}

# check_folder: neither the kernel's makefiles nor those of our tools can build everywhere.
check_folder() {
	case $KSM_TOP in
	*[[:space:]:]*) die "nothing can be built in $KSM_TOP: make takes a space or a colon in a path for the end of it. Move the clone." ;;
	esac
}

# build_environment: for a build of the kernel. The same text for every builder and
# folder, so that ccache finds what another clone built.
build_environment() {
	check_folder
	export CCACHE_DIR=$KSM_CACHE/ccache CCACHE_BASEDIR=$KSM_TOP CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=8G
	export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970'
	export KBUILD_BUILD_USER=ksm KBUILD_BUILD_HOST=ksm KBUILD_BUILD_VERSION=1
	# A calling make's flags and job server are not for the kernel's.
	unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL
}

# drop_foreign_objects FOLDER BASE: objects of another base kernel may be newer than this
# one's files, so start anew.
drop_foreign_objects() {
	[ ! -f "$1/.ksm-base" ] || [ "$(cat "$1/.ksm-base")" = "$2" ] || rm -rf "$1"
	mkdir -p "$1"
	echo "$2" >"$1/.ksm-base"
}

# What the kernel says when something is wrong with it.
complaints='BUG[: ]|WARNING: |Oops[: ]|Kernel panic|general protection fault'
complaints+='|KASAN: |KCSAN: |UBSAN: |kmemleak: .*[1-9][0-9]* new suspected|unreferenced object'
complaints+='|INFO: task .* blocked for more|detected stalls? on CPU|self-detected stall|soft lockup|hard LOCKUP'
complaints+='|INFO: trying to register non-static key|INFO: lockdep is turned off|-+\[ cut here \]-+'
complaints+='|refcount_t: |(list_add|list_del) corruption|Bad (page|rss-counter) state|stack (guard page|overflow)'

# complained LOG: did the kernel? Its lines start with a time; nothing else does on its console.
complained() {
	grep -qE "^\[ *[0-9]+\.[0-9]+\].*($complaints)" "$1"
}

# show_complaint LOG
show_complaint() {
	say "the kernel complained; from its messages:"
	grep -nE -m 1 -A 40 "^\[ *[0-9]+\.[0-9]+\].*($complaints)" "$1" | tr -d '\r' >&2
}
