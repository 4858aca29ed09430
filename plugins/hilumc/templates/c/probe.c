/* A probe: whether a service answers PING with +PONG, as everything that speaks Redis does.
 *
 * bindings/plugin.h is made from wit/ by hilumc, and says what each function of the host means. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

/* Bytes of an answer that are read. More than any line worth showing. */
#define ANSWER 256

static const char SCHEMA[] =
    "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"type\": \"object\","
    " \"required\": [\"host\", \"port\"], \"properties\": {"
    "\"host\": {\"type\": \"string\", \"description\": \"address or name to connect to\"},"
    "\"port\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65535}}}";

/* Where to ask. `host` must be freed with plugin_string_free. */
struct place {
    plugin_string_t host;
    uint16_t port;
};

/* The text of the setting at `pointer`; false if there is none. */
static bool setting(const char *pointer, plugin_string_t *value) {
    plugin_string_t at;
    plugin_string_set(&at, pointer);
    return hilum_host_settings_get(&at, value);
}

/* Reads the settings; NULL if they are good, else what is wrong with them. */
static const char *read_place(struct place *place) {
    plugin_string_t text;
    if (!setting("/port", &text)) {
        return "port is missing; write port = 6379";
    }
    long port = 0;
    for (size_t i = 0; i < text.len && port <= 65535; i++) {
        port = text.ptr[i] >= '0' && text.ptr[i] <= '9' ? port * 10 + (text.ptr[i] - '0') : 65536;
    }
    plugin_string_free(&text);
    if (port < 1 || port > 65535) {
        return "port is no port; write a number from 1 to 65535";
    }
    place->port = (uint16_t)port;
    return setting("/host", &place->host) ? NULL : "host is missing; write host = \"127.0.0.1\"";
}

void exports_hilum_plugin_plugin_describe(exports_hilum_plugin_plugin_description_t *ret) {
    /* What is returned is freed by the bindings, so all of it is allocated. */
    exports_hilum_plugin_plugin_grant_t *grant = calloc(1, sizeof *grant);
    if (grant == NULL) {
        abort();
    }
    plugin_string_dup(&grant->kind, "connect");
    plugin_string_dup(&grant->reason, "host and port of the settings");
    plugin_string_dup(&ret->name, "{{name}}");
    plugin_string_dup(&ret->version, "0.1.0");
    plugin_string_dup(&ret->settings_schema, SCHEMA);
    ret->grants.ptr = grant;
    ret->grants.len = 1;
}

void exports_hilum_plugin_plugin_check_settings(plugin_string_t *settings, exports_hilum_plugin_plugin_list_problem_t *ret) {
    /* The same settings are there piece by piece. */
    plugin_string_free(settings);
    ret->ptr = NULL;
    ret->len = 0;
    struct place place = {0};
    const char *wrong = read_place(&place);
    plugin_string_free(&place.host);
    if (wrong != NULL && (ret->ptr = calloc(1, sizeof *ret->ptr)) != NULL) {
        ret->len = 1;
        plugin_string_dup(&ret->ptr->message, wrong);
    }
}

/* Fails for the service's sake. */
static void fail(exports_hilum_probe_probe_outcome_t *ret, const char *why) {
    ret->tag = EXPORTS_HILUM_PROBE_PROBE_OUTCOME_FAIL;
    plugin_string_dup(&ret->val.fail, why);
}

