# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of ksmctl share. Sourced, after tap.sh.

# shellcheck disable=SC2034 # they use it
program=$KSM_BUILD/tools/ksmctl

# field NAME: that of a JSON object, each time it comes.
field() {
	grep -oE "\"$1\": [^,}]*" | sed 's/^[^:]*: //; s/"//g; s/ *$//'
}

# between LEAST NUMBER MOST
between() {
	[ "$1" -le "$2" ] && [ "$2" -le "$3" ] && return
	echo "$2 is not between $1 and $3"
	return 1
}
