/* Interrupts by software into a handler and back: the price of entering and leaving a kernel. */
#include "../runtime.h"

const char name[] = "traps";

enum { ROUNDS = 1500000, VECTOR = 20 };

extern u32 idt[];
void handler(void);

__asm__("handler:\n"
        "    addq $3, %rax\n"
        "    iretq\n");

u64 work(void)
{
    u64 rax = 0, sum = 0, at = (u64)handler;
    u32 *gate = idt + 4 * VECTOR, low = gate[0], high = gate[1];
    gate[0] = (low & 0xffff0000) | (at & 0xffff);
    gate[1] = (high & 0xffff) | (at & 0xffff0000);
    for (u32 i = 0; i < ROUNDS; i++) {
        __asm__ volatile("int %1" : "+a"(rax) : "i"(VECTOR) : "memory");
        sum += rax ^ i;
    }
    gate[0] = low, gate[1] = high;
    return sum;
}
