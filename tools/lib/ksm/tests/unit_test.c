// SPDX-License-Identifier: GPL-2.0
/* Tests of what makes no system call: the policy, the settings, lines of maps. */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "check.h"
#include "maps.h"
#include "policy.h"
#include "settings.h"

#define PAGE ((size_t)4096)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static const struct ksm_offer_program program = { .file = "python3.11", .command = "python3" };

static struct ksm_offer_settings settings_of(const char *variable)
{
	struct ksm_offer_settings settings = { .off = false };

	ksm_offer_setting(&settings, &program, variable);
	return settings;
}

static void refusals(void)
{
	CHECK(ksm_offer_refusal(PAGE, 0) == 0);
	CHECK(ksm_offer_refusal(0, 0) == 0);
	CHECK(ksm_offer_refusal(PAGE, 4096) == 0);
	CHECK(ksm_offer_refusal(PAGE, INT64_MAX - 4095) == 0);
	CHECK(ksm_offer_refusal(PAGE, 1) == -EINVAL);
	CHECK(ksm_offer_refusal(PAGE, 4095) == -EINVAL);
	CHECK(ksm_offer_refusal(PAGE, -1) == -EINVAL);
	CHECK(ksm_offer_refusal(PAGE, -4096) == -EINVAL);
	CHECK(ksm_offer_refusal(PTRDIFF_MAX - PAGE + 1, 0) == 0);
	CHECK(ksm_offer_refusal(PTRDIFF_MAX - PAGE + 2, 0) == -ENOMEM);
	CHECK(ksm_offer_refusal(PTRDIFF_MAX, 0) == -ENOMEM);
	CHECK(ksm_offer_refusal(SIZE_MAX, 0) == -ENOMEM);
	CHECK(ksm_offer_refusal(SIZE_MAX, 1) == -EINVAL);
}

static void kinds(void)
{
	struct ksm_offer_policy policy = { 0 };
	struct ksm_offer_settings settings = { .min_length = 2 * PAGE };

	CHECK(ksm_offer_is_new(&policy));
	CHECK(!ksm_offer_qualifies(&policy, 2 * PAGE, ANONYMOUS));
	CHECK(ksm_offer_begin(&policy, &settings));
	CHECK(!ksm_offer_is_new(&policy));
	CHECK(ksm_offer_qualifies(&policy, 2 * PAGE, ANONYMOUS));
	CHECK(ksm_offer_qualifies(&policy, 2 * PAGE, ANONYMOUS | MAP_FIXED | MAP_NORESERVE));
	CHECK(!ksm_offer_qualifies(&policy, 2 * PAGE - 1, ANONYMOUS));
	CHECK(!ksm_offer_qualifies(&policy, 2 * PAGE, ANONYMOUS | MAP_STACK));
	CHECK(!ksm_offer_qualifies(&policy, 2 * PAGE, ANONYMOUS | MAP_GROWSDOWN));
	CHECK(!ksm_offer_qualifies(&policy, 2 * PAGE, MAP_PRIVATE));
	CHECK(!ksm_offer_qualifies(&policy, 2 * PAGE, MAP_SHARED | MAP_ANONYMOUS));
	/* MAP_SHARED_VALIDATE has the bits of both. */
	CHECK(!ksm_offer_qualifies(&policy, 2 * PAGE, MAP_SHARED | ANONYMOUS));
	CHECK(ksm_offer_outgrew(&policy, PAGE, 2 * PAGE));
	CHECK(!ksm_offer_outgrew(&policy, 2 * PAGE, 3 * PAGE));
	CHECK(!ksm_offer_outgrew(&policy, PAGE, 2 * PAGE - 1));
}

