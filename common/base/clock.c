/*
 * Dates are computed here, not by libc: days <-> civil dates in the proleptic Gregorian calendar,
 * with the year starting in March so that the leap day comes last. A period of 400 years (an era)
 * has exactly 146,097 days.
 */
#include "common/base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define DAY_MS INT64_C(86400000)
#define YEAR_0000_MS INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define YEAR_9999_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

static _Atomic int64_t frozen_mono_ms = -1;
static _Atomic int64_t frozen_unix_ms = -1;

static int64_t
read_us(clockid_t id)
{
	struct timespec now;

	(void)clock_gettime(id, &now); /* cannot fail for these two clocks */
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
clock_mono_us(void)
{
	int64_t frozen = atomic_load_explicit(&frozen_mono_ms, memory_order_relaxed);

	return frozen >= 0 ? frozen * 1000 : read_us(CLOCK_MONOTONIC);
}

int64_t
clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

int64_t
clock_unix_ms(void)
{
	int64_t frozen = atomic_load_explicit(&frozen_unix_ms, memory_order_relaxed);

	return frozen >= 0 ? frozen : read_us(CLOCK_REALTIME) / 1000;
}

int
clock_left_ms(int64_t deadline_mono_ms)
{
	if (deadline_mono_ms == 0)
		return INT32_MAX;

	int64_t now = clock_mono_ms();

	if (deadline_mono_ms <= now)
		return 0;
	return deadline_mono_ms - now > INT32_MAX ? INT32_MAX : (int)(deadline_mono_ms - now);
}

void
clock_sleep_ms(int64_t ms)
{
	if (ms <= 0)
		return;

	struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (ms % 1000) * 1000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
		;
}

void
clock_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(cond, &attr);
	(void)pthread_condattr_destroy(&attr);
}

bool
clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_mono_ms)
{
	const struct timespec until = { .tv_sec = (time_t)(until_mono_ms / 1000),
					.tv_nsec = (until_mono_ms % 1000) * 1000000 };

	return pthread_cond_timedwait(cond, lock, &until) == 0;
}

void
clock_set_for_test(int64_t mono_ms, int64_t unix_ms)
{
	atomic_store(&frozen_mono_ms, mono_ms);
	atomic_store(&frozen_unix_ms, unix_ms);
}

struct civil {
	int year, month, day;
};

/* year 0..9999; days may be negative (before 1970) */
static struct civil
civil_of_days(int64_t days)
{
	days += 719468; /* days from 0000-03-01 to 1970-01-01 */

	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t doe = days - era * 146097;				     /* day of era */
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365; /* year of era */
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);		     /* from 1 March */
	int64_t mp = (5 * doy + 2) / 153;				     /* month from March */
	int64_t month = mp < 10 ? mp + 3 : mp - 9;

	return (struct civil){
		.year = (int)(yoe + era * 400 + (month <= 2)),
		.month = (int)month,
		.day = (int)(doy - (153 * mp + 2) / 5 + 1),
	};
}

