/*
 * A cancel ends a call in flight within a second, whatever it is busy with: connecting, sending, waiting for an answer, reading one; of a
 * stream and of a whole body. Every other limit of these calls is a minute.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/base/auto.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "jobs/provider/remote.h"
#include "tests/support/fake_http.h"
#include "tests/support/must.h"

#define PATIENCE_MS 60000
#define WITHIN_MS 1000
#define TRIES 5 /* a busy machine may be late; a call that is deaf is late each time */
#define UPLOAD_BYTES ((size_t)48 * 1024 * 1024)
#define FILLERS 4

enum phase { CONNECTING, SENDING, WAITING, READING, PHASES };
static const char *const names[] = { "connecting", "sending", "waiting", "reading" };

struct fixture {
	enum phase phase;
	struct config config;
	struct fake_http *server;
	int listener, fillers[FILLERS]; /* -1 = none */
	atomic_bool reached, cancel;
	atomic_llong cancelled_mono_ms;
	struct endpoint at;
	struct remote *remote;
	char url[64];
};

/* Says nothing, or half of its answer. */
static bool
serve(const struct fake_request *request, void *user)
{
	struct fixture *fixture = user;

	if (fixture->phase == READING)
		fake_send(request, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"half\":");
	else
		atomic_store(&fixture->reached, true);
	fake_wait_closed(request);
	return false;
}

/* A socket that listens and takes nothing: of CONNECTING not even connections, for its queue is full. */
static int
listen_deaf(struct fixture *fixture)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int bytes = 4096;

	fixture->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fixture->listener >= 0);
	assert_int_equal(setsockopt(fixture->listener, SOL_SOCKET, SO_RCVBUF, &bytes,
				    sizeof(bytes)),
			 0);
	assert_int_equal(bind(fixture->listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(fixture->listener, fixture->phase == CONNECTING ? 0 : 8), 0);
	assert_int_equal(getsockname(fixture->listener, (struct sockaddr *)&at, &len), 0);
	for (size_t i = 0; fixture->phase == CONNECTING && i < FILLERS; i++) {
		fixture->fillers[i] =
			socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fixture->fillers[i], (struct sockaddr *)&at, len);
	}
	return ntohs(at.sin_port);
}

static void
begin(struct fixture *fixture, enum phase phase)
{
	int port;

	*fixture = (struct fixture){ .phase = phase, .listener = -1 };
	for (size_t i = 0; i < FILLERS; i++)
		fixture->fillers[i] = -1;
	MUST(config_load(&fixture->config, NULL, e));
	fixture->config.provider_timeout_ms = PATIENCE_MS;
	fixture->config.provider_connect_ms = PATIENCE_MS;
	if (phase == CONNECTING || phase == SENDING) {
		port = listen_deaf(fixture);
	} else {
		fixture->server = fake_http_start(serve, fixture);
		port = fake_http_port(fixture->server);
	}
	(void)snprintf(fixture->url, sizeof(fixture->url), "http://127.0.0.1:%d", port);
	fixture->at = (struct endpoint){
		.provider = "fake", .model = "m", .url = fixture->url, .key = ""
	};
	MUST(remote_new(&(struct remote_opts){ .at = &fixture->at,
					       .config = &fixture->config,
					       .kind = REMOTE_GENERATE },
			&fixture->remote, e));
}

static void
end(struct fixture *fixture)
{
	remote_free(fixture->remote);
	fake_http_stop(fixture->server);
	for (size_t i = 0; i < FILLERS; i++)
		if (fixture->fillers[i] >= 0)
			(void)close(fixture->fillers[i]);
	if (fixture->listener >= 0)
		(void)close(fixture->listener);
	config_release(&fixture->config);
}

static bool
take_piece(void *user, struct str bytes, struct err *err)
{
	(void)bytes, (void)err;
	atomic_store(&((struct fixture *)user)->reached, true);
	return true;
}

static bool
read_nothing(void *user, struct str body, struct remote_used *used, struct err *err)
{
	(void)user, (void)body, (void)used;
	return err_set(err, ERR_INTERNAL, "there is nothing to read");
}

/* The call waits: for what nobody sees from outside, it has come as far as it will. */
static bool
on_wait(void *user, struct err *err)
{
	struct fixture *fixture = user;

	(void)err;
	if (fixture->phase != WAITING)
		atomic_store(&fixture->reached, true);
	return true;
}

static void *
cancel_when_reached(void *user)
{
	struct fixture *fixture = user;

	while (!atomic_load(&fixture->reached))
		clock_sleep_ms(1);
	atomic_store(&fixture->cancelled_mono_ms, clock_mono_ms());
	atomic_store(&fixture->cancel, true);
	return NULL;
}

/* How long after the cancel the call came back. */
static int64_t
cancel_in(enum phase phase, bool stream, const char *body)
{
	struct fixture fixture;
	struct provider_call call = { .cancel = &fixture.cancel };
	struct err err = ERR_INIT;
	pthread_t thread;
	int64_t late_ms;

	begin(&fixture, phase);

	const struct remote_request request = {
		.path = "/call",
		.body = phase == SENDING ? str_make(body, UPLOAD_BYTES) : STR("{}"),
		.read = read_nothing,
		.piece = stream ? take_piece : NULL,
		.wait = on_wait,
		.user = &fixture,
	};

	assert_int_equal(pthread_create(&thread, NULL, cancel_when_reached, &fixture), 0);
	assert_false(remote_run(fixture.remote, &call, &request, &err));
	late_ms = clock_mono_ms() - atomic_load(&fixture.cancelled_mono_ms);
	pthread_join(thread, NULL);
	if (err.code != ERR_CANCELLED)
		fail_msg("%s: %s (%s)", names[phase], err.msg, err.cause);
	end(&fixture);
	return late_ms;
}

static void
check_phase(enum phase phase)
{
	char *body = mem_alloc(UPLOAD_BYTES);

	memset(body, 'x', UPLOAD_BYTES);
	for (int stream = 0; stream < 2; stream++) {
		int64_t late_ms = PATIENCE_MS;

		for (int i = 0; i < TRIES && late_ms > WITHIN_MS; i++)
			late_ms = cancel_in(phase, stream, body);
		if (late_ms > WITHIN_MS)
			fail_msg("%s: %lld ms after the cancel", names[phase], (long long)late_ms);
	}
	mem_free(body);
}

static void
cancel_while_connecting(void **state)
{
	(void)state;
	check_phase(CONNECTING);
}

static void
cancel_in_an_upload(void **state)
{
	(void)state;
	check_phase(SENDING);
}

static void
cancel_while_waiting_for_an_answer(void **state)
{
	(void)state;
	check_phase(WAITING);
}

static void
cancel_in_the_body(void **state)
{
	(void)state;
	check_phase(READING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cancel_while_connecting),
		cmocka_unit_test(cancel_in_an_upload),
		cmocka_unit_test(cancel_while_waiting_for_an_answer),
		cmocka_unit_test(cancel_in_the_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