static void giving_up_after(int error)
{
	struct ksm_offer_policy policy = { 0 };
	struct ksm_offer_settings settings = { .off = false };

	ksm_offer_begin(&policy, &settings);
	ksm_offer_answered(&policy, 0);
	ksm_offer_answered(&policy, -ENOMEM);
	ksm_offer_answered(&policy, -EAGAIN);
	CHECK(ksm_offer_is_on(&policy));
	ksm_offer_answered(&policy, error);
	CHECK(!ksm_offer_is_on(&policy));
	ksm_offer_answered(&policy, 0);
	CHECK(!ksm_offer_begin(&policy, &settings));
	CHECK(!ksm_offer_is_on(&policy) && !ksm_offer_is_new(&policy));
	CHECK(!ksm_offer_qualifies(&policy, PAGE, ANONYMOUS));
	CHECK(!ksm_offer_outgrew(&policy, 0, PAGE));
}

static void giving_up(void)
{
	giving_up_after(-EINVAL);
	giving_up_after(-EPERM);
	giving_up_after(-EACCES);
	giving_up_after(-ENOSYS);
}

#define THREADS 8
#define ROUNDS 20000

static struct ksm_offer_policy raced[ROUNDS];
static atomic_int begun[ROUNDS];
static pthread_barrier_t barrier;

/* Each begins and gives up at once; a thread that begins late must not undo that. */
static void *race(void *unused)
{
	static const struct ksm_offer_settings settings = { .min_length = PAGE };
	int round;

	pthread_barrier_wait(&barrier);
	for (round = 0; round < ROUNDS; round++) {
		if (ksm_offer_begin(&raced[round], &settings))
			atomic_fetch_add(&begun[round], 1);
		ksm_offer_answered(&raced[round], -EINVAL);
		if (ksm_offer_is_on(&raced[round]))
			return (void *)1;
	}
	return unused;
}

static void races(void)
{
	pthread_t threads[THREADS];
	void *wrong;
	int i;

	CHECK(!pthread_barrier_init(&barrier, NULL, THREADS));
	for (i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, race, NULL));
	for (i = 0; i < THREADS; i++) {
		CHECK(!pthread_join(threads[i], &wrong));
		CHECK(!wrong);
	}
	for (i = 0; i < ROUNDS; i++)
		CHECK(begun[i] == 1 && !ksm_offer_is_on(&raced[i]));
}

static void switches(void)
{
	CHECK(settings_of("KSM_OFFER=no").off && settings_of("KSM_OFFER=no").silent);
	CHECK(!settings_of("KSM_OFFER=yes").off);
	CHECK(settings_of("KSM_OFFER=").off && !settings_of("KSM_OFFER=").silent);
	CHECK(settings_of("KSM_OFFER=0").off && !settings_of("KSM_OFFER=0").silent);
}

static void sizes(void)
{
	CHECK(settings_of("KSM_OFFER_MIN=0").min_length == 0);
	CHECK(settings_of("KSM_OFFER_MIN=65536").min_length == 65536);
	CHECK(settings_of("KSM_OFFER_MIN=64K").min_length == 65536);
	CHECK(settings_of("KSM_OFFER_MIN=2m").min_length == 2 << 20);
	CHECK(settings_of("KSM_OFFER_MIN=3G").min_length == (size_t)3 << 30);
	CHECK(settings_of("KSM_OFFER_MIN=18446744073709551615").min_length == SIZE_MAX);
	CHECK(settings_of("KSM_OFFER_MIN=18446744073709551616").off);
	CHECK(settings_of("KSM_OFFER_MIN=17179869184G").off);
	CHECK(settings_of("KSM_OFFER_MIN=").off);
	CHECK(settings_of("KSM_OFFER_MIN=-1").off);
	CHECK(settings_of("KSM_OFFER_MIN= 1").off);
	CHECK(settings_of("KSM_OFFER_MIN=1KB").off);
	CHECK(settings_of("KSM_OFFER_MIN=0x10").off);
	CHECK(!settings_of("KSM_OFFER_MINIMUM=x").off);
	CHECK(!settings_of("KSM_OFFER_MI=x").off);
	CHECK(!settings_of("KSM_OFFER_MIN").off);
	CHECK(!settings_of("").off);
}

