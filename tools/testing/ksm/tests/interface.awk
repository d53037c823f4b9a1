# SPDX-License-Identifier: GPL-2.0
#
# Usage: awk -f interface.awk KNOWN STOCK OURS
#
# Compares two lists of lines "GROUP<tab>TEXT" and prints TAP without its first line:
# for each group one test, which fails when the two have different lines, in whatever
# order. KNOWN names the lines that may differ, in entries with an empty line between:
#
#   group REGEX    groups that the entry is about
#   -REGEX         lines that OURS need not have
#   +REGEX         lines that STOCK need not have
#   ~REGEX         both
#   why TEXT       the reason
#
# A regex has to match the whole. An entry that does nothing fails a test of its own.

BEGIN { FS = "\t" }

# Not by counting files: one may be empty.
{ file = FILENAME == ARGV[1] ? 1 : FILENAME == ARGV[2] ? 2 : 3 }
file == 1 { read_known($0); next }
NF < 2 { next }
{ got[file] = 1; text = substr($0, length($1) + 2) }
!number[$1] { group[++groups] = $1; number[$1] = groups }
!count[file, $1, text]++ { lines[$1] = lines[$1] file text "\n" }

function read_known(line) {
	if (line ~ /^(#|$)/)
		return
	if (line ~ /^group /) {
		entry_group = substr(line, 7)
		first_rule = rules + 1
	} else if (line ~ /^[-+~]/) {
		rule[++rules] = line
		rule_group[rules] = entry_group
	} else if (line ~ /^why /)
		for (r = first_rule; r <= rules; r++)
			why[r] = substr(line, 5)
	else
		wrong = wrong "# what is this: " line "\n"
}

# known(g, text, sign): may this line be without an equal in the other list?
function known(g, text, sign,    r) {
	for (r = 1; r <= rules; r++) {
		if (g !~ "^(" rule_group[r] ")$" || text !~ "^(" substr(rule[r], 2) ")$")
			continue
		if (substr(rule[r], 1, 1) != sign && rule[r] !~ /^~/)
			continue
		used[r] = 1
		if (!index(reason[g], why[r]))
			reason[g] = reason[g] (reason[g] == "" ? "" : "; ") why[r]
		return 1
	}
	return 0
}

# differences(g): the lines of a group that only one of them has, as comments.
function differences(g,    line, n, i, stock, text, found) {
	n = split(lines[g], line, "\n") - 1
	for (i = 1; i <= n; i++) {
		stock = line[i] ~ /^2/
		text = substr(line[i], 2)
		if (count[stock ? 2 : 3, g, text] > count[stock ? 3 : 2, g, text] && !known(g, text, stock ? "-" : "+"))
			found = found "# " (stock ? "stock: " : "ours:  ") text "\n"
	}
	return found
}

function test(name, bad) {
	printf "%s%s %d %s\n", bad, bad == "" ? "ok" : "not ok", ++tests, name
	failed += bad != ""
}

function idle_rules(    r, found) {
	for (r = 1; r <= rules; r++)
		if (!used[r])
			found = found "# nothing is so any more: group " rule_group[r] ", " rule[r] "\n"
	return wrong found
}

END {
	print "1.." groups + 1
	for (i = 1; i <= groups; i++) {
		bad = differences(group[i])
		test(group[i] (group[i] in reason ? " # known: " reason[group[i]] : ""), bad)
	}
	test("every known difference is one", got[2] && got[3] ? idle_rules() : "# a list is empty\n")
	exit failed > 0
}
