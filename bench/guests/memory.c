/* What the compiler may call on its own account where there is no C library. */
#include "runtime.h"

void *memset(void *to, int value, u64 size)
{
    u8 *bytes = to;
    while (size--)
        *bytes++ = value;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, u64 size)
{
    u8 *target = to;
    const u8 *source = from;
    while (size--)
        *target++ = *source++;
    return to;
}