static void heaps(void)
{
	CHECK(settings_of("OTHER=all").heap == KSM_OFFER_HEAP_NO);
	CHECK(settings_of("KSM_OFFER_HEAP=no").heap == KSM_OFFER_HEAP_NO);
	CHECK(settings_of("KSM_OFFER_HEAP=brk").heap == KSM_OFFER_HEAP_BRK);
	CHECK(settings_of("KSM_OFFER_HEAP=all").heap == KSM_OFFER_HEAP_ALL);
	CHECK(!settings_of("KSM_OFFER_HEAP=all").off);
	CHECK(settings_of("KSM_OFFER_HEAP=al").off);
	CHECK(settings_of("KSM_OFFER_HEAP=alle").off);
	CHECK(settings_of("KSM_OFFER_HEAP=").off);
}

static void names(void)
{
	static const struct ksm_offer_program nameless = { .file = "", .command = "" };
	struct ksm_offer_settings settings = { .off = false };

	CHECK(settings_of("KSM_OFFER_SKIP=python3").off);
	CHECK(settings_of("KSM_OFFER_SKIP=python3.11").off);
	CHECK(settings_of("KSM_OFFER_SKIP=java,python3,node").off);
	CHECK(settings_of("KSM_OFFER_SKIP=java,node,python3").off);
	CHECK(settings_of("KSM_OFFER_SKIP=,python3").off);
	CHECK(!settings_of("KSM_OFFER_SKIP=python").off);
	CHECK(!settings_of("KSM_OFFER_SKIP=python3.1,python3.111,ython3").off);
	CHECK(!settings_of("KSM_OFFER_SKIP=java, node").off);
	CHECK(!settings_of("KSM_OFFER_SKIP=").off);
	ksm_offer_setting(&settings, &nameless, "KSM_OFFER_SKIP=");
	ksm_offer_setting(&settings, &nameless, "KSM_OFFER_SKIP=,");
	CHECK(!settings.off);
}

static void lines(void)
{
	static const char anonymous[] = "7f12a000-7f12c000 rw-p 00000000 00:00 0 ";

	CHECK(ksm_offer_line_is_anonymous(anonymous, 0x7f12a000));
	CHECK(ksm_offer_line_is_anonymous(anonymous, 0x7f12bfff));
	CHECK(!ksm_offer_line_is_anonymous(anonymous, 0x7f12c000));
	CHECK(!ksm_offer_line_is_anonymous(anonymous, 0x7f129fff));
	CHECK(ksm_offer_line_is_anonymous("1000-2000 ---p 00000000 00:00 0", 0x1000));
	CHECK(ksm_offer_line_is_anonymous("1000-2000 rw-p 00000000 00:00 0   [anon:heap]", 0x1000));
	CHECK(!ksm_offer_line_is_anonymous("1000-2000 rw-s 00000000 00:00 0 ", 0x1000));
	CHECK(!ksm_offer_line_is_anonymous("1000-2000 rw-p 00000000 00:00 0   [stack]", 0x1000));
	CHECK(!ksm_offer_line_is_anonymous("1000-2000 rw-p 00000000 00:00 0   [heap]", 0x1000));
	CHECK(!ksm_offer_line_is_anonymous("1000-2000 rw-p 00000000 fe:01 13   /bin/a", 0x1000));
	CHECK(!ksm_offer_line_is_anonymous("1000-2000 rw-s 00000000 00:01 10   /dev/zero", 0x1000));
	CHECK(!ksm_offer_line_is_anonymous("1000-2000", 0x1000));
	CHECK(!ksm_offer_line_is_anonymous("1000-2000 rw", 0x1000));
	CHECK(!ksm_offer_line_is_anonymous("", 0));
}

static const struct part parts[] = {
	{ "refusals", refusals },
	{ "kinds", kinds },
	{ "giving_up", giving_up },
	{ "races", races },
	{ "switches", switches },
	{ "sizes", sizes },
	{ "heaps", heaps },
	{ "names", names },
	{ "lines", lines },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return run_part(parts, argc, argv);
}
