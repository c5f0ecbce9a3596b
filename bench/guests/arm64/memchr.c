/* The first place of a byte, sixteen bytes at a time: comparisons, narrowing, moves to X registers. */
#include <arm_neon.h>

#include "../runtime.h"

const char name[] = "memchr";

enum { N = 1 << 16, ROUNDS = 16000 };

static u8 text[N];

static u64 place(u8 wanted)
{
    uint8x16_t all = vdupq_n_u8(wanted);
    for (u64 i = 0; i < N; i += 16) {
        uint8x16_t equal = vceqq_u8(vld1q_u8(text + i), all);
        uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(equal), 4);
        u64 found = vget_lane_u64(vreinterpret_u64_u8(nibbles), 0);
        if (found)
            return i + (u64)__builtin_ctzl(found) / 4;
    }
    return N;
}

u64 work(void)
{
    u64 random = 3, sum = 0;
    for (u32 i = 0; i < N; i++)
        text[i] = next_random(&random) & 0x7f;
    for (u32 round = 0; round < ROUNDS; round++) {
        u32 at = (round * 40503) % N;
        text[at] = 0x80 | (round & 0x7f);
        sum = sum * 31 + place(0x80 | (round & 0x7f));
        text[at] = round & 0x7f;
    }
    return sum;
}
