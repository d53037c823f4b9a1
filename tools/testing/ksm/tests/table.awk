# SPDX-License-Identifier: GPL-2.0
#
# Usage: awk -f table.awk STOCK OURS INTERFACE
#
# Makes a table of three lists of tap.awk: the tests as they went on the stock kernel
# and on the rebuilt one, then the parts of the interface, where the stock kernel's is
# the measure. Ends with 1 when anything failed on the rebuilt one, or nothing was there.

BEGIN { FS = "\t" }

{ file = FILENAME == ARGV[1] ? 1 : FILENAME == ARGV[2] ? 2 : 3 }
!($2 in row) && file < 3 { name[++rows] = $2; row[$2] = rows }
file < 3 { outcome[file, $2] = $1; why[file, $2] = $3; sum[file, $1]++; next }
{ part[++parts] = $2; same[parts] = $1; remark[parts] = $3 }

# shown(f, test): a result in one word, "-" where the test was not run.
function shown(f, test) {
	return (f, test) in outcome ? outcome[f, test] : "-"
}

# said(f, test): what was said where it did not pass.
function said(f, test) {
	return shown(f, test) == "passed" ? "" : why[f, test]
}

function reasons(test,    stock, ours) {
	stock = said(1, test)
	ours = said(2, test)
	if (stock != "" && stock == ours)
		return "both: " stock
	return (stock == "" ? "" : "stock: " stock) (stock != "" && ours != "" ? "; " : "") (ours == "" ? "" : "ours: " ours)
}

function line(first, second, third, text) {
	first = sprintf("%-" width "s  %-9s  %-9s  %s", first, second, third, text)
	sub(/ +$/, "", first)
	print first
}

function widest(    i) {
	for (i = 1; i <= rows; i++)
		width = length(name[i]) > width ? length(name[i]) : width
	for (i = 1; i <= parts; i++)
		width = length(part[i]) > width ? length(part[i]) : width
}

function tests(    i) {
	line("Test", "stock", "ours", "reason")
	for (i = 1; i <= rows; i++)
		line(name[i], shown(1, name[i]), shown(2, name[i]), reasons(name[i]))
}

function interface(    i, verdict) {
	print ""
	line("Part of the interface", "stock", "ours", "")
	for (i = 1; i <= parts; i++) {
		verdict = same[i] == "failed" ? "different" : remark[i] != "" ? "known" : "same"
		found[verdict]++
		line(part[i], "measure", verdict, remark[i])
	}
}

function total(who, f) {
	printf "%s: %d passed, %d failed, %d skipped\n", who, sum[f, "passed"], sum[f, "failed"], sum[f, "skipped"]
}

END {
	widest()
	tests()
	interface()
	print ""
	total("stock", 1)
	total("ours", 2)
	printf "interface: %d parts the same, %d different for a known reason, %d different\n", found["same"], found["known"], found["different"]
	exit sum[2, "failed"] + found["different"] > 0 || !sum[2, "passed"] || !found["same"]
}
