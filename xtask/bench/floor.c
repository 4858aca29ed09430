/* The least a process can do that starts another: the lower bound the inits are measured against.
 *
 *   floor spawn COMMAND…     starts it, reaps everything, ends with its code; signals are not its business
 *   floor forward COMMAND…   and passes every signal on
 *   floor respawn COMMAND…   starts it again whenever it ends
 *
 * COMMAND is a path: nothing is looked up. Not an init to use: a full pid table or a missing file ends it. */
#include "kernel.h"

static const word EVERY = ~0ul;
static const word NONE = 0;

/* vfork, execve: the child borrows our memory until it has its own. */
__attribute__((noinline)) static long spawn(char **argv, char **envp) {
    long pid = call(__NR_clone, CLONE_VM | CLONE_VFORK | SIGCHLD);
    if (pid == 0) {
        call(__NR_rt_sigprocmask, SIG_SETMASK, (word)&NONE, 0, sizeof NONE);
        call(__NR_execve, (word)argv[0], (word)argv, (word)envp);
        leave(127);
    }
    if (pid < 0) leave(126);
    return pid;
}

static int code_of(int status) {
    return (status & 0x7f) ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
}

/* Reaps until the child is among them; then ends or starts it again. */
static long reap(long child, int options, int again, char **argv, char **envp) {
    int status = 0;
    for (;;) {
        long pid = call(__NR_wait4, (word)-1, (word)&status, (word)options);
        if (pid <= 0) return child;
        if (pid != child) continue;
        if (!again) leave(code_of(status));
        child = spawn(argv, envp);
    }
}

_Noreturn static void run(int argc, char **argv, char **envp) {
    if (argc < 3) leave(64);
    char way = argv[1][0];
    argv += 2;
    if (way == 's') {
        long child = spawn(argv, envp);
        reap(child, 0, 0, argv, envp);
        leave(126);
    }
    call(__NR_rt_sigprocmask, SIG_SETMASK, (word)&EVERY, 0, sizeof EVERY);
    long child = spawn(argv, envp);
    for (;;) {
        long number = call(__NR_rt_sigtimedwait, (word)&EVERY, 0, 0, sizeof EVERY);
        if (number == SIGCHLD) child = reap(child, WNOHANG, way == 'r', argv, envp);
        else if (number > 0) call(__NR_kill, (word)child, (word)number);
    }
}
