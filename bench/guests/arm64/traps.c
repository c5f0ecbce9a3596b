/* Supervisor calls into a handler and back: the price of entering and leaving a kernel. */
#include "../runtime.h"

const char name[] = "traps";

enum { ROUNDS = 1500000 };

__asm__(".balign 2048\n"
        "handlers:\n"
        "    .skip 0x200\n"    /* from the current level, with its own stack pointer */
        "    add x0, x0, #3\n"
        "    eret\n");

u64 work(void)
{
    register u64 x0 __asm__("x0") = 0;
    u64 old, here, sum = 0;
    __asm__ volatile("mrs %0, vbar_el1\n adr %1, handlers\n msr vbar_el1, %1\n isb"
                     : "=&r"(old), "=&r"(here));
    for (u32 i = 0; i < ROUNDS; i++) {
        __asm__ volatile("svc #0" : "+r"(x0) : : "memory");
        sum += x0 ^ i;
        __asm__ volatile("" : "+r"(x0));
    }
    __asm__ volatile("msr vbar_el1, %0\n isb" : : "r"(old));
    return sum;
}
