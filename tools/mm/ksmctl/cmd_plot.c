// SPDX-License-Identifier: GPL-2.0
/*
 * ksmctl plot: draw what was recorded, with gnuplot.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ksmctl.h"

/**
 * struct request - what was asked for
 * @input: what was recorded
 * @output: the picture
 * @terminal: how gnuplot draws it
 */
struct request {
	const char *input;
	char *output;
	const char *terminal;
};

static const struct {
	const char *ending;
	const char *terminal;
} forms[] = {
	{ ".svg", "svg size 900,600 dynamic background rgb 'white'" },
	{ ".png", "pngcairo size 900,600" },
};

static const char *terminal_for(const char *output)
{
	const char *ending = strrchr(output, '.');
	size_t i;

	for (i = 0; ending && i < ARRAY_SIZE(forms); i++) {
		if (!strcmp(ending, forms[i].ending))
			return forms[i].terminal;
	}
	return NULL;
}

static void choose(struct argp_state *state, struct request *request)
{
	static char output[PATH_MAX];

	if (!request->input)
		argp_error(state, "which recording?");
	if (!request->output) {
		snprintf(output, sizeof(output), "%s.svg", request->input);
		request->output = output;
	}
	request->terminal = terminal_for(request->output);
	if (!request->terminal)
		argp_error(state, "--output takes a name that ends with .svg or .png, not %s",
			   request->output);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *request = state->input;

	switch (key) {
	case 'o':
		request->output = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (request->input)
			argp_error(state, "one recording at a time, not %s too", arg);
		request->input = arg;
		return 0;
	case ARGP_KEY_END:
		choose(state, request);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option list[] = {
	{ "output", 'o', "FILE", 0, "Picture to make, *.svg or *.png (RECORDING.svg)", 0 },
	{ 0 }
};

static const struct argp argp = {
	.options = list,
	.parser = parse,
	.args_doc = "RECORDING",
	.doc = "Draw what \"ksmctl record\" wrote: memory saved, and ksmd's CPU. Needs gnuplot.",
	.children = common_options,
};

/* What a recording begins with. */
static const char header[] =
	"seconds,unix_time,saved_bytes,cost_bytes,ksmd_cpu_seconds,ksmd_cpu_percent";

/* Only numbers go on to gnuplot. */
static bool is_sample(const char *line)
{
	return strspn(line, "0123456789.,-") == strcspn(line, "\n") && strchr(line, ',');
}

static int copy_samples(FILE *from, FILE *to)
{
	char line[1024];
	int samples = 0;

	if (!fgets(line, sizeof(line), from) || strncmp(line, header, sizeof(header) - 1))
		return -1;
	fputs("$data <<END\n", to);
	while (fgets(line, sizeof(line), from)) {
		if (!is_sample(line))
			return -1;
		fprintf(to, "%.*s\n", (int)strcspn(line, "\n"), line);
		samples++;
	}
	fputs("END\n", to);
	return samples;
}

/*
 * One plot above the other, over the same time. A sample tells of the CPU until then.
 * Where all is 0, gnuplot wants to be told what the axis shows.
 */
static void write_script(FILE *to, const char *terminal)
{
	fprintf(to, "set terminal %s\n", terminal);
	fputs("set datafile separator ','\n"
	      "known(c) = valid(c) ? column(c) : NaN\n"
	      "count(c) = valid(c) ? column(c) : 0\n"
	      "stats $data using 1 name 'time' nooutput\n"
	      "stats $data using (count(3) + count(4)) name 'memory' nooutput\n"
	      "stats $data using (count(6)) name 'cpu' nooutput\n"
	      "set multiplot layout 2,1\n"
	      "set grid\n"
	      "set key above\n"
	      "set lmargin 12\n"
	      "set xrange [0:time_max]\n"
	      "set yrange [0:*]\n"
	      "if (memory_max <= 0) { set yrange [0:1] }\n"
	      "set ylabel 'MiB'\n"
	      "plot $data using 1:($3/1048576) with lines lw 2 title 'memory saved', \\\n"
	      "     $data using 1:(known(4)/1048576) with lines lw 2 title 'memory for bookkeeping'\n"
	      "set yrange [0:*]\n"
	      "if (cpu_max <= 0) { set yrange [0:1] }\n"
	      "set xlabel 'seconds'\n"
	      "set ylabel '% of a CPU'\n"
	      "plot $data using 1:(known(6)) with fsteps lw 2 lc 3 title 'ksmd'\n"
	      "unset multiplot\n", to);
}

/* gnuplot writes to the picture as its stdout, so that no name needs quoting. */
static void become_gnuplot(int input, int output)
{
	dup2(input, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	execlp("gnuplot", "gnuplot", "-", (char *)NULL);
	_exit(NOT_FOUND);
}

static int run_gnuplot(FILE *script, int output)
{
	pid_t child = fork();
	int how = 0;

	if (!child)
		become_gnuplot(fileno(script), output);
	if (child < 0 || waitpid(child, &how, 0) < 0)
		return fail(FAILED, "gnuplot cannot be started: %s", strerror(errno));
	if (WIFEXITED(how) && WEXITSTATUS(how) == NOT_FOUND)
		return fail(LACKING, "there is no gnuplot here; Debian's is in gnuplot-nox");
	return how ? fail(FAILED, "gnuplot could not draw this") : DONE;
}

static int report(const struct request *request, int samples)
{
	json_object *object;

	if (!options.json) {
		printf("%s shows %d samples.\n", request->output, samples);
		return DONE;
	}
	object = json_object_new_object();
	json_text(object, "file", request->output);
	json_int(object, "samples", samples);
	return json_print(object);
}

/* The picture gets its name when it is whole. */
static int draw(const struct request *request, FILE *script, int samples)
{
	char part[PATH_MAX];
	int output, status;

	if (snprintf(part, sizeof(part), "%s.part", request->output) >= (int)sizeof(part))
		return fail(USAGE, "the name of the picture is too long");
	output = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (output < 0)
		return fail(FAILED, "%s cannot be written: %s", part, strerror(errno));
	status = run_gnuplot(script, output);
	if (!status && !lseek(output, 0, SEEK_END))
		status = fail(FAILED, "gnuplot has drawn nothing");
	close(output);
	if (!status && rename(part, request->output))
		status = fail(FAILED, "%s cannot be written: %s", request->output, strerror(errno));
	if (status)
		unlink(part);
	return status ? status : report(request, samples);
}

static int plot(const struct request *request, FILE *input)
{
	FILE *script = tmpfile();
	int samples, status;

	if (!script)
		return fail(FAILED, "there is no place for a temporary file: %s", strerror(errno));
	samples = copy_samples(input, script);
	write_script(script, request->terminal);
	rewind(script);
	if (samples < 0)
		status = fail(USAGE, "%s is no recording of ksmctl in CSV", request->input);
	else if (samples < 2)
		status = fail(USAGE, "%s has fewer than two samples, which is too little to draw",
			      request->input);
	else
		status = draw(request, script, samples);
	fclose(script);
	return status;
}

int cmd_plot(int argc, char **argv)
{
	struct request request = { 0 };
	FILE *input;
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &request);
	input = fopen(request.input, "re");
	if (!input)
		return fail(FAILED, "%s cannot be read: %s", request.input, strerror(errno));
	status = plot(&request, input);
	fclose(input);
	return status;
}
