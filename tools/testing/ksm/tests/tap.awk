# SPDX-License-Identifier: GPL-2.0
#
# Usage: awk [-v list=1] -f tap.awk FILE
#
# Counts the results in TAP or KTAP, nested by four spaces, with or without the
# kernel's time stamps. Shows what failed, with what was said about it. A test
# that has subtests counts as those; one that is cut off, or has not run as many
# subtests as it planned, counts as failed. The last line is "PASSED FAILED SKIPPED".
#
# With list=1 it shows one line for each of these results instead, with tabs between
# its three parts: what it is, its name with those of the tests that hold it, and what
# was said about it.

{
	sub(/\r$/, "")
	sub(/^\[ *[0-9]+\.[0-9]+\] ?/, "")
	match($0, /^ */)
	depth = int(RLENGTH / 4)
	text = substr($0, RLENGTH + 1)
}

text ~ /^K?TAP version / { open_level(depth); next }
text ~ /^1\.\.[0-9]+/ { plan[depth] = substr(text, 4) + 0; planned[depth] = 1; next }
text ~ /^(not )?ok [0-9]+/ { result(depth, text); next }
text ~ /^Bail out!/ { fail(text) }
text ~ /^#/ { said = said $0 "\n" }

function open_level(d) {
	opened[d] = 1
	count[d] = failures[d] = planned[d] = 0
}

function fail(what) {
	if (!list)
		printf "%sFAILED: %s\n", said, what
	note(depth, "failed", what, said)
	said = ""
	failed++
	failures_seen = 1
}

# title(text): the name in a line of result.
function title(text) {
	sub(/^(not )?ok [0-9]+ *(- )?/, "", text)
	sub(/ *#.*/, "", text)
	return text
}

# remark(text): what stands behind the name, but for the word SKIP.
function remark(text) {
	if (!index(text, "#"))
		return ""
	sub(/^[^#]*# */, "", text)
	sub(/^[Ss][Kk][Ii][Pp] */, "", text)
	return text
}

# gist(said): the first comment that is more than the harness's frame around a test.
function gist(said,    line, n, i) {
	n = split(said, line, "\n")
	for (i = 1; i <= n; i++) {
		sub(/^ *# */, "", line[i])
		if (line[i] !~ /^(RUN|OK|FAIL|Starting) /)
			return line[i]
	}
	return ""
}

# note(d, outcome, text, why): keep a line for the list until all its name is known.
function note(d, outcome, text, why) {
	why = gist(why)
	noted[d] = noted[d] outcome "\t" title(text) "\t" (why == "" ? remark(text) : why) "\n"
}

# name_notes(d, text): the results below this one are its own.
function name_notes(d, text,    line, n, i, end) {
	n = split(noted[d + 1], line, "\n") - 1
	for (i = 1; i <= n; i++) {
		end = index(line[i], "\t")
		noted[d] = noted[d] substr(line[i], 1, end) title(text) ": " substr(line[i], end + 1) "\n"
	}
	noted[d + 1] = ""
}

# short(d): why the level d is not complete, or nothing.
function short(d) {
	if (planned[d] && plan[d] != count[d])
		return "planned " plan[d] " tests, ran " count[d]
	return ""
}

function result(d, text,    bad, skip, below) {
	count[d]++
	name_notes(d, text)
	bad = text ~ /^not /
	skip = tolower(text) ~ /# *skip/
	below = opened[d + 1] && count[d + 1] > 0
	if (opened[d + 1] && short(d + 1) != "")
		fail(text " (" short(d + 1) ")")
	else if (below && !(bad && !failures[d + 1]))
		failures[d] += failures[d + 1] > 0
	else if (bad)
		fail(text)
	else if (skip) {
		skipped++
		note(d, "skipped", text, "")
	} else {
		passed++
		note(d, "passed", text, "")
	}
	failures[d] += failures_seen
	failures_seen = opened[d + 1] = 0
	said = ""
}

END {
	for (d = 2; d > 0; d--)
		name_notes(d - 1, "cut off")
	depth = 0
	for (d in opened)
		if (d > 0 && opened[d])
			fail("the output ends within a test")
	if (!opened[0] || !planned[0])
		fail("there is no list of results")
	else if (short(0) != "")
		fail("the output is cut off: " short(0))
	if (list)
		printf "%s", noted[0]
	else
		print passed + 0, failed + 0, skipped + 0
}
