/* Processes that map memory, fill it and unmap it, at addresses of all alignments: nobody finds what
   is not zero in new memory, or in his own what he has not written. The kernel invalidates what TLBs
   hold of each stretch, by one instruction for each page or by one for many of them. */
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 40, LAPS = 60, PAGE = 4096, WORDS = PAGE / 8 };

static uint64_t pattern(uint64_t process, uint64_t lap, uint64_t page, uint64_t word)
{
    return ((process << 40) + (lap << 16) + page + word * 8) * 0x9E3779B97F4A7C15u;
}

static void fail(const char *what, int process, int lap, int page)
{
    printf("WRONG: %s, process %d, lap %d, page %d\n", what, process, lap, page);
    fflush(stdout);
    _exit(1);
}

static void lap_of(int process, int lap)
{
    int pages = 1 + (process + lap) % 9;
    volatile uint64_t *memory = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE,
                                     MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED)
        fail("no memory", process, lap, pages);
    for (int page = 0; page < pages; page++)
        for (int word = 0; word < WORDS; word++) {
            if (memory[page * WORDS + word] != 0)
                fail("new memory", process, lap, page);
            memory[page * WORDS + word] = pattern(process, lap, page, word);
        }
    sched_yield();
    for (int page = 0; page < pages; page++)
        for (int word = 0; word < WORDS; word++)
            if (memory[page * WORDS + word] != pattern(process, lap, page, word))
                fail("own memory", process, lap, page);
    munmap((void *)memory, pages * PAGE);
}

/* Memory is mapped below what is mapped already: that moves where it comes to lie. */
static void work(int process)
{
    if (mmap(0, (1 + process % 16) * PAGE, PROT_READ, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0) ==
        MAP_FAILED)
        fail("no memory", process, 0, 0);
    for (int lap = 0; lap < LAPS; lap++)
        lap_of(process, lap);
    _exit(0);
}

int main(void)
{
    int status, wrong = 0;

    for (int process = 0; process < PROCESSES; process++)
        if (fork() == 0)
            work(process);
    while (wait(&status) > 0)
        wrong |= status;
    if (!wrong)
        printf("RIGHT\n");
    return wrong != 0;
}
