/* What every init under test starts. It takes the time with its first instructions and reports through two FIFOs in
 * $BENCH_DIR: `up` carries records of (kind, nanoseconds) to the rig, a byte from `down` tells it to go on.
 *
 * $BENCH_CHILD says what it is, by its first letter:
 *
 *   true      ends at once
 *   start     reports its first instruction, ends
 *   hold      reports its first instruction, stays until a signal or the end
 *   term      waits for TERM, reports when it came, ends
 *   crash     reports its first instruction, waits to be told, reports its end, ends with 1
 *   orphans   waits to be told, makes $BENCH_COUNT orphans that have ended, reports when the last of them was reaped
 *
 * Settings come by the environment because some supervisors start a program without arguments. */
#include "kernel.h"

#include <linux/mman.h>

static const word EVERY = ~0ul;

static const char *setting(char **envp, const char *name) {
    for (; *envp; envp++) {
        const char *a = *envp, *b = name;
        while (*b && *a == *b) a++, b++;
        if (!*b && *a == '=') return a + 1;
    }
    return 0;
}

/* Opens a FIFO in `folder`; for both reading and writing, so that neither side waits for the other. */
static long fifo(const char *folder, const char *name) {
    char path[4096];
    word length = 0;
    while (*folder && length < sizeof path - 8) path[length++] = *folder++;
    path[length++] = '/';
    do path[length++] = *name;
    while (*name++);
    return call(__NR_openat, (word)AT_FDCWD, (word)path, O_RDWR);
}

static void report(long up, char kind, unsigned long long time) {
    unsigned long long record[2] = {(unsigned long long)kind, time};
    if (call(__NR_write, (word)up, (word)record, sizeof record) != sizeof record) leave(2);
}

static void wait_for_word(long down) {
    char byte;
    if (call(__NR_read, (word)down, (word)&byte, 1) != 1) leave(2);
}

static void rest(long nanoseconds) {
    struct __kernel_timespec time = {0, nanoseconds};
    call(__NR_clock_nanosleep, CLOCK_MONOTONIC, 0, (word)&time);
}

/* A process makes `count` children that end at once, and ends itself before it has waited for any: they are all the init's
 * in one moment. Their pids are in memory shared with us; a pid that cannot be signalled has been reaped. */
static void orphans(long up, long down, word count) {
    int *pids = (int *)call(__NR_mmap, 0, (count + 1) * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, (word)-1);
    if ((long)pids < 0 && (long)pids > -4096) leave(3);
    int *made = pids + count;
    wait_for_word(down);
    long parent = call(__NR_clone, SIGCHLD);
    if (parent == 0) {
        word made_here = 0;
        for (; made_here < count; made_here++) {
            long pid = call(__NR_clone, SIGCHLD);
            if (pid == 0) leave(0);
            if (pid < 0) leave(4);
            pids[made_here] = (int)pid;
        }
        /* The last one may still be on its way out; all are zombies before we go. */
        for (word at = 0; at < count; at++) {
            char info[128];
            call(__NR_waitid, P_PID, (word)pids[at], (word)info, WEXITED | WNOWAIT);
        }
        *made = 1;
        report(up, 'b', now());
        leave(0);
    }
    if (parent < 0) leave(4);
    int status = 0;
    call(__NR_wait4, (word)parent, (word)&status);
    if (status != 0 || !*made) leave(4);
    for (word at = 0; at < count;) {
        if (call(__NR_kill, (word)pids[at], 0) == 0) rest(50000);
        else at++;
    }
    report(up, 'd', now());
}

_Noreturn static void run(int argc, char **argv, char **envp) {
    unsigned long long start = now();
    (void)argc, (void)argv;
    const char *way = setting(envp, "BENCH_CHILD"), *folder = setting(envp, "BENCH_DIR");
    if (!way || !folder) leave(64);
    if (*way == 't' && way[1] == 'r') leave(0);
    if (*way == 't') call(__NR_rt_sigprocmask, SIG_SETMASK, (word)&EVERY, 0, sizeof EVERY);
    long up = fifo(folder, "up"), down = fifo(folder, "down");
    if (up < 0 || down < 0) leave(2);
    report(up, 's', start);
    switch (*way) {
    case 's':
        leave(0);
    case 't':
        for (;;) {
            if (call(__NR_rt_sigtimedwait, (word)&EVERY, 0, 0, sizeof EVERY) != SIGTERM) continue;
            report(up, 't', now());
            leave(0);
        }
    case 'c':
        wait_for_word(down);
        report(up, 'e', now());
        leave(1);
    case 'o': {
        word count = 0;
        for (const char *digit = setting(envp, "BENCH_COUNT"); digit && *digit; digit++) count = count * 10 + (word)(*digit - '0');
        orphans(up, down, count);
        break;
    }
    default:
        break;
    }
    for (;;) call(__NR_ppoll, 0);
}
