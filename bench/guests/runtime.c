/* The board's UART, clock and power switch, as far as a bench guest needs them. */
#include "runtime.h"

static volatile u8 *const uart = (u8 *)0x10000000;        /* NS16550A: transmit, line status at 5 */
static volatile u32 *const finisher = (u32 *)0x100000;    /* SiFive test finisher */

enum { THR_EMPTY = 0x20, PASS = 0x5555, FAIL = 0x3333, LAPS = 2 };

static void put(char c)
{
    while (!(uart[5] & THR_EMPTY))
        ;
    uart[0] = c;
}

static void print(const char *text)
{
    while (*text)
        put(*text++);
}

static void print_number(u64 value, u32 base)
{
    char digits[20];
    u32 count = 0;
    do
        digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (count)
        put(digits[--count]);
}

static u64 ticks(void)
{
    u64 now;
    __asm__ volatile("rdtime %0" : "=r"(now));
    return now;
}

static void end(u32 command)
{
    *finisher = command;
    for (;;)
        __asm__ volatile("wfi");
}

/* The first lap is also the one in which an emulator gets to know the program. */
void run(void)
{
    for (u32 lap = 1; lap <= LAPS; lap++) {
        u64 begin = ticks();
        u64 result = work();
        u64 elapsed = ticks() - begin;
        print("BENCH ");
        print(name);
        print(" lap=");
        print_number(lap, 10);
        print(" result=");
        print_number(result, 16);
        print(" ticks=");
        print_number(elapsed, 10);
        print("\n");
    }
    end(PASS);
}

void trapped(u64 cause, u64 pc)
{
    print("TRAP cause=");
    print_number(cause, 16);
    print(" pc=");
    print_number(pc, 16);
    print("\n");
    end(FAIL | 1u << 16);
}

/* The compiler may call these on its own account. */
void *memset(void *to, int value, u64 size)
{
    u8 *bytes = to;
    while (size--)
        *bytes++ = value;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, u64 size)
{
    u8 *target = to;
    const u8 *source = from;
    while (size--)
        *target++ = *source++;
    return to;
}
