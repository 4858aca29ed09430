#include "memcached.h"

#include <stdlib.h>
#include <string.h>

bool version_at_least(const char *version, const char *wanted) {
    while (*wanted != '\0') {
        char *rest, *rest_wanted;
        unsigned long number = strtoul(version, &rest, 10), number_wanted = strtoul(wanted, &rest_wanted, 10);
        if (number != number_wanted) {
            return number > number_wanted;
        }
        version = *rest == '.' ? rest + 1 : "";
        wanted = *rest_wanted == '.' ? rest_wanted + 1 : "";
    }
    return true;
}

char *version_in(char *answer) {
    static const char WORD[] = "VERSION ";
    char *end = strstr(answer, "\r\n");
    if (end == NULL || strncmp(answer, WORD, sizeof WORD - 1) != 0) {
        return NULL;
    }
    *end = '\0';
    return answer + sizeof WORD - 1;
}
