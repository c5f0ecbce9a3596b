/* Copying and combining arrays of 8 MiB: loads and stores at consecutive addresses. */
#include "runtime.h"

const char name[] = "stream";

enum { N = 1 << 20, ROUNDS = 10 };

static u64 a[N], b[N], c[N];

u64 work(void)
{
    u64 sum = 0;
    for (u32 i = 0; i < N; i++)
        a[i] = i, b[i] = ~i;
    for (u64 round = 0; round < ROUNDS; round++) {
        for (u32 i = 0; i < N; i++)
            c[i] = a[i];
        for (u32 i = 0; i < N; i++)
            a[i] = b[i] + round * c[i];
        const u8 *from = (u8 *)c;
        u8 *to = (u8 *)b;
        for (u32 i = 0; i < N; i++)
            to[i] = from[i * 2];
        sum += a[round * 1009] ^ b[round];
    }
    return sum;
}
