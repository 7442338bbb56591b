/*
 * Updates come from many threads and must cost nothing next to a request, so after its first use a
 * series is found and changed without a lock:
 *
 *	table	open addressing by a hash of the label values; slots go from NULL to a series once and
 *		never change again. A reader that misses a slot being filled takes the lock and looks again.
 *	value	the bits of a double in a 64-bit atomic, added by compare-and-swap.
 *
 * Series live as long as the registry. A page is not a snapshot over several series, but each
 * histogram is consistent in itself: its count is the sum of the buckets that were read for it.
 */
#include "common/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/auto.h"
#include "common/base/mem.h"

#define TABLE_SLOTS 1024 /* a power of two, twice METRICS_MAX_SERIES: probing ends */
#define SCRAPES_MAX 8
#define BUCKETS_MAX 32
#define LABEL_VALUE_MAX_BYTES 128 /* more is cut */
#define NUMBER_BYTES 40

_Static_assert(TABLE_SLOTS >= 2 * METRICS_MAX_SERIES, "the table of series must have free slots");

const double metrics_seconds_buckets[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
					   0.5,	  1,	  2.5,	 5,    10,    30,   60 };
const size_t metrics_seconds_bucket_count = ARRAY_SIZE(metrics_seconds_buckets);

struct series {
	/* immutable once it can be found */
	uint64_t hash;
	char *values[METRICS_MAX_LABELS]; /* owned */
	char *labels;			  /* owned; 'a="x",b="y"', empty without labels */

	_Atomic uint64_t value;	    /* bits of a double: the value, or a histogram's sum */
	_Atomic uint64_t buckets[]; /* of a histogram, one more than its bounds; not cumulated */
};

struct metric {
	/* immutable after registration */
	enum metric_kind kind;
	char *name, *help;		  /* owned */
	char *labels[METRICS_MAX_LABELS]; /* owned */
	size_t label_count;
	double bounds[BUCKETS_MAX];
	size_t bound_count;

	_Atomic(struct series *) *table; /* TABLE_SLOTS; series owned by the list */
	_Atomic(struct series *) other;

	pthread_mutex_t lock;			     /* for adding series */
	struct series *list[METRICS_MAX_SERIES + 1]; /* owned; in order of first use */
	atomic_size_t count;
	struct metric *next; /* owned */
};

struct metrics {
	pthread_mutex_t lock;
	struct metric *first; /* owned; in order of registration */
	struct {
		void (*fn)(void *user);
		void *user;
	} scrapes[SCRAPES_MAX];
	size_t scrape_count;
};

/* ---- doubles in atomics ---- */

static uint64_t
to_bits(double value)
{
	uint64_t bits = 0;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static double
from_bits(uint64_t bits)
{
	double value = 0;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static void
add_atomic(_Atomic uint64_t *bits, double amount)
{
	uint64_t old = atomic_load_explicit(bits, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(bits, &old, to_bits(from_bits(old) + amount),
						      memory_order_relaxed, memory_order_relaxed))
		;
}

/* ---- series ---- */

/* In the page's quotes: backslash, quote and line feed escaped. */
static void
add_label_value(struct buf *out, struct str value)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];

		if (c == '\\' || c == '"' || c == '\n')
			buf_add_char(out, '\\');
		buf_add_char(out, (char)(c == '\n' ? 'n' : c));
	}
}

/* What a caller gave, made harmless: cut to LABEL_VALUE_MAX_BYTES; missing is empty. Text that is not
 * UTF-8 gets one name, since two such values could look the same on the page. */
static struct str
label_value(const char *const *values, size_t i)
{
	struct str value = str_of(values ? values[i] : NULL);

	if (value.len > LABEL_VALUE_MAX_BYTES)
		value = str_sub(value, 0, str_utf8_floor(value, LABEL_VALUE_MAX_BYTES));
	return str_utf8_valid(value, NULL) ? value : STR("invalid");
}

static uint64_t
hash_values(const struct metric *metric, const char *const *values)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < metric->label_count; i++)
		hash = str_hash64(label_value(values, i), hash + i + 1);
	return hash;
}

