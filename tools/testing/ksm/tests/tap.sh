# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Runs every function called test_... of the program that sources this, each in
# a shell and a folder of its own, and reports in TAP. The name is the sentence
# that is tested. A test fails when a command of it does.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# fails_with STATUS COMMAND...: COMMAND ends with STATUS; what it prints is in ./said.
fails_with() {
	local want=$1 got=0
	shift
	"$@" >said 2>&1 || got=$?
	[ "$got" -eq "$want" ] && return
	echo "ended with $got, not with $want: $*"
	cat said
	return 1
}

# same WANTED GOT
same() {
	[ "$1" = "$2" ] && return
	printf 'wanted: %s\ngot:    %s\n' "$1" "$2"
	return 1
}

# lacks FILE GREP-ARGUMENTS: a plain "!" would not end a test.
lacks() {
	local file=$1
	shift
	if grep "$@" "$file"; then
		return 1
	fi
}

# skip WHY: end this test, which cannot be made here.
skip() {
	echo "$*" >skipped
	exit 1
}

run_tests() {
	local tests name number=0 status all=0 folder
	mapfile -t tests < <(declare -F | sed -n 's/^declare -f test_//p')
	folder=$(mktemp -d)
	echo "TAP version 13"
	echo "1..${#tests[@]}"
	for name in "${tests[@]}"; do
		number=$((number + 1)) status=0
		mkdir "$folder/$number"
		# Not in a condition: there "set -e" would not hold.
		set +e
		(set -ex && cd "$folder/$number" && "test_$name") >"$folder/output" 2>&1
		status=$?
		set -e
		if [ "$status" -eq 0 ]; then
			echo "ok $number ${name//_/ }"
		elif [ -f "$folder/$number/skipped" ]; then
			echo "ok $number ${name//_/ } # SKIP $(cat "$folder/$number/skipped")"
		else
			sed 's/^/# /' "$folder/output"
			echo "not ok $number ${name//_/ }"
			all=1
		fi
	done
	rm -rf "$folder"
	return "$all"
}
