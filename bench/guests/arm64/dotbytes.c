/* Dot products of signed bytes, sixteen at a time: FEAT_DotProd. */
#include <arm_neon.h>

#include "../runtime.h"

const char name[] = "dotbytes";

enum { N = 1 << 15, ROUNDS = 25000 };

static i8 a[N], b[N];

u64 work(void)
{
    u64 random = 11, sum = 0;
    for (u32 i = 0; i < N; i++) {
        a[i] = next_random(&random);
        b[i] = next_random(&random);
    }
    for (u32 round = 0; round < ROUNDS; round++) {
        int32x4_t dots[2] = { vdupq_n_s32(round), vdupq_n_s32(0) };
        for (u32 i = 0; i < N; i += 32)
            for (u32 half = 0; half < 2; half++)
                dots[half] = vdotq_s32(dots[half], vld1q_s8(a + i + 16 * half),
                                       vld1q_s8(b + i + 16 * half));
        sum = sum * 31 + (u32)vaddvq_s32(vaddq_s32(dots[0], dots[1]));
        a[round % N] ^= sum;
    }
    return sum;
}
