// SPDX-License-Identifier: GPL-2.0
/*
 * Output for programs.
 */
#include "ksmctl.h"

void json_int(json_object *object, const char *name, s64 value)
{
	json_object_object_add(object, name, json_object_new_int64(value));
}

void json_real(json_object *object, const char *name, double value, int decimals)
{
	char text[SIZE_TEXT];

	snprintf(text, sizeof(text), "%.*f", decimals, value);
	json_object_object_add(object, name, json_object_new_double_s(value, text));
}

void json_text(json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, text ? json_object_new_string(text) : NULL);
}

void json_truth(json_object *object, const char *name, bool truth)
{
	json_object_object_add(object, name, json_object_new_boolean(truth));
}

static const int style = JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;

int json_print(json_object *object)
{
	puts(json_object_to_json_string_ext(object, style | JSON_C_TO_STRING_PRETTY));
	json_object_put(object);
	return DONE;
}

void json_line(FILE *file, json_object *object)
{
	fprintf(file, "%s\n", json_object_to_json_string_ext(object, style));
	fflush(file);
	json_object_put(object);
}
