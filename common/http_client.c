/*
 * The door of libcurl. A call runs on a multi handle of its own client, not with curl_easy_perform: that
 * one looks at its progress callback only once a second while it waits, and a cancelled job must let go of
 * its provider within a fraction of that. The multi handle also keeps the connections between calls, while
 * the easy handle is reset for each.
 */
#include "common/http_client.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define LOOK_MS 100 /* how often cancel is looked at while nothing happens */
#define KEPT_CONNECTIONS 8L
#define EARLY_BYTES ((size_t)64 * 1024) /* a body that is longer may be refused while it is sent */
#define HEADERS_MAX_BYTES ((size_t)64 * 1024)

struct http_client {
	CURL *easy;   /* owned */
	CURLM *multi; /* owned */
	char *user_agent;
};

/* One call at work. */
struct run {
	const struct http_call *call;
	struct http_reply *reply;
	size_t max_body_bytes;
	size_t body_bytes;
	int64_t waited_mono_ms; /* when on_wait was last called */
	enum err_code stop;	/* why a callback ended the transfer; ERR_NONE = it did not */
	char reason[CURL_ERROR_SIZE];
};

bool
http_client_global_init(struct err *err)
{
	CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);

	if (code == CURLE_OK)
		return true;
	return err_set(err, ERR_INTERNAL, "could not initialise libcurl: %s",
		       curl_easy_strerror(code));
}

void
http_client_global_release(void)
{
	curl_global_cleanup();
}

bool
http_client_new(const char *user_agent, struct http_client **out, struct err *err)
{
	struct http_client *client = mem_alloc(sizeof(*client));

	client->easy = curl_easy_init();
	client->multi = curl_multi_init();
	client->user_agent = mem_strdup(user_agent);
	if (!client->easy || !client->multi) {
		http_client_free(client);
		return err_set(err, ERR_INTERNAL, "could not make an HTTP client");
	}
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
	*out = client;
	return true;
}

void
http_client_free(struct http_client *client)
{
	if (!client)
		return;
	curl_easy_cleanup(client->easy);
	curl_multi_cleanup(client->multi);
	mem_free(client->user_agent);
	mem_free(client);
}

/* ---- what libcurl calls ---- */

static bool
is_cancelled(const struct http_call *call)
{
	return call->cancel && atomic_load(call->cancel);
}

static size_t
on_body(char *ptr, size_t size, size_t count, void *user)
{
	struct run *run = user;
	const struct http_call *call = run->call;
	size_t len = size * count;

	if (len > run->max_body_bytes - run->body_bytes) {
		run->stop = ERR_TOO_LARGE;
		return 0;
	}
	run->body_bytes += len;
	if (is_cancelled(call) ||
	    (call->on_data && !call->on_data(call->user, str_make(ptr, len)))) {
		run->stop = ERR_CANCELLED;
		return 0;
	}
	if (!call->on_data)
		buf_add(&run->reply->body, ptr, len);
	if (!buf_ok(&run->reply->body)) {
		run->stop = ERR_TOO_LARGE;
		return 0;
	}
	return len;
}

static size_t
on_read(char *into, size_t size, size_t count, void *user)
{
	struct run *run = user;
	size_t len = 0;

	if (!is_cancelled(run->call) &&
	    run->call->on_read(run->call->read_user, into, size * count, &len))
		return len;
	run->stop = ERR_CANCELLED;
	return CURL_READFUNC_ABORT;
}

/* "HTTP/1.1 200 OK" or "HTTP/2 200" -> 200 */
static int
line_status(struct str line)
{
	int64_t status = 0;
	size_t at = 0;

	if (!str_find(line, STR(" "), &at))
		return 0;
	line = str_trim(str_sub(line, at, line.len));
	return str_to_i64(str_sub(line, 0, 3), 100, 999, &status) ? (int)status : 0;
}

