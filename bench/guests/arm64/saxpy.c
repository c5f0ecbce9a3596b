/* A vector of floats times a number added to another: Advanced SIMD in single precision. */
#include <arm_neon.h>

#include "../runtime.h"

const char name[] = "saxpy";

enum { N = 1 << 14, ROUNDS = 7000 };

static float x[N], y[N];

u64 work(void)
{
    u64 random = 5, sum = 0;
    for (u32 i = 0; i < N; i++) {
        x[i] = (float)(next_random(&random) % 4096) - 2048;
        y[i] = (float)(next_random(&random) % 4096) / 4096;
    }
    for (u32 round = 0; round < ROUNDS; round++) {
        float32x4_t a = vdupq_n_f32((round & 1 ? 1.0f : -1.0f) / (float)(1 + (round & 7)));
        for (u32 i = 0; i < N; i += 8) {
            vst1q_f32(y + i, vfmaq_f32(vld1q_f32(y + i), a, vld1q_f32(x + i)));
            vst1q_f32(y + i + 4, vfmaq_f32(vld1q_f32(y + i + 4), a, vld1q_f32(x + i + 4)));
        }
    }
    for (u32 i = 0; i < N; i++)
        sum = sum * 31 + bits_of(y[i]);
    return sum;
}
