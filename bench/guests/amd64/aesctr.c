/* AES-128 in counter mode (FIPS 197, SP 800-38A) over 64 KiB, again and again: AES-NI. */
#pragma GCC target("aes,sse4.1")
#include <immintrin.h>

#include "../runtime.h"

const char name[] = "aesctr";

enum { ROUND_KEYS = 11, SIZE = 1 << 16, ROUNDS = 500 };

static u8 data[SIZE];

/* The S-box of four bytes. */
static u32 substituted(u32 word)
{
    return _mm_extract_epi32(_mm_aeskeygenassist_si128(_mm_set1_epi32(word), 0), 0);
}

static void expand(__m128i keys[ROUND_KEYS], const u32 key[4])
{
    u32 words[4 * ROUND_KEYS], constant = 1;
    for (u32 i = 0; i < 4; i++)
        words[i] = key[i];
    for (u32 i = 4; i < 4 * ROUND_KEYS; i++) {
        u32 last = words[i - 1];
        if (i % 4 == 0) {
            last = substituted(last >> 8 | last << 24) ^ constant;
            constant = constant << 1 ^ (constant & 0x80 ? 0x11b : 0);
        }
        words[i] = words[i - 4] ^ last;
    }
    for (u32 i = 0; i < ROUND_KEYS; i++)
        keys[i] = _mm_loadu_si128((__m128i *)(words + 4 * i));
}

static __m128i encrypted(const __m128i keys[ROUND_KEYS], __m128i state)
{
    state = _mm_xor_si128(state, keys[0]);
    for (u32 i = 1; i < ROUND_KEYS - 1; i++)
        state = _mm_aesenc_si128(state, keys[i]);
    return _mm_aesenclast_si128(state, keys[ROUND_KEYS - 1]);
}

u64 work(void)
{
    static const u32 key[4] = { 0x16157e2b, 0xa6d2ae28, 0x8815f7ab, 0x3c4fcf09 };
    __m128i keys[ROUND_KEYS];
    u64 sum = 0, counter = 0;
    expand(keys, key);
    for (u32 i = 0; i < SIZE; i++)
        data[i] = i;
    for (u32 round = 0; round < ROUNDS; round++)
        for (u32 i = 0; i < SIZE; i += 16) {
            __m128i block = _mm_set_epi64x(__builtin_bswap64(counter++), 0xf0f1f2f3);
            __m128i *at = (__m128i *)(data + i);
            _mm_storeu_si128(at, _mm_xor_si128(_mm_loadu_si128(at), encrypted(keys, block)));
        }
    for (u32 i = 0; i < SIZE; i++)
        sum = sum * 31 + data[i];
    return sum;
}