static size_t
on_header(char *ptr, size_t size, size_t count, void *user)
{
	struct run *run = user;
	struct http_reply *reply = run->reply;
	struct str line = str_trim(str_make(ptr, size * count));
	size_t colon = 0;

	if (str_starts(line, "HTTP/")) { /* of the next answer, after a 100 for example */
		buf_clear(&reply->headers);
		reply->status = line_status(line);
		return size * count;
	}
	if (!str_find(line, STR(":"), &colon))
		return size * count;
	for (size_t i = 0; i < colon; i++) {
		char c = line.ptr[i];

		buf_add_char(&reply->headers, (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
	}
	struct str value = str_trim(str_sub(line, colon + 1, line.len));

	buf_add_str(&reply->headers, ": ");
	buf_add(&reply->headers, value.ptr, value.len);
	buf_add_char(&reply->headers, '\n');
	if (!buf_ok(&reply->headers)) {
		run->stop = ERR_TOO_LARGE;
		return 0;
	}
	return size * count;
}

/* ---- a call ---- */

/* NULL when a header cannot be sent: it would end its line (a key read from a file with its newline). */
static bool
make_headers(const struct http_call *call, struct curl_slist **out, struct err *err)
{
	struct curl_slist *list = NULL;
	bool has_type = false, complete = true;

	for (size_t i = 0; call->headers && call->headers[i]; i++) {
		struct str line = str_of(call->headers[i]);

		for (size_t at = 0; at < line.len; at++) {
			unsigned char c = (unsigned char)line.ptr[at];
			size_t colon = 0;

			if ((c >= 0x20 && c != 0x7f) || c == '\t')
				continue;
			curl_slist_free_all(list);
			str_find(line, STR(":"), &colon);
			return err_set(err, ERR_CONFIG,
				       "cannot send header '" STR_FMT
				       "': it holds a control character",
				       STR_ARG(str_sub(line, 0, colon < 64 ? colon : 64)));
		}
		has_type |= str_eq_nocase(str_sub(line, 0, 13), STR("Content-Type:"));

		struct curl_slist *longer = curl_slist_append(list, call->headers[i]);

		complete &= longer != NULL;
		list = longer ? longer : list;
	}
	/* a header without a value is taken out; a streamed body is announced */
	const char *const drop[] = { call->on_read ? "Transfer-Encoding: chunked" : "Expect:",
				     has_type ? NULL : "Content-Type:" };

	for (size_t i = 0; i < ARRAY_SIZE(drop) && drop[i]; i++) {
		struct curl_slist *longer = curl_slist_append(list, drop[i]);

		complete &= longer != NULL;
		list = longer ? longer : list;
	}
	*out = list;
	if (complete)
		return true;
	curl_slist_free_all(list);
	return err_set(err, ERR_INTERNAL, "could not build the request: out of memory");
}

static bool
set_up(struct http_client *client, struct run *run, struct curl_slist *headers)
{
	const struct http_call *call = run->call;
	CURL *easy = client->easy;
	bool sends = call->body.len > 0 || strcmp(call->method, "POST") == 0 ||
		     strcmp(call->method, "PUT") == 0 || strcmp(call->method, "PATCH") == 0;
	int bad = 0;

	curl_easy_reset(easy);
	bad |= curl_easy_setopt(easy, CURLOPT_URL, call->url) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_USERAGENT, client->user_agent) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK;
	/* else the end of a call, also by a cancel, waits for a name that is still being looked up */
	bad |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) !=
	       CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)call->connect_timeout_ms) !=
	       CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, run->reason) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, run) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) != CURLE_OK;
	bad |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, run) != CURLE_OK;
	if (call->silence_ms > 0) {
		long seconds = ((long)call->silence_ms + 999) / 1000;

		bad |= curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L) != CURLE_OK;
		bad |= curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, seconds) != CURLE_OK;
	}
	if (call->on_read) {
		bad |= curl_easy_setopt(easy, CURLOPT_POST, 1L) != CURLE_OK;
		bad |= curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read) != CURLE_OK;
		bad |= curl_easy_setopt(easy, CURLOPT_READDATA, run) != CURLE_OK;
	} else if (sends) {
		bad |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
					(curl_off_t)call->body.len) != CURLE_OK;
		bad |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
					call->body.len > 0 ? call->body.ptr : "") != CURLE_OK;
	}
	if (strcmp(call->method, "HEAD") == 0)
		bad |= curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) != CURLE_OK;
	else
		bad |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method) != CURLE_OK;
	return !bad;
}

