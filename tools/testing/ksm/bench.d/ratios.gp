# SPDX-License-Identifier: GPL-2.0
# How many times a figure of ours the one of stock is, a bar for each workload. The
# caller sets data, title, unit, terminal and target.
set terminal @terminal noenhanced size 900,600 font "sans,11" background "white"
set output target
set title title
set xlabel "workload"
set ylabel unit
set logscale y 10
set yrange [0.1:*]
set grid y
set style fill solid 0.6
set boxwidth 0.6
unset key
plot data using 0:2:xtic(1) with boxes, '' using 0:2:(sprintf("%.1f", $2)) with labels offset 0,0.8, \
	1 with lines dashtype 2 linecolor "black"
