/*
 * Ascending ids: the state is the last id's time and random part, under a lock. In a new millisecond
 * the random part is drawn anew; in the same one it is counted up, and an overflow borrows the next
 * millisecond. A clock that steps back by less than a second is taken to stand still, so that small
 * corrections do not break the order; after a larger step ids start again at the new time.
 */
#include "common/base/id.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define STEP_BACK_MS 1000
#define RANDOM_BYTES 10
#define TIME_MAX_MS ((INT64_C(1) << 48) - 1)

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t last_ms = -1;			/* under lock */
static unsigned char last_random[RANDOM_BYTES]; /* under lock, big-endian */

/* 5 bits of one character; -1 for any other byte */
static int
digit_of(char c)
{
	const char *at = c ? memchr(alphabet, c, sizeof(alphabet) - 1) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

/* false on overflow */
static bool
count_up(unsigned char number[RANDOM_BYTES])
{
	for (size_t i = RANDOM_BYTES; i-- > 0;) {
		if (++number[i] != 0)
			return true;
	}
	return false;
}

static int64_t
next_state(unsigned char out_random[RANDOM_BYTES])
{
	pthread_mutex_lock(&lock);
	int64_t now = clock_unix_ms() & TIME_MAX_MS;

	if (now < last_ms && last_ms - now < STEP_BACK_MS)
		now = last_ms;
	if (now != last_ms)
		id_random(last_random, sizeof(last_random));
	else if (!count_up(last_random))
		now++;
	last_ms = now;
	memcpy(out_random, last_random, RANDOM_BYTES);
	pthread_mutex_unlock(&lock);
	return now;
}

void
id_ulid(char out[ID_ULID_BYTES])
{
	unsigned char random[RANDOM_BYTES];
	uint64_t ms = (uint64_t)next_state(random);
	uint64_t bits = 0;
	int bit_count = 0;
	size_t at = ID_ULID_LEN;

	/* from the end: 16 characters hold 80 random bits, the first 10 hold the time */
	for (size_t i = RANDOM_BYTES; i-- > 0;) {
		bits |= (uint64_t)random[i] << bit_count;
		for (bit_count += 8; bit_count >= 5; bit_count -= 5, bits >>= 5)
			out[--at] = alphabet[bits & 31];
	}
	for (; at > 0; ms >>= 5)
		out[--at] = alphabet[ms & 31];
	out[ID_ULID_LEN] = '\0';
}

bool
id_is_ulid(struct str text)
{
	if (text.len != ID_ULID_LEN || text.ptr[0] > '7')
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (digit_of(text.ptr[i]) < 0)
			return false;
	}
	return true;
}

bool
id_ulid_unix_ms(struct str ulid, int64_t *out_unix_ms)
{
	int64_t ms = 0;

	if (!id_is_ulid(ulid))
		return false;
	for (size_t i = 0; i < 10; i++)
		ms = ms * 32 + digit_of(ulid.ptr[i]);
	*out_unix_ms = ms;
	return true;
}

void
id_random(void *out, size_t len)
{
	unsigned char *at = out;

	while (len > 0) {
		ssize_t got = getrandom(at, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			log_error("cannot get random bytes from the kernel: errno %d", errno);
			abort();
		}
		at += got;
		len -= (size_t)got;
	}
}

uint64_t
id_random_u64(void)
{
	uint64_t value = 0;

	id_random(&value, sizeof(value));
	return value;
}
