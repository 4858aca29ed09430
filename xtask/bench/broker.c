/* Stands in PID 1's place for one sandbox worker: starts it as hilum does, passes frames on and takes the times, in nanoseconds of
 * CLOCK_MONOTONIC. It understands no frame but for the number in an answer; `cargo xtask bench` writes them and reads what is printed.
 *
 *   broker [--first] [--cpu N] HILUM
 *
 * Orders, a line each, their parts separated by tabs, and what each prints:
 *
 *   send FRAME                                  sends a frame: sent NS
 *   load FILE FRAME                             the same with FILE's descriptor: sent NS
 *   next                                        waits for a frame that is neither a log line nor about processor time: frame NS FRAME
 *   calls COUNT DEPTH GAP WANT BEFORE AFTER     makes COUNT calls, at most DEPTH at once and at least GAP ns apart; a call is BEFORE, a
 *                                               number and AFTER, its answer holds WANT: calls NS TOOK…
 *
 * TOOK is from the frame out to the frame in; with a GAP from when the call was due, so that one that waits for its turn counts what it
 * waited. First of all comes `exec NS PID`, from just before the worker's execve. Whatever goes wrong prints `failed WHY` and is the end,
 * as the end of the orders is, which the worker does not outlive. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* As in core/wire: no frame is longer. */
#define MAX_FRAME (64 * 1024)
/* The worker's end of the channel. */
#define CHANNEL 3
/* How long a frame may take; nothing that is measured takes a hundredth of it. */
#define PATIENCE 20000000000ull

typedef unsigned long long nanos;

static int channel;
/* One byte more, for the zero at the end. */
static char frame[MAX_FRAME + 1];

static nanos now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (nanos)time.tv_sec * 1000000000u + (nanos)time.tv_nsec;
}

__attribute__((format(printf, 1, 2))) _Noreturn static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("failed ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    fflush(stdout);
    exit(1);
}

static const char *why(void) { return strerror(errno); }

/* Runs in the child of vfork(2), on the parent's stack: system calls only. */
static void become(int program, int theirs, int null, char *const argv[], volatile nanos *start, volatile int *error) {
    char *const none[] = {NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    dup2(null, 0), dup2(null, 1);
    dup2(theirs, CHANNEL);
    syscall(SYS_close_range, CHANNEL + 1, ~0u, CLOSE_RANGE_CLOEXEC);
    *start = now();
    syscall(SYS_execveat, program, "", argv, none, AT_EMPTY_PATH);
    *error = errno;
    _exit(127);
}

static void start_worker(const char *path) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) fail("cannot make a channel: %s", why());
    /* Above the number the worker's end gets, so that nothing is in its way. */
    channel = fcntl(pair[0], F_DUPFD_CLOEXEC, CHANNEL + 1);
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, CHANNEL + 1);
    int program = open(path, O_PATH | O_CLOEXEC), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    program = fcntl(program, F_DUPFD_CLOEXEC, CHANNEL + 1);
    if (channel < 0 || theirs < 0 || program < 0 || null < 0) fail("cannot open %s or /dev/null: %s", path, why());
    close(pair[0]), close(pair[1]);

    char parent[16];
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    char *const argv[] = {"hilum", "worker", "sandbox", parent, NULL};
    volatile nanos start = 0;
    volatile int error = 0;
    pid_t worker = vfork();
    if (worker == 0) become(program, theirs, null, argv, &start, &error);
    if (worker < 0 || error != 0) fail("cannot start %s: %s", path, strerror(worker < 0 ? errno : error));
    close(theirs), close(program), close(null);
    printf("exec %llu %d\n", start, (int)worker);
    fflush(stdout);
}

/* Waits until the channel is ready, or for `wait`. */
static void await(short events, nanos wait) {
    struct pollfd ready = {.fd = channel, .events = events};
    struct timespec limit = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
    if (ppoll(&ready, 1, &limit, NULL) < 0 && errno != EINTR) fail("cannot wait for the worker: %s", why());
}

