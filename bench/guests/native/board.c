/* A process of the host: the same program, compiled for the processor that emulators run on. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../board.h"

void put(char c)
{
    putchar(c);
}

u64 ticks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 10000000ul + now.tv_nsec / 100;
}

void end(int failed)
{
    exit(failed);
}

int main(void)
{
    run();
}
