/* What every bench guest shares. A guest defines `name`, `work` and nothing else that is public. */
#ifndef RUNTIME_H
#define RUNTIME_H

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned int u32;
typedef unsigned long u64;
typedef signed int i32;
typedef signed long i64;

extern const char name[];

/* A lap of the work to be timed; its result goes to the output, where all emulators must agree. */
u64 work(void);

/* xorshift64: numbers that look random, the same in every run (G. Marsaglia, "Xorshift RNGs"). */
static inline u64 next_random(u64 *state)
{
    u64 x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* A double as its bits, for checksums. */
static inline u64 bits_of(double value)
{
    union { double d; u64 u; } cast = { .d = value };
    return cast.u;
}

#endif