/* False when the caller wants no more of it. */
static bool
tell_waiting(struct run *run)
{
	int64_t now_ms = clock_mono_ms();

	if (!run->call->on_wait || now_ms - run->waited_mono_ms < LOOK_MS)
		return true;
	run->waited_mono_ms = now_ms;
	return run->call->on_wait(run->call->user);
}

/* Runs the transfer to its end, or until it is cancelled. */
static CURLcode
transfer(struct http_client *client, struct run *run)
{
	CURLcode result = CURLE_RECV_ERROR;
	int running = 1;

	if (curl_multi_add_handle(client->multi, client->easy) != CURLM_OK)
		return CURLE_FAILED_INIT;
	while (running > 0) {
		if (is_cancelled(run->call) || !tell_waiting(run)) {
			run->stop = ERR_CANCELLED;
			break;
		}
		if (curl_multi_perform(client->multi, &running) != CURLM_OK)
			break;
		if (running > 0 &&
		    curl_multi_poll(client->multi, NULL, 0, LOOK_MS, NULL) != CURLM_OK)
			break;
	}

	int left = 0;

	for (CURLMsg *msg = NULL; (msg = curl_multi_info_read(client->multi, &left)) != NULL;)
		if (msg->msg == CURLMSG_DONE)
			result = msg->data.result;
	curl_multi_remove_handle(client->multi, client->easy);
	return result;
}

