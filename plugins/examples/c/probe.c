/* A probe: whether a memcached answers, over TCP or a unix socket, and is of the version that the service was built for. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memcached.h"
#include "plugin.h"

/* Bytes of an answer that are read. An answer to `version` has two dozen. */
#define ANSWER 256

typedef exports_hilum_probe_probe_outcome_t outcome_t;

static const char SCHEMA[] =
    "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"type\": \"object\", \"properties\": {"
    "\"host\": {\"type\": \"string\", \"description\": \"address or name to connect to\"},"
    "\"port\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65535, \"default\": 11211},"
    "\"socket\": {\"type\": \"string\", \"description\": \"path of a unix socket, instead of host and port\"},"
    "\"at-least\": {\"type\": \"string\", \"description\": \"oldest version that is good, such as 1.6\"}}}";

/* What the settings say; a text that is not there is NULL. */
struct settings {
    char *host, *socket, *at_least;
    uint16_t port;
};

/* The setting at `pointer` as a string that ends with 0; NULL if there is none. */
static char *setting(const char *pointer) {
    plugin_string_t at, value;
    plugin_string_set(&at, pointer);
    if (!hilum_host_settings_get(&at, &value)) {
        return NULL;
    }
    char *text = strndup((char *)value.ptr, value.len);
    plugin_string_free(&value);
    return text;
}

/* Reads the settings; NULL if they are good, else what is wrong with them. */
static const char *read_settings(struct settings *settings) {
    settings->host = setting("/host");
    settings->socket = setting("/socket");
    settings->at_least = setting("/at-least");
    char *port = setting("/port"), *end = "";
    long number = port == NULL ? 11211 : strtol(port, &end, 10);
    bool good = *end == '\0' && number >= 1 && number <= 65535;
    settings->port = good ? (uint16_t)number : 0;
    free(port);
    if (!good) {
        return "port is no port; write a number from 1 to 65535";
    }
    if ((settings->host == NULL) == (settings->socket == NULL)) {
        return "it must be clear whom to ask; write host = \"127.0.0.1\", or socket = \"/run/memcached.sock\"";
    }
    return NULL;
}

static void free_settings(struct settings *settings) {
    free(settings->host);
    free(settings->socket);
    free(settings->at_least);
}

void exports_hilum_plugin_plugin_describe(exports_hilum_plugin_plugin_description_t *ret) {
    exports_hilum_plugin_plugin_grant_t *grant = calloc(1, sizeof *grant);
    if (grant == NULL) {
        abort();
    }
    plugin_string_dup(&grant->kind, "connect");
    plugin_string_dup(&grant->reason, "host and port of the settings, or unix: and socket");
    plugin_string_dup(&ret->name, "probe-memcached");
    plugin_string_dup(&ret->version, "0.1.0");
    plugin_string_dup(&ret->settings_schema, SCHEMA);
    ret->grants.ptr = grant;
    ret->grants.len = 1;
}

void exports_hilum_plugin_plugin_check_settings(plugin_string_t *json, exports_hilum_plugin_plugin_list_problem_t *ret) {
    plugin_string_free(json);
    struct settings settings;
    const char *wrong = read_settings(&settings);
    free_settings(&settings);
    ret->len = 0;
    ret->ptr = wrong == NULL ? NULL : calloc(1, sizeof *ret->ptr);
    if (ret->ptr != NULL) {
        ret->len = 1;
        plugin_string_dup(&ret->ptr->message, wrong);
    }
}

static void unknown(outcome_t *ret, const char *why) {
    ret->tag = EXPORTS_HILUM_PROBE_PROBE_OUTCOME_UNKNOWN;
    plugin_string_dup(&ret->val.unknown, why);
}

static void fail(outcome_t *ret, const char *why) {
    ret->tag = EXPORTS_HILUM_PROBE_PROBE_OUTCOME_FAIL;
    plugin_string_dup(&ret->val.fail, why);
}

