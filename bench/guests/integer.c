/* A mix of integer instructions: add, shift, logic, multiply, divide, compare; few branches. */
#include "runtime.h"

const char name[] = "integer";

u64 work(void)
{
    u64 a = 0x9e3779b97f4a7c15, b = 0xc2b2ae3d27d4eb4f, sum = 0;
    u32 c = 0x85ebca6b;
    for (u64 i = 1; i <= 100000000; i++) {
        a += b ^ (a >> 29);
        b = (b << 11 | b >> 53) * 0x100000001b3;
        c = c * 1664525 + (u32)a;
        sum += (i64)a < (i64)b ? c : a & 0xffff;
        if ((i & 15) == 0)
            sum ^= a / (c | 1) + b % (i | 7);
    }
    return sum;
}
