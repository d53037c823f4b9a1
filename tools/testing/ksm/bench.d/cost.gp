# SPDX-License-Identifier: GPL-2.0
# What each workload costs with the stock kernel and with ours: two bars, and above them
# how many times the second the first one is. The caller sets data, title, unit, terminal
# and target.
set terminal @terminal noenhanced size 900,500 font "sans,11" background "white"
set output target
set title title
set ylabel unit
stats data using 2 nooutput
set logscale y 10
set bmargin 4
set grid y
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.7 noborder
set key top right
set xtics nomirror scale 0 font "sans,10"
set xrange [-0.6:STATS_records - 0.4]
set yrange [1:10**ceil(log10(STATS_max) + 0.4)]
plot data using 2:xtic(1) title "stock" linecolor rgb "#c0504d", \
	'' using 3 title "ours" linecolor rgb "#2f6fab", \
	'' using 0:2:(sprintf("%.3g : 1", $2 / $3)) with labels offset 0,0.8 notitle
