/* Atomic instructions without rivals: amoadd, amoswap, and compare-and-swap by lr and sc. */
#include "runtime.h"

const char name[] = "atomics";

enum { ROUNDS = 40000000 };

static u64 counter, lock, maximum;

u64 work(void)
{
    u64 random = 99;
    for (u32 i = 0; i < ROUNDS; i++) {
        while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
            ;
        counter++;
        __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
        __atomic_fetch_add(&counter, i & 3, __ATOMIC_RELAXED);
        u64 value = next_random(&random), seen = __atomic_load_n(&maximum, __ATOMIC_RELAXED);
        while (seen < value &&
               !__atomic_compare_exchange_n(&maximum, &seen, value, 0, __ATOMIC_SEQ_CST,
                                            __ATOMIC_RELAXED))
            ;
        __atomic_compare_exchange_n(&maximum, &value, i, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }
    return counter ^ maximum;
}
