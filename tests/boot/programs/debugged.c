/* A process that another one steps, stops at breakpoints and watches, through ptrace: what its
   kernel makes of AArch64's self-hosted debug; and the cycles and instructions that perf counts. */

#define _GNU_SOURCE
#include <elf.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

struct registers { uint64_t x[31], sp, pc, pstate; };
struct debug { uint32_t info, pad; struct { uint64_t address; uint32_t control, pad; } at[16]; };

static volatile uint64_t watched[4];
extern const char stepped[], ended[], broken[];

static void child(void) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    __asm__ volatile("mov x0, #3\n"
                     ".globl stepped\nstepped: subs x0, x0, #1\n b.ne stepped\n"
                     ".globl ended\nended: nop\n" ::: "x0", "cc");
    __asm__ volatile("mov x0, #3\n"
                     ".globl broken\nbroken: subs x0, x0, #1\n b.ne broken\n" ::: "x0", "cc");
    watched[1] = 7;
    uint64_t sum = watched[1] + watched[0];
    watched[2] = sum;
    _exit((int)sum);
}

static struct registers registers_of(pid_t pid) {
    struct registers r;
    struct iovec io = {&r, sizeof r};
    ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io);
    return r;
}

static int go(pid_t pid, int how) {
    int status;
    if (ptrace(how, pid, 0, 0)) perror("ptrace");
    waitpid(pid, &status, 0);
    return status;
}

static int set(pid_t pid, int kind, uint64_t address, uint32_t control) {
    struct debug d;
    memset(&d, 0, sizeof d);
    d.at[0].address = address;
    d.at[0].control = control;
    struct iovec io = {&d, offsetof(struct debug, at) + sizeof d.at[0]};
    return ptrace(PTRACE_SETREGSET, pid, kind, &io) ? (perror("set"), 1) : 0;
}

static int slots(pid_t pid, int kind) {
    struct debug d;
    struct iovec io = {&d, sizeof d};
    return ptrace(PTRACE_GETREGSET, pid, kind, &io) ? -1 : (int)(d.info & 0xff);
}

static uint64_t stopped_at(pid_t pid) {
    siginfo_t info;
    ptrace(PTRACE_GETSIGINFO, pid, 0, &info);
    return (uint64_t)info.si_addr;
}

static void count(const char *name, uint64_t event) {
    struct perf_event_attr a = {.type = PERF_TYPE_HARDWARE, .size = sizeof a, .config = event,
                                .exclude_kernel = 1, .exclude_hv = 1};
    int fd = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
    uint64_t before = 0, after = 0;
    if (fd < 0) { perror(name); return; }
    if (read(fd, &before, 8) != 8) perror("read");
    __asm__ volatile("mov x0, #10000\n1: subs x0, x0, #1\n b.ne 1b\n" ::: "x0", "cc");
    if (read(fd, &after, 8) != 8) perror("read");
    printf("%s: %s\n", name, after - before > 20000 && after - before < 30000 ? "right" : "wrong");
}

int main(void) {
    int status, steps = 0, stops = 0;
    setvbuf(stdout, 0, _IONBF, 0);
    pid_t pid = fork();
    if (!pid) child();
    waitpid(pid, &status, 0);
    printf("breakpoints %d, watchpoints %d\n", slots(pid, NT_ARM_HW_BREAK), slots(pid, NT_ARM_HW_WATCH));
    set(pid, NT_ARM_HW_BREAK, (uint64_t)stepped, 15 << 5 | 2 << 1 | 1);
    go(pid, PTRACE_CONT);
    printf("stopped where asked: %d\n", registers_of(pid).pc == (uint64_t)stepped);
    set(pid, NT_ARM_HW_BREAK, 0, 0);
    while (registers_of(pid).pc != (uint64_t)ended) { go(pid, PTRACE_SINGLESTEP); steps++; }
    printf("steps %d\n", steps);
    set(pid, NT_ARM_HW_BREAK, (uint64_t)broken, 15 << 5 | 2 << 1 | 1);
    for (int n = 0; n < 3; n++) {
        go(pid, PTRACE_CONT);
        stops += registers_of(pid).pc == (uint64_t)broken;
        set(pid, NT_ARM_HW_BREAK, 0, 0);
        go(pid, PTRACE_SINGLESTEP);
        set(pid, NT_ARM_HW_BREAK, (uint64_t)broken, 15 << 5 | 2 << 1 | 1);
    }
    set(pid, NT_ARM_HW_BREAK, 0, 0);
    printf("stops %d\n", stops);
    set(pid, NT_ARM_HW_WATCH, (uint64_t)&watched[1], 0xff << 5 | 2 << 3 | 2 << 1 | 1);
    go(pid, PTRACE_CONT);
    printf("stored to %d\n", (int)(stopped_at(pid) - (uint64_t)watched));
    set(pid, NT_ARM_HW_WATCH, (uint64_t)&watched[0], 0x0f << 5 | 1 << 3 | 2 << 1 | 1);
    go(pid, PTRACE_CONT);
    printf("loaded from %d\n", (int)(stopped_at(pid) - (uint64_t)watched));
    set(pid, NT_ARM_HW_WATCH, 0, 0);
    status = go(pid, PTRACE_CONT);
    printf("exited %d with %d\n", WIFEXITED(status), WEXITSTATUS(status));
    count("cycles", PERF_COUNT_HW_CPU_CYCLES);
    count("instructions", PERF_COUNT_HW_INSTRUCTIONS);
    return 0;
}
