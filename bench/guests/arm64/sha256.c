/* The compression function of SHA-256 (FIPS 180-4) over a megabyte: FEAT_SHA256. */
#include <arm_neon.h>

#include "../sha256.h"

const char name[] = "sha256";

enum { SIZE = 1 << 20, ROUNDS = 100 };

static u8 data[SIZE];

static void block(uint32x4_t state[2], const u8 *bytes)
{
    uint32x4_t w[4], first = state[0], second = state[1];
    for (u32 i = 0; i < 4; i++)
        w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(bytes + 16 * i)));
    for (u32 i = 0; i < 16; i++) {
        uint32x4_t sum = vaddq_u32(w[i % 4], vld1q_u32(k + 4 * i)), before = first;
        if (i < 12)
            w[i % 4] = vsha256su1q_u32(vsha256su0q_u32(w[i % 4], w[(i + 1) % 4]),
                                       w[(i + 2) % 4], w[(i + 3) % 4]);
        first = vsha256hq_u32(first, second, sum);
        second = vsha256h2q_u32(second, before, sum);
    }
    state[0] = vaddq_u32(state[0], first);
    state[1] = vaddq_u32(state[1], second);
}

u64 work(void)
{
    uint32x4_t state[2] = { { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a },
                            { 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 } };
    u64 random = 42;
    for (u32 i = 0; i < SIZE; i++)
        data[i] = next_random(&random);
    for (u32 round = 0; round < ROUNDS; round++)
        for (u32 i = 0; i < SIZE; i += 64)
            block(state, data + i);
    return (u64)vgetq_lane_u32(state[0], 0) << 32 | vgetq_lane_u32(state[1], 3);
}