static bool
is_series(const struct metric *metric, const struct series *series, uint64_t hash,
	  const char *const *values)
{
	if (series->hash != hash)
		return false;
	for (size_t i = 0; i < metric->label_count; i++)
		if (!str_eq_c(label_value(values, i), series->values[i]))
			return false;
	return true;
}

static struct series *
series_new(const struct metric *metric, uint64_t hash, const char *const *values)
{
	size_t buckets = metric->kind == METRIC_HISTOGRAM ? metric->bound_count + 1 : 0;
	struct series *series = mem_alloc(sizeof(*series) + buckets * sizeof(series->buckets[0]));
	AUTO(buf) struct buf labels = BUF_INIT((size_t)64 * 1024);

	series->hash = hash;
	for (size_t i = 0; i < metric->label_count; i++) {
		struct str value = label_value(values, i);

		if (value.len == 0)
			value = STR("");
		series->values[i] = mem_strndup(value.ptr, value.len);
		buf_printf(&labels, "%s%s=\"", i > 0 ? "," : "", metric->labels[i]);
		add_label_value(&labels, value);
		buf_add_char(&labels, '"');
	}
	series->labels = mem_strndup(labels.data, labels.len);
	return series;
}

static void
series_free(struct series *series)
{
	if (!series)
		return;
	for (size_t i = 0; i < METRICS_MAX_LABELS; i++)
		mem_free(series->values[i]);
	mem_free(series->labels);
	mem_free(series);
}

/* The slot of the series, or the empty one where it belongs. */
static _Atomic(struct series *) *
find_slot(struct metric *metric, uint64_t hash, const char *const *values)
{
	for (size_t i = hash % TABLE_SLOTS;; i = (i + 1) % TABLE_SLOTS) {
		struct series *series =
			atomic_load_explicit(&metric->table[i], memory_order_acquire);

		if (!series || is_series(metric, series, hash, values))
			return &metric->table[i];
	}
}

/* Under the metric's lock. */
static struct series *
add_series(struct metric *metric, uint64_t hash, const char *const *values)
{
	struct series *series = series_new(metric, hash, values);
	size_t count = atomic_load_explicit(&metric->count, memory_order_relaxed);

	metric->list[count] = series;
	atomic_store_explicit(&metric->count, count + 1, memory_order_release);
	return series;
}

/* Under the metric's lock: the one for everything beyond METRICS_MAX_SERIES. */
static struct series *
other_series(struct metric *metric)
{
	static const char *const values[METRICS_MAX_LABELS] = { "other", "other", "other",
								"other" };
	struct series *other = atomic_load_explicit(&metric->other, memory_order_relaxed);

	if (!other) {
		uint64_t hash = hash_values(metric, values);

		/* somebody may have used exactly these values before */
		other = atomic_load_explicit(find_slot(metric, hash, values), memory_order_relaxed);
		if (!other)
			other = add_series(metric, hash, values);
		atomic_store_explicit(&metric->other, other, memory_order_release);
	}
	return other;
}

static struct series *
get_series(struct metric *metric, const char *const *values)
{
	uint64_t hash = hash_values(metric, values);
	_Atomic(struct series *) *slot = find_slot(metric, hash, values);
	struct series *series = atomic_load_explicit(slot, memory_order_acquire);

	if (series)
		return series;
	series = atomic_load_explicit(&metric->other, memory_order_acquire);
	if (series) /* full: no new ones */
		return series;
	pthread_mutex_lock(&metric->lock);
	slot = find_slot(metric, hash, values);
	series = atomic_load_explicit(slot, memory_order_relaxed);
	if (!series &&
	    atomic_load_explicit(&metric->count, memory_order_relaxed) < METRICS_MAX_SERIES) {
		series = add_series(metric, hash, values);
		atomic_store_explicit(slot, series, memory_order_release);
	}
	if (!series)
		series = other_series(metric);
	pthread_mutex_unlock(&metric->lock);
	return series;
}

/* ---- the registry ---- */

