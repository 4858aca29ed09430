/* The protocol: what can be said of memcached without a connection to it. */

#include <stdbool.h>
#include <stddef.h>

/* Whether `version`, such as "1.6.18", is at least `wanted`, such as "1.6", number by number. What is no number counts as 0. */
bool version_at_least(const char *version, const char *wanted);

/* The version in an answer to `version`, terminated in place; NULL if it is none. */
char *version_in(char *answer);
