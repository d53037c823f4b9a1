# SPDX-License-Identifier: GPL-2.0
#
# Usage: awk -v path=PATH -f edit.awk edits FILE
#        awk -v path=PATH -v parts=PREFIX -f edit.awk edits FILE
#
# Prints FILE with the edits for PATH made, or says on stderr which one does not
# fit and ends with status 1. An edit that FILE already has counts as made.
#
# With PREFIX, writes what is around each edit into the file PREFIX with its name, as
# it is without the edits: in C the function, elsewhere (Makefile, Kconfig) the entry.
# Around an edit that FILE does not need that is the line which says so.

BEGIN {
	edits = 0
	in_c = path ~ /[.][ch]$/
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
FNR == NR && /^~/ { block[edits, old_n] = has_block[edits] = 1; next }
FNR == NR && /^!/ { unless[edits] = substr($0, 2); next }
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

function match_new(e, at,    i) {
	for (i = 1; i <= news[e]; i++)
		if (line[at + i - 1] != new[e, i])
			return 0
	return news[e]
}

# Where the old lines begin with the new ones, or the other way round, the longer count.
function to_make(e, at) {
	return match_old(e, at) && (olds[e] > news[e] || !match_new(e, at))
}

function is_made(e, at) {
	return match_new(e, at) && (news[e] > olds[e] || !match_old(e, at))
}

# Sets found and made, how often edit e is to be made and is made, and at, where.
function look_for(e,    i) {
	found = made = 0
	for (i = 1; i <= lines; i++) {
		if (to_make(e, i)) {
			found++
			at = i
		} else if (is_made(e, i)) {
			made++
			at = i
		}
	}
}

# replace(e, from, length_, list, count): those lines by the count lines of list.
function replace(e, from, length_, list, count,    i, n, copy) {
	for (i = 1; i < from; i++)
		copy[++n] = line[i]
	for (i = 1; i <= count; i++)
		copy[++n] = list[e, i]
	for (i = from + length_; i <= lines; i++)
		copy[++n] = line[i]
	for (i = 1; i <= n; i++)
		line[i] = copy[i]
	lines = n
}

# What "~" stood for is not known any more.
function undo(e) {
	look_for(e)
	if (made == 1 && !found && !has_block[e])
		replace(e, at, news[e], old, olds[e])
}

# The line for which edit e is not needed, or 0.
function needless(e,    i) {
	for (i = 1; unless[e] != "" && i <= lines; i++)
		if (index(line[i], unless[e]))
			return i
	return 0
}

# Does a function, structure or table begin with this line?
function opens(text) {
	return text ~ /^[^ \t#}\/]/ && text ~ /[{]/ && text !~ /[}]/
}

# function_around(first, last): sets from and to; of what a line at the margin opens with a
# brace, and a brace at the margin closes. Without one, to is 0.
function function_around(first, last) {
	for (to = last; to <= lines && line[to] !~ /^[}]/; to++)
		;
	for (from = to - 1; from > 0 && !opens(line[from]); from--)
		;
	while (from > 1 && line[from - 1] !~ /^$|^[#}]|[*]\/$|;$/)
		from--
	if (from < 1 || from > last || to > lines)
		to = 0
	else if (from > first)
		from = first
}

# entry_around(first, last): sets from and to; a line at the margin with the indented ones behind it.
function entry_around(first, last) {
	for (from = first; from > 1 && line[from] ~ /^([ \t]|$)/; from--)
		;
	for (to = last; to < lines && line[to + 1] ~ /^([ \t]|$)/; to++)
		;
	while (to > from && line[to] == "")
		to--
}

# The name of the function, or what the first line says, as part of a file's name.
function name_of_part(    i, text) {
	text = line[from]
	for (i = from; in_c && i < to && text !~ /[({]/; )
		text = text " " line[++i]
	if (in_c && match(text, /[A-Za-z0-9_]+[(]/))
		text = substr(text, RSTART, RLENGTH - 1)
	gsub(/[^A-Za-z0-9_.]+/, "-", text)
	sub(/-$/, "", text)
	return text
}

function write_part(first, last,    i, file) {
	if (in_c)
		function_around(first, last)
	else
		entry_around(first, last)
	if (!to || written[from]++)
		return
	file = parts name_of_part()
	for (i = from; i <= to; i++)
		print line[i] > file
}

function make(e) {
	look_for(e)
	if (found + made != 1) {
		printf "%s has the line \"%s\" %d times, where once is expected.\n", path, old[e, 1], found > "/dev/stderr"
		failed = 1
	} else if (found && parts) {
		write_part(at, at + match_old(e, at) - 1)
	} else if (found) {
		replace(e, at, match_old(e, at), new, news[e])
	}
}

END {
	for (e = edits - 1; e >= 0; e--)
		undo(e)
	for (e = 0; e < edits; e++)
		told_by[e] = needless(e)
	for (e = 0; e < edits; e++) {
		if (!told_by[e])
			make(e)
		else if (parts)
			write_part(told_by[e], told_by[e])
	}
	for (i = 1; i <= lines && !failed && !parts; i++)
		print line[i]
	exit failed
}