struct metrics *
metrics_new(void)
{
	struct metrics *metrics = mem_alloc(sizeof(*metrics));

	pthread_mutex_init(&metrics->lock, NULL);
	return metrics;
}

static void
metric_free(struct metric *metric)
{
	size_t count = atomic_load(&metric->count);

	for (size_t i = 0; i < count; i++)
		series_free(metric->list[i]);
	for (size_t i = 0; i < METRICS_MAX_LABELS; i++)
		mem_free(metric->labels[i]);
	pthread_mutex_destroy(&metric->lock);
	mem_free(metric->table);
	mem_free(metric->name);
	mem_free(metric->help);
	mem_free(metric);
}

void
metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	while (metrics->first) {
		struct metric *next = metrics->first->next;

		metric_free(metrics->first);
		metrics->first = next;
	}
	pthread_mutex_destroy(&metrics->lock);
	mem_free(metrics);
}

/* [a-zA-Z_][a-zA-Z0-9_]*, for metrics and labels */
static bool
is_name(const char *name)
{
	for (const char *c = name; *c; c++) {
		bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';

		if (!letter && (c == name || *c < '0' || *c > '9'))
			return false;
	}
	return *name != '\0';
}

static struct metric *
metric_new(const struct metric_opts *opts)
{
	struct metric *metric = mem_alloc(sizeof(*metric));

	assert(is_name(opts->name) && opts->bucket_count < BUCKETS_MAX);
	metric->kind = opts->kind;
	metric->name = mem_strdup(opts->name);
	metric->help = mem_strdup(opts->help ? opts->help : "");
	for (size_t i = 0; opts->labels && opts->labels[i]; i++) {
		assert(i < METRICS_MAX_LABELS && is_name(opts->labels[i]));
		metric->labels[i] = mem_strdup(opts->labels[i]);
		metric->label_count++;
	}
	for (size_t i = 0; opts->kind == METRIC_HISTOGRAM && i < opts->bucket_count; i++) {
		assert(isfinite(opts->buckets[i]) &&
		       (i == 0 || opts->buckets[i] > opts->buckets[i - 1]));
		metric->bounds[metric->bound_count++] = opts->buckets[i];
	}
	metric->table = mem_array(TABLE_SLOTS, sizeof(metric->table[0]));
	pthread_mutex_init(&metric->lock, NULL);
	if (metric->label_count == 0)
		get_series(metric, NULL); /* it exists, and is 0 */
	return metric;
}

struct metric *
metrics_register(struct metrics *metrics, const struct metric_opts *opts)
{
	if (!metrics)
		return NULL;
	pthread_mutex_lock(&metrics->lock);

	struct metric **at = &metrics->first;

	while (*at && strcmp((*at)->name, opts->name) != 0)
		at = &(*at)->next;
	if (!*at)
		*at = metric_new(opts);
	assert((*at)->kind == opts->kind);

	struct metric *metric = *at;

	pthread_mutex_unlock(&metrics->lock);
	return metric;
}

void
metrics_on_scrape(struct metrics *metrics, void (*fn)(void *user), void *user)
{
	if (!metrics)
		return;
	pthread_mutex_lock(&metrics->lock);
	assert(metrics->scrape_count < SCRAPES_MAX);
	metrics->scrapes[metrics->scrape_count].fn = fn;
	metrics->scrapes[metrics->scrape_count].user = user;
	metrics->scrape_count++;
	pthread_mutex_unlock(&metrics->lock);
}

/* ---- updates ---- */

void
metric_add(struct metric *metric, const char *const *values, double amount)
{
	if (!metric || isnan(amount) || (metric->kind == METRIC_COUNTER && amount < 0))
		return;
	assert(metric->kind != METRIC_HISTOGRAM);
	add_atomic(&get_series(metric, values)->value, amount);
}

void
metric_set(struct metric *metric, const char *const *values, double value)
{
	if (!metric)
		return;
	assert(metric->kind == METRIC_GAUGE);
	atomic_store_explicit(&get_series(metric, values)->value, to_bits(value),
			      memory_order_relaxed);
}

