/* Dot products of bytes, 32 at a time: VPMADDUBSW and VPMADDWD. */
#pragma GCC target("avx2")
#include <immintrin.h>

#include "../runtime.h"

const char name[] = "dotbytes";

enum { N = 1 << 15, ROUNDS = 25000 };

static u8 a[N], b[N];

u64 work(void)
{
    u64 random = 11, sum = 0;
    const __m256i ones = _mm256_set1_epi16(1);
    for (u32 i = 0; i < N; i++) {
        a[i] = next_random(&random) & 0x7f;
        b[i] = next_random(&random);
    }
    for (u32 round = 0; round < ROUNDS; round++) {
        __m256i dots = _mm256_set1_epi32(round);
        for (u32 i = 0; i < N; i += 32) {
            __m256i pairs = _mm256_maddubs_epi16(_mm256_loadu_si256((__m256i *)(a + i)),
                                                 _mm256_loadu_si256((__m256i *)(b + i)));
            dots = _mm256_add_epi32(dots, _mm256_madd_epi16(pairs, ones));
        }
        u32 parts[8], all = 0;
        _mm256_storeu_si256((__m256i *)parts, dots);
        for (u32 i = 0; i < 8; i++)
            all += parts[i];
        sum = sum * 31 + all;
        a[round % N] = (a[round % N] ^ sum) & 0x7f;
    }
    return sum;
}