/* What could not be done: fails, or is unknown if it is ours and not the service's. */
static void refuse(exports_hilum_probe_probe_outcome_t *ret, const char *what, hilum_host_connection_error_t *error) {
    const char *why;
    plugin_string_t *text = NULL;
    switch (error->tag) {
    case HILUM_HOST_CONNECTION_ERROR_REFUSED:
        why = "nobody listens there";
        break;
    case HILUM_HOST_CONNECTION_ERROR_TIMED_OUT:
        why = "it did not answer in time";
        break;
    case HILUM_HOST_CONNECTION_ERROR_CLOSED:
        why = "it broke the connection off";
        break;
    default:
        /* All others have a text, at the same place. */
        why = "";
        text = &error->val.other;
    }
    char line[512];
    snprintf(line, sizeof line, "cannot %s: %s%.*s", what, why, text ? (int)text->len : 0, text ? (char *)text->ptr : "");
    bool ours = error->tag == HILUM_HOST_CONNECTION_ERROR_DENIED || error->tag == HILUM_HOST_CONNECTION_ERROR_FORBIDDEN ||
                error->tag == HILUM_HOST_CONNECTION_ERROR_INVALID || error->tag == HILUM_HOST_CONNECTION_ERROR_UNSUPPORTED ||
                error->tag == HILUM_HOST_CONNECTION_ERROR_LIMIT || error->tag == HILUM_HOST_CONNECTION_ERROR_NAME_UNRESOLVED;
    ret->tag = ours ? EXPORTS_HILUM_PROBE_PROBE_OUTCOME_UNKNOWN : EXPORTS_HILUM_PROBE_PROBE_OUTCOME_FAIL;
    plugin_string_dup(ours ? &ret->val.unknown : &ret->val.fail, line);
    hilum_host_connection_error_free(error);
}

/* Asks over an open connection. */
static void ask(hilum_host_connection_borrow_connection_t connection, exports_hilum_probe_probe_outcome_t *ret) {
    hilum_host_connection_error_t error;
    plugin_list_u8_t ping = {(uint8_t *)"PING\r\n", 6};
    if (!hilum_host_connection_method_connection_write(connection, &ping, &error)) {
        refuse(ret, "send PING", &error);
        return;
    }
    char answer[ANSWER + 1];
    size_t length = 0;
    /* An answer may come in pieces. */
    while (length < ANSWER && memchr(answer, '\n', length) == NULL) {
        plugin_list_u8_t bytes;
        if (!hilum_host_connection_method_connection_read(connection, (uint32_t)(ANSWER - length), &bytes, &error)) {
            refuse(ret, "read the answer to PING", &error);
            return;
        }
        if (bytes.len == 0) {
            break;
        }
        memcpy(answer + length, bytes.ptr, bytes.len);
        length += bytes.len;
        plugin_list_u8_free(&bytes);
    }
    if (length >= 5 && memcmp(answer, "+PONG", 5) == 0) {
        ret->tag = EXPORTS_HILUM_PROBE_PROBE_OUTCOME_PASS;
        return;
    }
    while (length > 0 && (answer[length - 1] == '\r' || answer[length - 1] == '\n')) {
        length--;
    }
    /* What came over the wire goes into a text only as characters that can be shown. */
    for (size_t i = 0; i < length; i++) {
        if (answer[i] < ' ' || answer[i] > '~') {
            answer[i] = '?';
        }
    }
    answer[length] = '\0';
    char line[ANSWER + 64];
    snprintf(line, sizeof line, "PING was answered with \"%s\", not +PONG", answer);
    fail(ret, line);
}

void exports_hilum_probe_probe_check(exports_hilum_probe_probe_request_t *request, exports_hilum_probe_probe_outcome_t *ret) {
    exports_hilum_probe_probe_request_free(request);
    struct place place = {0};
    const char *wrong = read_place(&place);
    if (wrong != NULL) {
        ret->tag = EXPORTS_HILUM_PROBE_PROBE_OUTCOME_UNKNOWN;
        plugin_string_dup(&ret->val.unknown, wrong);
        return;
    }
    hilum_host_tcp_own_connection_t connection;
    hilum_host_tcp_error_t error;
    bool connected = hilum_host_tcp_connect(&place.host, place.port, &connection, &error);
    plugin_string_free(&place.host);
    if (!connected) {
        refuse(ret, "connect", &error);
        return;
    }
    ask(hilum_host_connection_borrow_connection(connection), ret);
    hilum_host_connection_connection_drop_own(connection);
}