void
metric_observe(struct metric *metric, const char *const *values, double value)
{
	if (!metric || isnan(value))
		return;
	assert(metric->kind == METRIC_HISTOGRAM);

	struct series *series = get_series(metric, values);
	size_t bucket = 0;

	while (bucket < metric->bound_count && value > metric->bounds[bucket])
		bucket++;
	add_atomic(&series->value, value);
	atomic_fetch_add_explicit(&series->buckets[bucket], 1, memory_order_relaxed);
}

/* ---- the page ---- */

/* The shortest decimal that reads back as the same double. */
static void
format_number(char out[NUMBER_BYTES], double value)
{
	if (isnan(value)) {
		(void)snprintf(out, NUMBER_BYTES, "NaN");
		return;
	}
	if (isinf(value)) {
		(void)snprintf(out, NUMBER_BYTES, value > 0 ? "+Inf" : "-Inf");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		double back = 0;

		(void)snprintf(out, NUMBER_BYTES, "%.*g", digits, value);
		if (str_to_f64(str_of(out), &back) && to_bits(back) == to_bits(value))
			return;
	}
}

static void
write_line(struct buf *out, const char *name, const char *suffix, const char *labels,
	   const char *number)
{
	buf_printf(out, "%s%s", name, suffix);
	if (labels[0] != '\0')
		buf_printf(out, "{%s}", labels);
	buf_printf(out, " %s\n", number);
}

static void
write_histogram(const struct metric *metric, const struct series *series, struct buf *out)
{
	char number[NUMBER_BYTES];
	double sum = from_bits(atomic_load_explicit(&series->value, memory_order_relaxed));
	uint64_t total = 0;

	for (size_t i = 0; i <= metric->bound_count; i++) {
		double bound = i < metric->bound_count ? metric->bounds[i] : (double)INFINITY;

		total += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
		format_number(number, bound);
		buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", metric->name, series->labels,
			   series->labels[0] ? "," : "", number, (unsigned long long)total);
	}
	format_number(number, sum);
	write_line(out, metric->name, "_sum", series->labels, number);
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)total);
	write_line(out, metric->name, "_count", series->labels, number);
}

static void
write_metric(const struct metric *metric, struct buf *out)
{
	static const char *const kinds[] = { [METRIC_COUNTER] = "counter",
					     [METRIC_GAUGE] = "gauge",
					     [METRIC_HISTOGRAM] = "histogram" };
	size_t count = atomic_load_explicit(&metric->count, memory_order_acquire);

	buf_printf(out, "# HELP %s ", metric->name);
	for (const char *c = metric->help; *c; c++) {
		if (*c == '\\' || *c == '\n')
			buf_add_char(out, '\\');
		buf_add_char(out, (char)(*c == '\n' ? 'n' : *c));
	}
	buf_printf(out, "\n# TYPE %s %s\n", metric->name, kinds[metric->kind]);
	for (size_t i = 0; i < count; i++) {
		const struct series *series = metric->list[i];
		char number[NUMBER_BYTES];

		if (metric->kind == METRIC_HISTOGRAM) {
			write_histogram(metric, series, out);
			continue;
		}
		format_number(number, from_bits(atomic_load_explicit(&series->value,
								     memory_order_relaxed)));
		write_line(out, metric->name, "", series->labels, number);
	}
}

void
metrics_write(struct metrics *metrics, struct buf *out)
{
	if (!metrics)
		return;
	pthread_mutex_lock(&metrics->lock);
	size_t scrapes = metrics->scrape_count;
	const struct metric *metric = NULL;

	pthread_mutex_unlock(&metrics->lock);
	/* without the lock: a callback may register */
	for (size_t i = 0; i < scrapes; i++)
		metrics->scrapes[i].fn(metrics->scrapes[i].user);
	pthread_mutex_lock(&metrics->lock);
	for (metric = metrics->first; metric; metric = metric->next)
		write_metric(metric, out);
	pthread_mutex_unlock(&metrics->lock);
}
