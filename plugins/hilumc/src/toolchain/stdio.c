/* Standard output and error of a plugin: there are none. wasi-libc links the functions below as soon as anything of stdio.h is used,
 * snprintf included, and with them imports of WASI that a plugin has no use for. Defined here, weakly, they keep them out; a program that
 * uses WASI for more gets wasi-libc's own. What is printed is an error to the program; lines for people go to hilum_host_log_write. */

#include <stddef.h>
#include <stdint.h>

/* "Bad descriptor", as WASI numbers errors. */
#define BADF 8

__attribute__((weak)) uint16_t __wasi_fd_write(int32_t fd, const void *parts, size_t count, size_t *written) {
    (void)fd, (void)parts, (void)count, (void)written;
    return BADF;
}

__attribute__((weak)) uint16_t __wasi_fd_seek(int32_t fd, int64_t offset, uint8_t whence, uint64_t *position) {
    (void)fd, (void)offset, (void)whence, (void)position;
    return BADF;
}

__attribute__((weak)) uint16_t __wasi_fd_close(int32_t fd) {
    (void)fd;
    return BADF;
}

__attribute__((weak)) uint16_t __wasi_fd_fdstat_get(int32_t fd, void *status) {
    (void)fd, (void)status;
    return BADF;
}