static int64_t
days_of_civil(struct civil date)
{
	int64_t year = date.year - (date.month <= 2);
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t yoe = year - era * 400;
	int64_t mp = date.month > 2 ? date.month - 3 : date.month + 9;
	int64_t doy = (153 * mp + 2) / 5 + date.day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void
clock_format_iso(char out[CLOCK_ISO_BYTES], int64_t unix_ms)
{
	if (unix_ms < YEAR_0000_MS)
		unix_ms = YEAR_0000_MS;
	if (unix_ms > YEAR_9999_MS)
		unix_ms = YEAR_9999_MS;

	int64_t days = (unix_ms >= 0 ? unix_ms : unix_ms - (DAY_MS - 1)) / DAY_MS;
	int ms = (int)(unix_ms - days * DAY_MS);
	struct civil date = civil_of_days(days);

	/* the modulo only tells the compiler that the fields fit */
	(void)snprintf(out, CLOCK_ISO_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
		       (unsigned)date.year % 10000, (unsigned)date.month % 100,
		       (unsigned)date.day % 100, (unsigned)ms / 3600000 % 24,
		       (unsigned)ms / 60000 % 60, (unsigned)ms / 1000 % 60, (unsigned)ms % 1000);
}

/* Takes `count` digits off *rest. */
static bool
take_digits(struct str *rest, size_t count, int *out)
{
	int value = 0;

	if (rest->len < count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (rest->ptr[i] < '0' || rest->ptr[i] > '9')
			return false;
		value = value * 10 + (rest->ptr[i] - '0');
	}
	*rest = str_sub(*rest, count, rest->len);
	*out = value;
	return true;
}

/* Takes one character of `set` off *rest. */
static bool
take_one_of(struct str *rest, const char *set, char *out)
{
	for (; rest->len > 0 && *set; set++) {
		if (*rest->ptr == *set) {
			*out = *set;
			*rest = str_sub(*rest, 1, rest->len);
			return true;
		}
	}
	return false;
}

static bool
take_date(struct str *rest, struct civil *out)
{
	static const int month_days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	struct civil date = { 0 };
	char dash = 0;

	if (!take_digits(rest, 4, &date.year) || !take_one_of(rest, "-", &dash) ||
	    !take_digits(rest, 2, &date.month) || !take_one_of(rest, "-", &dash) ||
	    !take_digits(rest, 2, &date.day))
		return false;
	if (date.month < 1 || date.month > 12 || date.day < 1 ||
	    date.day > month_days[date.month - 1])
		return false;

	bool leap = date.year % 4 == 0 && (date.year % 100 != 0 || date.year % 400 == 0);

	if (date.month == 2 && date.day == 29 && !leap)
		return false;
	*out = date;
	return true;
}

/* "hh:mm:ss[.fraction]" as milliseconds of the day; a leap second counts as the next one */
static bool
take_time(struct str *rest, int *out_ms)
{
	int hour = 0, minute = 0, second = 0, ms = 0;
	char mark = 0;

	if (!take_digits(rest, 2, &hour) || !take_one_of(rest, ":", &mark) ||
	    !take_digits(rest, 2, &minute) || !take_one_of(rest, ":", &mark) ||
	    !take_digits(rest, 2, &second) || hour > 23 || minute > 59 || second > 60)
		return false;
	if (take_one_of(rest, ".", &mark)) {
		int digit = 0, weight = 100;

		if (!take_digits(rest, 1, &digit))
			return false;
		do {
			ms += digit * weight;
			weight /= 10;
		} while (take_digits(rest, 1, &digit));
	}
	*out_ms = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
	return true;
}

/* "Z" or "+hh:mm" as minutes east of UTC */
static bool
take_offset(struct str *rest, int *out_minutes)
{
	int hour = 0, minute = 0;
	char mark = 0;

	if (take_one_of(rest, "Zz", &mark)) {
		*out_minutes = 0;
		return true;
	}

	char sign = 0;

	if (!take_one_of(rest, "+-", &sign) || !take_digits(rest, 2, &hour) ||
	    !take_one_of(rest, ":", &mark) || !take_digits(rest, 2, &minute) || hour > 23 ||
	    minute > 59)
		return false;
	*out_minutes = (hour * 60 + minute) * (sign == '-' ? -1 : 1);
	return true;
}

bool
clock_parse_iso(struct str text, int64_t *out_unix_ms)
{
	struct civil date;
	int ms = 0, offset_minutes = 0;
	char mark = 0;

	if (!take_date(&text, &date) || !take_one_of(&text, "Tt ", &mark) ||
	    !take_time(&text, &ms) || !take_offset(&text, &offset_minutes) || text.len > 0)
		return false;

	int64_t unix_ms = days_of_civil(date) * DAY_MS + ms - (int64_t)offset_minutes * 60000;

	/* an offset or a leap second may lead out of the years that can be written */
	if (unix_ms < YEAR_0000_MS || unix_ms > YEAR_9999_MS)
		return false;
	*out_unix_ms = unix_ms;
	return true;
}