/* What could not be done: fails, or is unknown if it is ours and not the service's. */
static void refuse(outcome_t *ret, const char *what, hilum_host_connection_error_t *error) {
    char line[512];
    switch (error->tag) {
    case HILUM_HOST_CONNECTION_ERROR_REFUSED:
        snprintf(line, sizeof line, "cannot %s: nobody listens there", what);
        break;
    case HILUM_HOST_CONNECTION_ERROR_TIMED_OUT:
        snprintf(line, sizeof line, "cannot %s: it did not answer in time", what);
        break;
    case HILUM_HOST_CONNECTION_ERROR_CLOSED:
        snprintf(line, sizeof line, "cannot %s: it broke the connection off", what);
        break;
    default:
        snprintf(line, sizeof line, "cannot %s: %.*s", what, (int)error->val.other.len, (char *)error->val.other.ptr);
    }
    bool theirs = error->tag == HILUM_HOST_CONNECTION_ERROR_REFUSED || error->tag == HILUM_HOST_CONNECTION_ERROR_TIMED_OUT ||
                  error->tag == HILUM_HOST_CONNECTION_ERROR_CLOSED || error->tag == HILUM_HOST_CONNECTION_ERROR_UNREACHABLE ||
                  error->tag == HILUM_HOST_CONNECTION_ERROR_OTHER;
    (theirs ? fail : unknown)(ret, line);
    hilum_host_connection_error_free(error);
}

/* Asks for the version over an open connection. */
static void ask(hilum_host_connection_borrow_connection_t connection, const char *at_least, outcome_t *ret) {
    hilum_host_connection_error_t error;
    plugin_list_u8_t question = {(uint8_t *)"version\r\n", 9};
    if (!hilum_host_connection_method_connection_write(connection, &question, &error)) {
        refuse(ret, "send version", &error);
        return;
    }
    char answer[ANSWER + 1];
    size_t length = 0;
    while (length < ANSWER && memchr(answer, '\n', length) == NULL) {
        plugin_list_u8_t bytes;
        if (!hilum_host_connection_method_connection_read(connection, (uint32_t)(ANSWER - length), &bytes, &error)) {
            refuse(ret, "read the version", &error);
            return;
        }
        if (bytes.len == 0) {
            break;
        }
        memcpy(answer + length, bytes.ptr, bytes.len);
        length += bytes.len;
        plugin_list_u8_free(&bytes);
    }
    answer[length] = '\0';
    char line[ANSWER + 128];
    char *version = version_in(answer);
    if (version == NULL) {
        /* A text is UTF-8 and for people: only what can be shown goes into it. */
        for (size_t i = 0; i < length; i++) {
            answer[i] = answer[i] < ' ' || answer[i] > '~' ? '?' : answer[i];
        }
        snprintf(line, sizeof line, "it answered version with \"%s\", which is no memcached's", answer);
        fail(ret, line);
    } else if (at_least != NULL && !version_at_least(version, at_least)) {
        snprintf(line, sizeof line, "it is memcached %.40s, older than %.40s", version, at_least);
        fail(ret, line);
    } else {
        ret->tag = EXPORTS_HILUM_PROBE_PROBE_OUTCOME_PASS;
    }
}

void exports_hilum_probe_probe_check(exports_hilum_probe_probe_request_t *request, outcome_t *ret) {
    exports_hilum_probe_probe_request_free(request);
    struct settings settings;
    const char *wrong = read_settings(&settings);
    if (wrong != NULL) {
        unknown(ret, wrong);
        free_settings(&settings);
        return;
    }
    hilum_host_connection_own_connection_t connection;
    hilum_host_connection_error_t error;
    plugin_string_t place;
    bool connected;
    if (settings.socket != NULL) {
        plugin_string_set(&place, settings.socket);
        connected = hilum_host_unix_connect(&place, &connection, &error);
    } else {
        plugin_string_set(&place, settings.host);
        connected = hilum_host_tcp_connect(&place, settings.port, &connection, &error);
    }
    if (connected) {
        ask(hilum_host_connection_borrow_connection(connection), settings.at_least, ret);
        hilum_host_connection_connection_drop_own(connection);
    } else {
        refuse(ret, "connect", &error);
    }
    free_settings(&settings);
}