/* Sends a frame; false when the worker does not keep up. */
static int try_send(const char *bytes, size_t length, int file) {
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    if (file >= 0) {
        message.msg_control = control, message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &file, sizeof file);
    }
    if (sendmsg(channel, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return 1;
    if (errno != EAGAIN && errno != EINTR) fail("cannot speak to the worker: %s", why());
    return 0;
}

static void send_one(const char *bytes, int file) {
    nanos sent = now();
    for (nanos end = sent + PATIENCE; !try_send(bytes, strlen(bytes), file);) {
        if (now() > end) fail("the worker takes no frame");
        await(POLLOUT, PATIENCE);
        sent = now();
    }
    printf("sent %llu\n", sent);
}

/* Receives a frame that is neither a log line nor about processor time into `frame`; false when there is none. */
static int try_receive(void) {
    for (;;) {
        ssize_t length = recv(channel, frame, MAX_FRAME, MSG_DONTWAIT);
        if (length == 0) fail("the worker has ended");
        if (length < 0 && errno != EAGAIN && errno != EINTR) fail("cannot hear the worker: %s", why());
        if (length < 0) return 0;
        frame[length] = 0;
        if (strncmp(frame, "{\"log\":", 7) != 0 && strncmp(frame, "{\"used\":", 8) != 0) return 1;
    }
}

static void receive_one(void) {
    for (nanos end = now() + PATIENCE; !try_receive();) {
        if (now() > end) fail("the worker says nothing");
        await(POLLIN, PATIENCE);
    }
    printf("frame %llu %s\n", now(), frame);
}

static unsigned long number(char **rest) {
    char *word = strsep(rest, "\t");
    return word == NULL ? 0 : strtoul(word, NULL, 10);
}

static void make_calls(char *rest) {
    static char call[MAX_FRAME];
    static const char ANSWERED[] = "{\"answered\":{\"id\":";
    unsigned long count = number(&rest), depth = number(&rest), gap = number(&rest);
    char *want = strsep(&rest, "\t"), *before = strsep(&rest, "\t"), *after = rest;
    if (after == NULL || count == 0 || depth == 0 || strlen(before) + strlen(after) + 32 > sizeof call) fail("bug: not an order for calls");
    /* When each was sent or due, then how long it took. */
    nanos *times = calloc(count, sizeof *times);
    char *seen = calloc(count, 1);
    if (times == NULL || seen == NULL) fail("cannot keep %lu times: %s", count, why());

    nanos begun = now(), heard = begun;
    unsigned long sent = 0, answered = 0;
    while (answered < count) {
        nanos moment = now();
        int full = 0;
        while (!full && sent < count && sent - answered < depth && moment >= begun + sent * gap) {
            int length = snprintf(call, sizeof call, "%s%lu%s", before, sent, after);
            times[sent] = gap > 0 ? begun + sent * gap : now();
            if (try_send(call, (size_t)length, -1)) sent++;
            else full = 1;
        }
        nanos wait = PATIENCE;
        if (!full && sent < count && sent - answered < depth) {
            nanos due = begun + sent * gap;
            moment = now();
            wait = due > moment ? due - moment : 0;
        }
        await((short)(full ? POLLIN | POLLOUT : POLLIN), wait);
        while (answered < count && try_receive()) {
            heard = now();
            char *end = frame;
            unsigned long id = strncmp(frame, ANSWERED, sizeof ANSWERED - 1) == 0 ? strtoul(frame + sizeof ANSWERED - 1, &end, 10) : count;
            if (end == frame || id >= sent || seen[id] || strstr(frame, want) == NULL) fail("wanted %s, found %s", want, frame);
            seen[id] = 1;
            times[id] = heard - times[id];
            answered++;
        }
        if (now() > heard + PATIENCE) fail("%lu of %lu calls answered", answered, count);
    }
    printf("calls %llu", heard - begun);
    for (unsigned long id = 0; id < count; id++) printf(" %llu", times[id]);
    putchar('\n');
    free(times), free(seen);
}

static void obey(char *line) {
    char *rest = line, *order = strsep(&rest, "\t");
    if (strcmp(order, "send") == 0 && rest != NULL) {
        send_one(rest, -1);
    } else if (strcmp(order, "load") == 0 && rest != NULL) {
        char *path = strsep(&rest, "\t");
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0 || rest == NULL) fail("cannot open %s: %s", path, why());
        send_one(rest, file);
        close(file);
    } else if (strcmp(order, "next") == 0) {
        receive_one();
    } else if (strcmp(order, "calls") == 0 && rest != NULL) {
        make_calls(rest);
    } else {
        fail("bug: no order %s", order);
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    argv++, argc--;
    for (; argc > 0 && argv[0][0] == '-'; argv++, argc--) {
        if (strcmp(argv[0], "--first") == 0) {
            struct sched_param least = {.sched_priority = 1};
            if (sched_setscheduler(0, SCHED_RR, &least) != 0) fail("cannot take a real-time priority: %s", why());
        } else if (strcmp(argv[0], "--cpu") == 0 && argc > 1) {
            cpu_set_t cpus;
            CPU_ZERO(&cpus);
            CPU_SET(atoi(argv[1]), &cpus);
            if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) fail("cannot use processor %s: %s", argv[1], why());
            argv++, argc--;
        } else {
            break;
        }
    }
    if (argc != 1) {
        fputs("usage: broker [--first] [--cpu N] HILUM\n", stderr);
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    start_worker(argv[0]);
    /* A wait is over when it says so, not 50 us later. The worker keeps the default: it would inherit this. */
    prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
    static char *line;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, stdin)) > 0) {
        if (line[length - 1] == '\n') line[length - 1] = 0;
        obey(line);
    }
    return 0;
}
