/* The first place of a byte, 32 bytes at a time: comparisons, masks, counts of trailing zeros. */
#pragma GCC target("avx2,bmi")
#include <immintrin.h>

#include "../runtime.h"

const char name[] = "memchr";

enum { N = 1 << 16, ROUNDS = 16000 };

static u8 text[N];

static u64 place(u8 wanted)
{
    __m256i all = _mm256_set1_epi8(wanted);
    for (u64 i = 0; i < N; i += 32) {
        __m256i here = _mm256_loadu_si256((const __m256i *)(text + i));
        u32 found = _mm256_movemask_epi8(_mm256_cmpeq_epi8(here, all));
        if (found)
            return i + _tzcnt_u32(found);
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
