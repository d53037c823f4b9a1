# SPDX-License-Identifier: GPL-2.0
#
# Usage: awk -v path=PATH -f edit.awk edits FILE
#
# Prints FILE with the edits for PATH made, or says on stderr which one does not
# fit and ends with status 1. An edit that FILE already has counts as made.

BEGIN {
	edits = 0
}

function finish_edit() {
	if (wanted && (old_n || new_n))
		edits++
	wanted = old_n = new_n = 0
}

function remember(list, count, text) {
	list[edits, count] = text
}

# The first file read is the table.
FNR == NR && /^#/ { next }
FNR == NR && /^$/ { finish_edit(); next }
FNR == NR && /^file / { wanted = (substr($0, 6) == path); next }
FNR == NR && !wanted { next }
FNR == NR && /^~/ { block[edits, old_n] = 1; next }
FNR == NR {
	sign = substr($0, 1, 1)
	text = substr($0, 2)
	if (sign == "-" || sign == " ")
		remember(old, ++old_n, text)
	if (sign == "+" || sign == " ")
		remember(new, ++new_n, text)
	olds[edits] = old_n
	news[edits] = new_n
	next
}

FNR == 1 { finish_edit() }
{ line[++lines] = $0 }

# The number of lines from "at" on that the old lines of edit e match, or 0.
function match_old(e, at,    i, from) {
	from = at
	for (i = 1; i <= olds[e]; i++) {
		if (line[at++] != old[e, i])
			return 0
		while (block[e, i] && at <= lines && line[at] ~ /^([ \t]|$)/)
			at++
	}
	return at - from
}

function has_new(e, at,    i) {
	for (i = 1; i <= news[e]; i++)
		if (line[at + i - 1] != new[e, i])
			return 0
	return news[e]
}

function replace(e, at, length_,    i, n, copy) {
	for (i = 1; i < at; i++)
		copy[++n] = line[i]
	for (i = 1; i <= news[e]; i++)
		copy[++n] = new[e, i]
	for (i = at + length_; i <= lines; i++)
		copy[++n] = line[i]
	for (i = 1; i <= n; i++)
		line[i] = copy[i]
	lines = n
}

function make(e,    i, at, found, made, length_) {
	for (i = 1; i <= lines; i++) {
		if (match_old(e, i)) {
			found++
			at = i
		}
		made += has_new(e, i) > 0
	}
	if (found == 1 && !made) {
		replace(e, at, match_old(e, at))
	} else if (made != 1) {
		printf "%s has the line \"%s\" %d times, where once is expected.\n", path, old[e, 1], found > "/dev/stderr"
		exit failed = 1
	}
}

END {
	for (e = 0; e < edits && !failed; e++)
		make(e)
	for (i = 1; i <= lines && !failed; i++)
		print line[i]
	exit failed
}
