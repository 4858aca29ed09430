/* Starts one init under test and says when things happened, in nanoseconds of CLOCK_MONOTONIC. It knows no init and judges
 * nothing; `cargo xtask bench` reads what it prints.
 *
 *   rig [--host] [--first] [--cpu N] DIR -- COMMAND…
 *
 * The command runs as process 1 of a new pid namespace, with --host in ours; with --first before everything of ordinary priority
 * (SCHED_RR); in DIR, its output in DIR/log. Its child reports
 * through the FIFO DIR/up (see child.c). Printed, a line each:
 *
 *   exec NS PID          just before the init's execve
 *   s|t|e|b|d NS         what the child reported
 *   sent NS              just before TERM was sent
 *   ended NS CODE CPU    the init has ended; with the processor time it and all it reaped took
 *
 * Read from standard input: `t` sends TERM to the init, `c` tells its child to go on, `k` or the end kills everything. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static unsigned long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (unsigned long long)time.tv_sec * 1000000000u + (unsigned long long)time.tv_nsec;
}

static void fail(const char *verb, const char *object) {
    fprintf(stderr, "rig: cannot %s %s: %s\n", verb, object, strerror(errno));
    exit(1);
}

static int fifo(const char *name) {
    if (mkfifo(name, 0600) != 0 && errno != EEXIST) fail("make", name);
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0) fail("open", name);
    return fd;
}

/* Runs in the child of vfork(2), on the parent's stack: system calls only. */
static void become(char **command, int null, int log, volatile unsigned long long *start, volatile int *error) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    dup2(null, 0), dup2(log, 1), dup2(log, 2);
    *start = now();
    execve(command[0], command, environ);
    *error = errno;
    _exit(127);
}

static void print_records(int up) {
    unsigned long long record[2];
    while (read(up, record, sizeof record) == (ssize_t)sizeof record) {
        printf("%c %llu\n", (char)record[0], record[1]);
        struct pollfd more = {.fd = up, .events = POLLIN};
        if (poll(&more, 1, 0) != 1) break;
    }
}

static void obey(char order, pid_t init, int down) {
    if (order == 't') {
        unsigned long long sent = now();
        kill(init, SIGTERM);
        printf("sent %llu\n", sent);
    } else if (order == 'c') {
        if (write(down, "c", 1) != 1) fail("write to", "down");
    } else if (order == 'k') {
        /* In a pid namespace of its own everything ends with the init; in ours, what is left of its session's first group. */
        kill(init, SIGKILL);
        kill(-init, SIGKILL);
    }
}

int main(int argc, char **argv) {
    int host = 0;
    argv++, argc--;
    for (; argc > 0 && argv[0][0] == '-'; argv++, argc--) {
        if (strcmp(argv[0], "--host") == 0) {
            host = 1;
        } else if (strcmp(argv[0], "--first") == 0) {
            struct sched_param least = {.sched_priority = 1};
            if (sched_setscheduler(0, SCHED_RR, &least) != 0) fail("take", "a real-time priority");
        } else if (strcmp(argv[0], "--cpu") == 0 && argc > 1) {
            cpu_set_t cpus;
            CPU_ZERO(&cpus);
            CPU_SET(atoi(argv[1]), &cpus);
            if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) fail("use processor", argv[1]);
            argv++, argc--;
        } else {
            break;
        }
    }
    if (argc < 3 || strcmp(argv[1], "--") != 0) {
        fputs("usage: rig [--host] [--first] [--cpu N] DIR -- COMMAND...\n", stderr);
        return 64;
    }
    char **command = argv + 2;
    if (chdir(argv[0]) != 0) fail("enter", argv[0]);
    int up = fifo("up"), down = fifo("down");
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), log = open("log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (null < 0 || log < 0) fail("open", "/dev/null or log");
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    if (!host && unshare((geteuid() == 0 ? 0 : CLONE_NEWUSER) | CLONE_NEWPID) != 0) fail("make", "a pid namespace");

    volatile unsigned long long start = 0;
    volatile int error = 0;
    pid_t init = vfork();
    if (init == 0) become(command, null, log, &start, &error);
    if (init < 0) fail("start", command[0]);
    if (error != 0) {
        errno = error;
        fail("execute", command[0]);
    }
    int pidfd = (int)syscall(SYS_pidfd_open, init, 0);
    if (pidfd < 0) fail("watch", command[0]);
    printf("exec %llu %d\n", start, init);

    for (;;) {
        struct pollfd ready[3] = {{.fd = pidfd, .events = POLLIN}, {.fd = up, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
        if (poll(ready, 3, -1) < 0) {
            if (errno == EINTR) continue;
            fail("wait for", command[0]);
        }
        if (ready[0].revents) {
            int status;
            struct rusage used;
            if (wait4(init, &status, 0, &used) != init) fail("reap", command[0]);
            unsigned long long end = now();
            if (ready[1].revents) print_records(up);
            long long micros = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000ll + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
            int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            printf("ended %llu %d %lld\n", end, code, micros * 1000);
            return 0;
        }
        if (ready[1].revents) print_records(up);
        if (ready[2].revents) {
            char order;
            obey(read(0, &order, 1) == 1 ? order : 'k', init, down);
        }
    }
}
