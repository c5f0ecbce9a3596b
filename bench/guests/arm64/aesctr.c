/* AES-128 in counter mode (FIPS 197, SP 800-38A) over 64 KiB, again and again: FEAT_AES. */
#include <arm_neon.h>

#include "../runtime.h"

const char name[] = "aesctr";

enum { ROUND_KEYS = 11, SIZE = 1 << 16, ROUNDS = 500 };

static u8 data[SIZE];

/* The S-box of four bytes: a round on four equal columns with a key of zeros, without mixing. */
static u32 substituted(u32 word)
{
    return vgetq_lane_u32(vreinterpretq_u32_u8(
        vaeseq_u8(vreinterpretq_u8_u32(vdupq_n_u32(word)), vdupq_n_u8(0))), 0);
}

static void expand(uint8x16_t keys[ROUND_KEYS], const u32 key[4])
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
        keys[i] = vreinterpretq_u8_u32(vld1q_u32(words + 4 * i));
}

static uint8x16_t encrypted(const uint8x16_t keys[ROUND_KEYS], uint8x16_t state)
{
    for (u32 i = 0; i < ROUND_KEYS - 2; i++)
        state = vaesmcq_u8(vaeseq_u8(state, keys[i]));
    return veorq_u8(vaeseq_u8(state, keys[ROUND_KEYS - 2]), keys[ROUND_KEYS - 1]);
}

u64 work(void)
{
    static const u32 key[4] = { 0x16157e2b, 0xa6d2ae28, 0x8815f7ab, 0x3c4fcf09 };
    uint8x16_t keys[ROUND_KEYS];
    u64 sum = 0, counter = 0;
    expand(keys, key);
    for (u32 i = 0; i < SIZE; i++)
        data[i] = i;
    for (u32 round = 0; round < ROUNDS; round++)
        for (u32 i = 0; i < SIZE; i += 16) {
            uint64x2_t block = { 0xf0f1f2f3, __builtin_bswap64(counter++) };
            uint8x16_t stream = encrypted(keys, vreinterpretq_u8_u64(block));
            vst1q_u8(data + i, veorq_u8(vld1q_u8(data + i), stream));
        }
    for (u32 i = 0; i < SIZE; i++)
        sum = sum * 31 + data[i];
    return sum;
}
