# SPDX-License-Identifier: GPL-2.0
# A measure over the number of pages, with a line for each block of the data. The
# caller sets data, title, unit, blocks, terminal and target.
set terminal @terminal noenhanced size 900,600 font "sans,11" background "white"
set output target
set title title
set xlabel "pages offered"
set ylabel unit
set logscale x 2
set logscale y 10
set format x "%.0f"
set grid
set key outside right center
set pointintervalbox 0
plot for [i=0:blocks-1] data index i using 1:2:3:4 with yerrorlines \
	linewidth 1.5 pointtype i+1 title columnheader(1)
