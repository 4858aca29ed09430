/* The kernel's interface and nothing else: no C library, so that what these programs cost is what the kernel costs.
 *
 * Each program is one file that includes this and defines `main`; `main` never returns (it calls `leave`). */
#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/time.h>
#include <linux/wait.h>

typedef unsigned long word;

/* Every call passes all six arguments a system call can have; what is not given is 0. */
#define call(number, ...) call_six(number, (const word[6]){__VA_ARGS__})

#if defined __x86_64__
static inline long call_six(long number, const word a[6]) {
    long value;
    register word r10 __asm__("r10") = a[3];
    register word r8 __asm__("r8") = a[4];
    register word r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(value)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return value;
}
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call enter\n");
#elif defined __aarch64__
static inline long call_six(long number, const word a[6]) {
    register long x8 __asm__("x8") = number;
    register word x0 __asm__("x0") = a[0];
    register word x1 __asm__("x1") = a[1];
    register word x2 __asm__("x2") = a[2];
    register word x3 __asm__("x3") = a[3];
    register word x4 __asm__("x4") = a[4];
    register word x5 __asm__("x5") = a[5];
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return (long)x0;
}
__asm__(".globl _start\n_start:\n mov x29, xzr\n mov x30, xzr\n mov x0, sp\n bl enter\n");
#else
#error "add the system call instruction of this machine"
#endif

_Noreturn static void leave(int code) {
    for (;;) call(__NR_exit_group, (word)code);
}

_Noreturn static void run(int argc, char **argv, char **envp);

/* Called by `_start` with the stack the kernel prepared: argc, argv, a null, envp. */
__attribute__((used)) _Noreturn static void enter(word *stack) {
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);
    run(argc, argv, argv + argc + 1);
}

/* CLOCK_MONOTONIC in nanoseconds. */
static inline unsigned long long now(void) {
    struct __kernel_timespec time;
    call(__NR_clock_gettime, CLOCK_MONOTONIC, (word)&time);
    return (unsigned long long)time.tv_sec * 1000000000u + (unsigned long long)time.tv_nsec;
}