/* Host and port only: the rest of a URL may hold a key. */
static void
set_cause(const struct run *run, const char *text, struct err *err)
{
	CURLU *url = curl_url();
	char *host = NULL, *port = NULL;

	if (url && curl_url_set(url, CURLUPART_URL, run->call->url, 0) == CURLUE_OK) {
		curl_url_get(url, CURLUPART_HOST, &host, 0);
		curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
		err_cause(err, "%s:%s: %s", host ? host : "?", port ? port : "?", text);
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(url);
}

/* Translates libcurl's word, once and here. */
static bool
fail(const struct http_client *client, const struct run *run, CURLcode code, struct err *err)
{
	const struct http_call *call = run->call;
	const char *text = run->reason[0] ? run->reason : curl_easy_strerror(code);
	long sent_bytes = 0;

	curl_easy_getinfo(client->easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
	if (run->stop == ERR_CANCELLED) {
		err_set(err, ERR_CANCELLED, "the call was cancelled");
	} else if (run->stop == ERR_TOO_LARGE) {
		err_set(err, ERR_TOO_LARGE, "the reply is larger than %zu bytes",
			run->max_body_bytes);
	} else if (sent_bytes == 0 &&
		   (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)) {
		return err_set(err, ERR_CONFIG, "cannot call a URL that is not http or https");
	} else if (code == CURLE_OPERATION_TIMEDOUT && sent_bytes > 0 && call->silence_ms > 0 &&
		   run->reply->total_ms < call->timeout_ms) {
		err_set(err, ERR_TIMEOUT, "nothing came for %d ms", call->silence_ms);
	} else if (code == CURLE_OPERATION_TIMEDOUT && sent_bytes > 0) {
		err_set(err, ERR_TIMEOUT, "timed out after %d ms", call->timeout_ms);
	} else if (code == CURLE_OPERATION_TIMEDOUT) {
		err_set(err, ERR_CONNECT, "could not connect: timed out after %d ms",
			call->connect_timeout_ms < call->timeout_ms ? call->connect_timeout_ms
								    : call->timeout_ms);
	} else if (sent_bytes == 0) {
		err_set(err, ERR_CONNECT, "could not connect: %s", curl_easy_strerror(code));
	} else {
		err_set(err, ERR_PROTOCOL, "the exchange broke: %s", curl_easy_strerror(code));
	}
	err->detail = (int)code;
	set_cause(run, text, err);
	return false;
}

/* What is known of a transfer besides its reply. */
static void
note_transfer(const struct http_client *client, const struct http_call *call, CURLcode code,
	      bool done, struct http_reply *reply)
{
	curl_off_t sent_bytes = 0;
	long connects = 0, status = 0;

	curl_easy_getinfo(client->easy, CURLINFO_SIZE_UPLOAD_T, &sent_bytes);
	curl_easy_getinfo(client->easy, CURLINFO_NUM_CONNECTS, &connects);
	/* a reset that comes with the first bytes leaves the count at 0; on an old connection it only says that it was old */
	reply->send_broke =
		!done && (size_t)sent_bytes < call->body.len &&
		(sent_bytes > 0 || ((code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR) &&
				    connects > 0 && call->body.len > EARLY_BYTES));
	reply->unreachable = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;
	reply->connected_anew = connects > 0;
	if (done && curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK)
		reply->status = (int)status;
}

bool
http_client_run(struct http_client *client, const struct http_call *call, struct http_reply *reply,
		struct err *err)
{
	int64_t start_ms = clock_mono_ms();
	struct run run = { .call = call, .reply = reply, .waited_mono_ms = start_ms };
	struct curl_slist *headers = NULL;

	assert(call->timeout_ms > 0 && call->connect_timeout_ms > 0);
	buf_clear(&reply->body);
	buf_clear(&reply->headers);
	reply->status = 0;
	reply->total_ms = 0;
	reply->send_broke = reply->connected_anew = reply->unreachable = false;
	run.max_body_bytes = call->max_body_bytes > 0 ? call->max_body_bytes : reply->body.max;
	if (!make_headers(call, &headers, err))
		return false;

	bool ready = set_up(client, &run, headers);
	CURLcode code = ready ? transfer(client, &run) : CURLE_FAILED_INIT;
	bool done = code == CURLE_OK && run.stop == ERR_NONE;

	reply->total_ms = clock_mono_ms() - start_ms;
	note_transfer(client, call, code, done, reply);
	if (!done)
		fail(client, &run, code, err);
	/* neither the caller's memory nor ours is looked at again */
	curl_easy_reset(client->easy);
	curl_slist_free_all(headers);
	return done;
}

/* ---- replies ---- */

bool
http_reply_header(const struct http_reply *reply, const char *name, struct str *out)
{
	struct str rest = str_make(reply->headers.data, reply->headers.len), line;

	while (str_split(&rest, '\n', &line)) {
		size_t colon = 0;

		if (str_find(line, STR(": "), &colon) && str_eq_c(str_sub(line, 0, colon), name)) {
			*out = str_sub(line, colon + 2, line.len);
			return true;
		}
	}
	return false;
}

int64_t
http_reply_retry_after_ms(const struct http_reply *reply)
{
	const int64_t max_s = INT64_C(100) * 366 * 86400;
	struct str value = { 0 };
	uint64_t seconds = 0;
	char date[64];

	if (!http_reply_header(reply, "retry-after", &value) || value.len == 0)
		return -1;
	if (str_to_u64(value, &seconds))
		return (seconds < (uint64_t)max_s ? (int64_t)seconds : max_s) * 1000;
	/* curl_getdate would also take bare numbers and times for dates of today */
	if (!((value.ptr[0] >= 'A' && value.ptr[0] <= 'Z') ||
	      (value.ptr[0] >= 'a' && value.ptr[0] <= 'z')) ||
	    !str_copy(date, sizeof(date), value))
		return -1;

	time_t when = curl_getdate(date, NULL);

	if (when == (time_t)-1)
		return -1;

	int64_t left_ms = (int64_t)when * 1000 - clock_unix_ms();

	return left_ms > 0 ? left_ms : 0;
}

void
http_reply_init(struct http_reply *reply, size_t max_body_bytes)
{
	*reply = (struct http_reply){ 0 };
	buf_init(&reply->body, max_body_bytes);
	buf_init(&reply->headers, HEADERS_MAX_BYTES);
}

void
http_reply_release(struct http_reply *reply)
{
	buf_release(&reply->body);
	buf_release(&reply->headers);
}
