/* Execute code of 64 bits under ptrace, with debug registers, and tell of each stop.

   traced CODE DATA SIZE DR0 DR1 DR2 DR3 DR7 < code: the code is put to CODE, SIZE bytes from DATA
   on are memory, and RSP is their end. Each line is RIP, DR6, RFLAGS and the signal of a stop; the
   last one is of the first that is no SIGTRAP. */

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define DR(n) (void *)(offsetof(struct user, u_debugreg) + 8 * (n))

static void map(unsigned long at, size_t size)
{
    int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    if (mmap((void *)at, size, PROT_READ | PROT_WRITE | PROT_EXEC, kind, -1, 0) != (void *)at)
        exit(2);
}

int main(int argc, char **argv)
{
    unsigned long given[8];
    if (argc != 9)
        return 2;
    for (int n = 0; n < 8; n++)
        given[n] = strtoul(argv[n + 1], NULL, 0);
    unsigned long code = given[0], end = given[1] + given[2];
    ssize_t got;
    pid_t child = fork();
    if (!child) {
        map(code, 0x2000);
        map(given[1], given[2]);
        for (char *to = (void *)code; (got = read(0, to, (char *)code + 0x2000 - to)) > 0; to += got)
            continue;
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        __asm__ volatile("movq %0, %%rsp\n\txorl %%ebp, %%ebp\n\tjmp *%1" : : "r"(end), "r"(code));
    }
    int status;
    waitpid(child, &status, 0);
    for (int n = 0; n < 4; n++)
        if (given[3 + n] && ptrace(PTRACE_POKEUSER, child, DR(n), given[3 + n]))
            return 3;
    if (ptrace(PTRACE_POKEUSER, child, DR(7), given[7]))
        return 3;
    for (int stops = 0; stops < 1000; stops++) {
        struct user_regs_struct regs;
        ptrace(PTRACE_CONT, child, 0, 0);
        if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
            return 4;
        ptrace(PTRACE_GETREGS, child, 0, &regs);
        unsigned long dr6 = ptrace(PTRACE_PEEKUSER, child, DR(6), 0);
        ptrace(PTRACE_POKEUSER, child, DR(6), 0);
        printf("%llu %lu %llu %d\n", regs.rip, dr6, regs.eflags, WSTOPSIG(status));
        if (WSTOPSIG(status) != SIGTRAP)
            break;
    }
    kill(child, SIGKILL);
    return 0;
}
