/* Up to four CPUs work on the same memory; what they leave there tells whether they got in each
 * other's way. Each enters `torture` with its number, the count of them and that of laps, on a stack
 * of its own, and ends with a system call that gives 1 if all that it saw was right. The first one
 * calls now and then to say that they get on. */

#include "calls.h"

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

enum { HARTS = 4, LINE = 64, SLOTS = 8, PATIENCE = 2000, GETS_ON = 1000 };

#define RELAXED __ATOMIC_RELAXED
#define ACQUIRE __ATOMIC_ACQUIRE
#define RELEASE __ATOMIC_RELEASE
#define ALL __ATOMIC_SEQ_CST

/* Others may need the processor for what is waited for: a hint, and at times a call. */
static void wait_a_bit(u32 *turns)
{
    relax();
    if (++*turns % PATIENCE == 0) call(YIELD, 0, 0, 0);
}

/* -- a barrier, in which the last one to come opens the next round */
static u32 arrived, rounds;

static void meet(u32 harts)
{
    u32 round = __atomic_load_n(&rounds, ACQUIRE), turns = 0;
    if (__atomic_add_fetch(&arrived, 1, ALL) == harts) {
        __atomic_store_n(&arrived, 0, RELAXED);
        __atomic_store_n(&rounds, round + 1, RELEASE);
    }
    while (__atomic_load_n(&rounds, ACQUIRE) == round) wait_a_bit(&turns);
}

/* -- locks: load-reserved and store-conditional, tickets, a byte */
static u32 flag, next_ticket, serving;
static u8 byte_flag;
static u64 guarded[3];

static void by_reservation(void)
{
    u32 expected = 0, turns = 0;
    while (!__atomic_compare_exchange_n(&flag, &expected, 1, 1, ACQUIRE, RELAXED)) {
        expected = 0;
        wait_a_bit(&turns);
    }
    guarded[0]++;
    __atomic_store_n(&flag, 0, RELEASE);
}

static void by_ticket(void)
{
    u32 mine = __atomic_fetch_add(&next_ticket, 1, RELAXED), turns = 0;
    while (__atomic_load_n(&serving, ACQUIRE) != mine) wait_a_bit(&turns);
    guarded[1]++;
    __atomic_store_n(&serving, mine + 1, RELEASE);
}

static void by_byte(void)
{
    u32 turns = 0;
    while (__atomic_test_and_set(&byte_flag, ACQUIRE)) wait_a_bit(&turns);
    guarded[2]++;
    __atomic_clear(&byte_flag, RELEASE);
}

/* -- counters of several sizes, also inside one word */
static u64 long_count, mixed;
static u32 word_count;
static union {
    u32 words[2];
    u8 bytes[8];
} parts;

/* gcc does not add to bytes inline: by load-reserved and store-conditional of the word. */
static void add_to_byte(u32 n)
{
    u32 *word = &parts.words[n / 4], seen = __atomic_load_n(word, RELAXED), shift = n % 4 * 8, sum;
    do
        sum = (seen & ~(0xFFu << shift)) | ((seen >> shift) + 1 & 0xFF) << shift;
    while (!__atomic_compare_exchange_n(word, &seen, sum, 1, RELAXED, RELAXED));
}

static void count(u64 turn)
{
    __atomic_fetch_add(&long_count, turn, RELAXED);
    __atomic_fetch_sub(&word_count, 1, RELAXED);
    add_to_byte(turn % 8);
    __atomic_fetch_xor(&mixed, turn * 0x9E3779B97F4A7C15, RELAXED);
}

/* -- words that are written together and read without a lock */
static u32 version;
static u64 together[4];

static void write_together(u64 turn)
{
    u32 before = __atomic_load_n(&version, RELAXED);
    __atomic_store_n(&version, before + 1, RELAXED);
    __atomic_thread_fence(RELEASE);
    for (int i = 0; i < 4; i++) __atomic_store_n(&together[i], turn * (i + 1), RELAXED);
    __atomic_store_n(&version, before + 2, RELEASE);
}

static int read_together(void)
{
    u64 seen[4];
    u32 before, turns = 0;
    for (;;) {
        before = __atomic_load_n(&version, ACQUIRE);
        for (int i = 0; i < 4; i++) seen[i] = __atomic_load_n(&together[i], RELAXED);
        __atomic_thread_fence(ACQUIRE);
        if (before % 2 == 0 && __atomic_load_n(&version, RELAXED) == before) break;
        wait_a_bit(&turns);
    }
    for (int i = 1; i < 4; i++)
        if (seen[i] != seen[0] * (i + 1)) return 0;
    return 1;
}

/* -- a ring of messages to the next hart */
static struct {
    u32 head __attribute__((aligned(LINE))), tail __attribute__((aligned(LINE)));
    u64 slots[SLOTS];
} rings[HARTS];

static int exchange(u32 hart, u32 harts, u64 turn)
{
    u32 from = (hart + harts - 1) % harts, turns = 0;
    u32 head = rings[hart].head, tail = rings[from].tail;
    while (head - __atomic_load_n(&rings[hart].tail, ACQUIRE) == SLOTS) wait_a_bit(&turns);
    rings[hart].slots[head % SLOTS] = turn << 8 | hart;
    __atomic_store_n(&rings[hart].head, head + 1, RELEASE);
    while (__atomic_load_n(&rings[from].head, ACQUIRE) == tail) wait_a_bit(&turns);
    u64 got = rings[from].slots[tail % SLOTS];
    __atomic_store_n(&rings[from].tail, tail + 1, RELEASE);
    return got == (turn << 8 | from);
}

/* -- two harts that ask each other by plain stores and fences (Peterson) */
static u32 wants[2], turn_of;
static u64 between_two;

static void between(u32 hart)
{
    u32 other = 1 - hart, turns = 0;
    __atomic_store_n(&wants[hart], 1, RELAXED);
    __atomic_store_n(&turn_of, other, RELAXED);
    __atomic_thread_fence(ALL);
    while (__atomic_load_n(&wants[other], ACQUIRE) && __atomic_load_n(&turn_of, ACQUIRE) == other)
        wait_a_bit(&turns);
    between_two++;
    __atomic_store_n(&wants[hart], 0, RELEASE);
}

void torture(u32 hart, u32 harts, u64 laps)
{
    int right = 1;
    meet(harts);
    for (u64 lap = 0; lap < laps; lap++) {
        by_reservation();
        by_ticket();
        by_byte();
        count(lap);
        if (hart == 0) write_together(lap);
        else right &= read_together();
        right &= exchange(hart, harts, lap);
        if (hart < 2) between(hart);
        if (lap % 64 == 0) {
            meet(harts);
            if (hart == 0) call(GETS_ON, 0, 0, 0);
        }
    }
    meet(harts);
    u64 all = harts * laps, bits = 0, bytes = 0;
    for (u64 lap = 0; lap < laps; lap++) bits ^= lap * 0x9E3779B97F4A7C15;
    for (int i = 0; i < 8; i++) bytes += parts.bytes[i];
    for (int i = 0; i < 3; i++) right &= guarded[i] == all;
    right &= long_count == harts * (laps * (laps - 1) / 2);
    right &= word_count == (u32)-all && bytes % 256 == all % 256;
    right &= mixed == (harts % 2 ? bits : 0);
    right &= between_two == 2 * laps;
    call(EXIT, right, 0, 0);
}

ENTER(torture);
