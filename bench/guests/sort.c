/* Sorting a million numbers by quicksort, recursion and unforeseeable branches. */
#include "runtime.h"

const char name[] = "sort";

enum { COUNT = 1000000, ROUNDS = 4, SHORT = 12 };

static u64 numbers[COUNT];

static void sort(u64 *low, u64 *high)                 /* high is past the end */
{
    while (high - low > SHORT) {
        u64 pivot = low[(high - low) / 2];
        u64 *left = low, *right = high - 1;
        while (left <= right) {
            while (*left < pivot)
                left++;
            while (*right > pivot)
                right--;
            if (left <= right) {
                u64 swap = *left;
                *left++ = *right;
                *right-- = swap;
            }
        }
        sort(low, right + 1);
        low = left;
    }
    for (u64 *next = low + 1; next < high; next++) {
        u64 value = *next, *hole = next;
        for (; hole > low && hole[-1] > value; hole--)
            *hole = hole[-1];
        *hole = value;
    }
}

u64 work(void)
{
    u64 random = 1234567891, sum = 0;
    for (u32 round = 0; round < ROUNDS; round++) {
        for (u32 i = 0; i < COUNT; i++)
            numbers[i] = next_random(&random);
        sort(numbers, numbers + COUNT);
        for (u32 i = 1; i < COUNT; i++)
            sum += numbers[i] - numbers[i - 1] ^ i;
    }
    return sum;
}
