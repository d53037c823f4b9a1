# SPDX-License-Identifier: GPL-2.0
# Keep the lines of a file in memory and serve them: see PipeInstance in programs.py.
BEGIN {
	while ((getline line < file) > 0)
		record[count++] = line
	print "END"
	fflush()
}

$1 == "dump" {
	for (i = 0; i < count; i++)
		print record[i]
}

$1 == "set" {
	record[$2] = $3
}

{
	print "END"
	fflush()
}
