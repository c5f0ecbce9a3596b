/* Environment calls into a handler and back: the price of entering and leaving a kernel. */
#include "../runtime.h"

const char name[] = "traps";

enum { ROUNDS = 1500000 };

__asm__(".balign 4\n"
        "handler:\n"
        "    csrw mscratch, t0\n"
        "    csrr t0, mepc\n"
        "    addi t0, t0, 4\n"
        "    csrw mepc, t0\n"
        "    csrr t0, mscratch\n"
        "    addi a0, a0, 3\n"
        "    mret\n");

u64 work(void)
{
    register u64 a0 __asm__("a0") = 0;
    u64 old, sum = 0;
    __asm__ volatile("la %0, handler\n csrrw %0, mtvec, %0" : "=&r"(old));
    for (u32 i = 0; i < ROUNDS; i++) {
        __asm__ volatile("ecall" : "+r"(a0) : : "memory");
        sum += a0 ^ i;
        __asm__ volatile("" : "+r"(a0));
    }
    __asm__ volatile("csrw mtvec, %0" : : "r"(old));
    return sum;
}
