/* Tests of probe.c that run on this machine, without hilum: the host's functions are played here.
 *
 *     cc -g -fsanitize=address,undefined -Ibindings -o target/test test.c probe.c && target/test */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

/* The service: what the settings say, whether it can be connected to, and what it sends, piece by piece. */
static const char *host, *port;
static int refusal;
static const char *pieces[4];
static int next_piece;
static char written[64];
static int open_connections;

static bool has_text(uint8_t tag) {
    return tag != HILUM_HOST_CONNECTION_ERROR_REFUSED && tag != HILUM_HOST_CONNECTION_ERROR_TIMED_OUT && tag != HILUM_HOST_CONNECTION_ERROR_CLOSED;
}

bool hilum_host_settings_get(plugin_string_t *pointer, plugin_string_t *ret) {
    const char *value = memcmp(pointer->ptr, "/host", pointer->len) == 0 ? host : port;
    if (value != NULL) {
        plugin_string_dup(ret, value);
    }
    return value != NULL;
}

bool hilum_host_tcp_connect(plugin_string_t *to, uint16_t at, hilum_host_tcp_own_connection_t *ret, hilum_host_tcp_error_t *err) {
    assert(to->len == strlen(host) && at == 6379);
    if (refusal >= 0) {
        err->tag = (uint8_t)refusal;
        if (has_text(err->tag)) {
            plugin_string_dup(&err->val.other, "a reason");
        }
        return false;
    }
    ret->__handle = 1;
    open_connections++;
    return true;
}

hilum_host_connection_borrow_connection_t hilum_host_connection_borrow_connection(hilum_host_connection_own_connection_t handle) {
    return (hilum_host_connection_borrow_connection_t){handle.__handle};
}

void hilum_host_connection_connection_drop_own(hilum_host_connection_own_connection_t handle) {
    assert(handle.__handle == 1);
    open_connections--;
}

bool hilum_host_connection_method_connection_write(
    hilum_host_connection_borrow_connection_t self, plugin_list_u8_t *bytes, hilum_host_connection_error_t *err) {
    (void)self, (void)err;
    assert(bytes->len < sizeof written);
    memcpy(written, bytes->ptr, bytes->len);
    written[bytes->len] = '\0';
    return true;
}

bool hilum_host_connection_method_connection_read(
    hilum_host_connection_borrow_connection_t self, uint32_t limit, plugin_list_u8_t *ret, hilum_host_connection_error_t *err) {
    (void)self;
    const char *piece = pieces[next_piece];
    if (piece == NULL) {
        err->tag = HILUM_HOST_CONNECTION_ERROR_TIMED_OUT;
        return false;
    }
    next_piece++;
    ret->len = strlen(piece) < limit ? strlen(piece) : limit;
    /* An empty list is not allocated. */
    ret->ptr = ret->len > 0 ? memcpy(malloc(ret->len), piece, ret->len) : NULL;
    return true;
}

/* What the bindings have in their other half, which is for WebAssembly only. */
void plugin_string_set(plugin_string_t *ret, const char *s) {
    ret->ptr = (uint8_t *)s;
    ret->len = strlen(s);
}

void plugin_string_dup(plugin_string_t *ret, const char *s) {
    ret->len = strlen(s);
    ret->ptr = memcpy(malloc(ret->len + 1), s, ret->len + 1);
}

void plugin_string_free(plugin_string_t *ret) {
    free(ret->ptr);
    ret->ptr = NULL;
    ret->len = 0;
}

void plugin_list_u8_free(plugin_list_u8_t *ptr) {
    free(ptr->ptr);
}

void hilum_host_connection_error_free(hilum_host_connection_error_t *ptr) {
    if (has_text(ptr->tag)) {
        plugin_string_free(&ptr->val.other);
    }
}

void exports_hilum_probe_probe_request_free(exports_hilum_probe_probe_request_t *ptr) {
    plugin_string_free(&ptr->settings);
}

/* One call: its outcome must be `tag`, and its text must contain `said`. */
static void expect(const char *name, uint8_t tag, const char *said) {
    exports_hilum_probe_probe_request_t request = {.timeout_ms = 1000, .attempt = 1};
    exports_hilum_probe_probe_outcome_t outcome;
    next_piece = 0;
    exports_hilum_probe_probe_check(&request, &outcome);
    const char *text = outcome.tag == EXPORTS_HILUM_PROBE_PROBE_OUTCOME_PASS ? "" : (const char *)outcome.val.fail.ptr;
    if (outcome.tag != tag || strstr(text, said) == NULL) {
        printf("%s: %d \"%s\"\n", name, outcome.tag, text);
        exit(1);
    }
    if (outcome.tag != EXPORTS_HILUM_PROBE_PROBE_OUTCOME_PASS) {
        plugin_string_free(&outcome.val.fail);
    }
    assert(open_connections == 0);
}

static void service(int refused, const char *first, const char *second) {
    refusal = refused;
    pieces[0] = first;
    pieces[1] = second;
}

int main(void) {
    enum { PASS, FAIL, UNKNOWN };
    host = "127.0.0.1";
    port = "6379";
    service(-1, "+PONG\r\n", NULL);
    expect("a service that answers passes", PASS, "");
    assert(strcmp(written, "PING\r\n") == 0);
    service(-1, "+PO", "NG\r\n");
    expect("an answer in pieces passes", PASS, "");
    service(-1, "-NOAUTH\x1b\r\n", NULL);
    expect("another answer fails and is shown", FAIL, "\"-NOAUTH?\", not +PONG");
    service(-1, "", NULL);
    expect("an end without an answer fails", FAIL, "\"\", not +PONG");
    service(-1, NULL, NULL);
    expect("silence fails", FAIL, "did not answer in time");
    service(HILUM_HOST_CONNECTION_ERROR_REFUSED, NULL, NULL);
    expect("nobody there fails", FAIL, "cannot connect: nobody listens there");
    service(HILUM_HOST_CONNECTION_ERROR_DENIED, NULL, NULL);
    expect("a missing grant is unknown", UNKNOWN, "cannot connect: a reason");
    port = "65536";
    expect("a port that is none is unknown", UNKNOWN, "from 1 to 65535");
    port = NULL;
    expect("a missing setting is unknown", UNKNOWN, "port is missing");

    exports_hilum_plugin_plugin_list_problem_t problems;
    plugin_string_t settings;
    plugin_string_dup(&settings, "{}");
    exports_hilum_plugin_plugin_check_settings(&settings, &problems);
    assert(problems.len == 1);
    plugin_string_free(&problems.ptr->message);
    free(problems.ptr);
    puts("ok");
    return 0;
}
