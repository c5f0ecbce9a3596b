/* Processes that take turns on one processor: a number goes round a ring of pipes, and whoever has
 * it adds a word of each of its own pages to it. What is timed is how much an address space has to
 * find again after the others had theirs. Two and eight processes do as much work, in two laps. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TURNS = 24000, PAGES = 48, PAGE = 4096, LAPS = 2, MOST = 8 };

static unsigned long ticks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 10000000ul + now.tv_nsec / 100;
}

static unsigned long *pages(unsigned long value)
{
    unsigned long *memory =
        mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(1);
    for (int page = 0; page < PAGES; page++) memory[page * PAGE / sizeof value] = value * page;
    return memory;
}

static unsigned long sum(const volatile unsigned long *memory)
{
    unsigned long total = 0;
    for (int page = 0; page < PAGES; page++) total += memory[page * PAGE / sizeof total];
    return total;
}

static void pass(int from, int to, const unsigned long *memory, int turns)
{
    for (unsigned long number; turns--;) {
        if (read(from, &number, sizeof number) != sizeof number) exit(1);
        number = number * 31 + sum(memory);
        if (write(to, &number, sizeof number) != sizeof number) exit(1);
    }
}

static unsigned long ring(int processes)
{
    int ends[MOST + 1][2];
    unsigned long number = 1;
    for (int n = 0; n <= processes; n++)
        if (pipe(ends[n])) exit(1);
    for (int n = 0; n < processes; n++)
        if (!fork()) {
            pass(ends[n][0], ends[n + 1][1], pages(n), TURNS / processes);
            _exit(0);
        }
    for (int turn = 0; turn < TURNS / processes; turn++) {
        if (write(ends[0][1], &number, sizeof number) != sizeof number) exit(1);
        if (read(ends[processes][0], &number, sizeof number) != sizeof number) exit(1);
    }
    for (int n = 0; n < processes; n++) wait(0);
    for (int n = 0; n <= processes; n++) close(ends[n][0]), close(ends[n][1]);
    return number;
}

int main(void)
{
    setvbuf(stdout, 0, _IONBF, 0);
    for (int processes = 2; processes <= MOST; processes *= 4)
        for (int lap = 0; lap < LAPS; lap++) {
            unsigned long start = ticks(), number = ring(processes);
            printf("BENCH turns_%d lap=%d result=%lx ticks=%lu\n", processes, lap, number,
                   ticks() - start);
        }
    return 0;
}
