// SPDX-License-Identifier: GPL-2.0
/*
 * The table of "ksmctl top" on a terminal.
 */
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>

#include "ksmctl.h"

/**
 * struct view - what is seen
 * @key: sorted by
 * @reverse: the other way round
 * @first: line of the table that comes first
 * @before: counters at the last update
 * @counts: counters now
 * @table: the processes
 */
struct view {
	const char *key;
	bool reverse;
	size_t first;
	struct counts before;
	struct counts counts;
	struct table table;
};

enum { HEAD_LINES = 4 };

static void draw_head(const struct view *view)
{
	char saved[SIZE_TEXT], cost[SIZE_TEXT], row[ROW_TEXT];
	double percent = counts_cpu_percent(&view->before, &view->counts);
	s64 bytes = counts_cost(&view->counts);

	mvprintw(0, 0, "KSM is %s, pass %lld: saves %s",
		 counts_on(&view->counts) ? "on" : "off",
		 view->counts.value[COUNT_SCANS], size_text(saved, counts_saved(&view->counts)));
	if (bytes >= 0)
		printw(", costs %s", size_text(cost, bytes));
	if (percent >= 0)
		printw(", %.1f %% of a CPU", percent);
	mvprintw(1, 0, "By %s%s; o)ffered m)erged s)aved c)ost p)id n)ame r)everse q)uit",
		 view->key, view->reverse ? ", reversed" : "");
	move(2, 0);
	if (view->table.denied)
		printw("%zu cannot be read: that needs " NEED_PROC ". ", view->table.denied);
	if (view->table.left_out)
		printw("%zu left out: not read in time.", view->table.left_out);
	attron(A_REVERSE);
	mvprintw(3, 0, "%-*.*s", COLS, COLS, table_head(row));
	attroff(A_REVERSE);
}

static void draw(struct view *view)
{
	char row[ROW_TEXT];
	size_t i;
	int line;

	if (view->first >= view->table.nr)
		view->first = view->table.nr ? view->table.nr - 1 : 0;
	erase();
	draw_head(view);
	for (i = view->first, line = HEAD_LINES; i < view->table.nr && line < LINES; i++, line++)
		mvprintw(line, 0, "%.*s", COLS, table_row(&view->table.process[i], row));
	refresh();
}

static void update(struct view *view)
{
	view->before = view->counts;
	counts_read(&view->counts);
	table_free(&view->table);
	table_read(&view->table, &view->counts);
	table_sort(&view->table, view->key, view->reverse);
}

static void scroll_by(struct view *view, long lines)
{
	if (lines < 0 && view->first < (size_t)-lines)
		view->first = 0;
	else
		view->first += lines;
}

static void sort_by(struct view *view, int key)
{
	const char *name = table_key(key);

	if (name)
		view->key = name;
	table_sort(&view->table, view->key, view->reverse);
}

/* Return: false to leave. */
static bool handle(struct view *view, int key)
{
	switch (key) {
	case 'q':
		return false;
	case 'r':
		view->reverse = !view->reverse;
		break;
	case KEY_UP:
		scroll_by(view, -1);
		break;
	case KEY_DOWN:
		scroll_by(view, 1);
		break;
	case KEY_PPAGE:
		scroll_by(view, HEAD_LINES - LINES);
		break;
	case KEY_NPAGE:
		scroll_by(view, LINES - HEAD_LINES);
		break;
	}
	sort_by(view, key);
	return true;
}

/* Keys are answered at once, without reading all processes again. */
static void loop(struct view *view, double seconds)
{
	double due = 0;
	int key;

	for (;;) {
		if (now() >= due) {
			update(view);
			due = now() + seconds;
		}
		draw(view);
		timeout(due > now() ? (int)((due - now()) * 1000) + 1 : 0);
		key = getch();
		if (key != ERR && !handle(view, key))
			return;
	}
}

/* A terminal that curses does not know is said by newterm(), not by an exit. */
int top_screen(const char *key, bool reverse, double seconds)
{
	struct view view = { .key = key, .reverse = reverse };
	SCREEN *screen = newterm(NULL, stdout, stdin);

	if (!screen)
		return fail(FAILED, "this terminal (TERM=%s) cannot show a screen; try --batch",
			    getenv("TERM") ? getenv("TERM") : "");
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	counts_read(&view.counts);
	loop(&view, seconds);
	endwin();
	delscreen(screen);
	table_free(&view.table);
	return DONE;
}
