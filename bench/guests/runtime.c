/* The laps of a bench guest, and what they print. */
#include "board.h"

enum { LAPS = 2 };

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
    end(0);
}

void trapped(u64 cause, u64 pc)
{
    print("TRAP cause=");
    print_number(cause, 16);
    print(" pc=");
    print_number(pc, 16);
    print("\n");
    end(1);
}
