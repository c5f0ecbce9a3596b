/* A vector of floats times a number added to another: AVX2 and FMA. */
#pragma GCC target("avx2,fma")
#include <immintrin.h>

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
        __m256 a = _mm256_set1_ps((round & 1 ? 1.0f : -1.0f) / (float)(1 + (round & 7)));
        for (u32 i = 0; i < N; i += 8)
            _mm256_storeu_ps(y + i, _mm256_fmadd_ps(a, _mm256_loadu_ps(x + i),
                                                    _mm256_loadu_ps(y + i)));
    }
    for (u32 i = 0; i < N; i++)
        sum = sum * 31 + bits_of(y[i]);
    return sum;
}
