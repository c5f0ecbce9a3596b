/* Threads that execute what another thread writes: code published through a pointer, code that
   changes in place and is waited for with membarrier(2), pages that hold code and then data and
   then other code, and numbers that are counted beside code. Prints what was right; the number of
   threads is the argument. */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, ROUNDS = 1200, PLACES = 64, MOST = 8 };
typedef uint64_t (*function)(void);

static int threads;
static _Atomic uint64_t published, wrong[4], seen[MOST];
static _Atomic(function) code;
static unsigned char *page;

static unsigned char *fresh(void)
{
    unsigned char *at = mmap(0, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        abort();
    return at;
}

/* mov rax, value; ret */
static void write_function(unsigned char *at, uint64_t value)
{
    static const unsigned char head[] = {0x48, 0xb8}, tail[] = {0xc3};
    memcpy(at, head, 2);
    memcpy(at + 2, &value, 8);
    memcpy(at + 10, tail, 1);
}

static void wait_for_all(uint64_t round)
{
    for (int n = 0; n < threads; n++)
        while (atomic_load(&seen[n]) != round)
            __builtin_ia32_pause();
}

/* Each thread calls what was published last, once a round, and says that it did. */
static void *execute(void *argument)
{
    int own = (intptr_t)argument;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        while (atomic_load(&published) != round)
            __builtin_ia32_pause();
        function now = atomic_load(&code);
        if (now() != round * 0x100000001)
            atomic_fetch_add(&wrong[0], 1);
        atomic_store(&seen[own], round);
    }
    return 0;
}

static void start(pthread_t *all, void *(*body)(void *))
{
    for (int n = 0; n < threads; n++) {
        atomic_store(&seen[n], 0);
        if (pthread_create(&all[n], 0, body, (void *)(intptr_t)n))
            abort();
    }
}

static void join(pthread_t *all)
{
    for (int n = 0; n < threads; n++)
        pthread_join(all[n], 0);
}

/* New functions in a page whose other functions are being executed, in places used before. */
static void publishing(void)
{
    pthread_t all[MOST];
    page = fresh();
    atomic_store(&published, 0);
    start(all, execute);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        unsigned char *at = page + round * 5 % PLACES * (PAGE / PLACES);
        write_function(at, round * 0x100000001);
        atomic_store(&code, (function)at);
        atomic_store(&published, round);
        wait_for_all(round);
    }
    join(all);
    munmap(page, PAGE);
}

static _Atomic int done;

/* Calls one function all the time; after a barrier for code it may not return what it did. */
static void *loop(void *argument)
{
    int own = (intptr_t)argument;
    function at = (function)page;
    while (!atomic_load(&done)) {
        uint64_t least = atomic_load(&published), got = at();
        if (got < least || got > ROUNDS)
            atomic_fetch_add(&wrong[1], 1);
        atomic_store(&seen[own], got);
    }
    return 0;
}

static void changing(void)
{
    pthread_t all[MOST];
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
    page = fresh();
    write_function(page + 6, 0); /* so that its number is aligned */
    page += 6;
    atomic_store(&published, 0);
    atomic_store(&done, 0);
    start(all, loop);
    for (uint64_t round = 1; round <= ROUNDS / 10; round++) {
        atomic_store((_Atomic uint64_t *)(page + 2), round);
        if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0))
            abort();
        atomic_store(&published, round);
    }
    atomic_store(&done, 1);
    join(all);
    munmap(page - 6, PAGE);
}

/* Each thread takes pages that others have just given back: code, then numbers, then code. */
static void *reuse(void *argument)
{
    int own = (intptr_t)argument;
    for (uint64_t round = 0; round < ROUNDS / 4; round++) {
        unsigned char *mine = fresh();
        uint64_t value = round * MOST + own, sum = 0;
        for (int n = 0; n < 3; n++) {
            write_function(mine + 512 * n, value + n);
            if (((function)(mine + 512 * n))() != value + n)
                atomic_fetch_add(&wrong[2], 1);
        }
        for (int n = 0; n < PAGE / 8; n++)
            ((volatile uint64_t *)mine)[n] = value + n;
        for (int n = 0; n < PAGE / 8; n++)
            sum += ((volatile uint64_t *)mine)[n] - value;
        write_function(mine, ~value);
        if (((function)mine)() != ~value || sum != (PAGE / 8) * (PAGE / 8 - 1) / 2)
            atomic_fetch_add(&wrong[2], 1);
        munmap(mine, PAGE);
    }
    return 0;
}

static void reusing(void)
{
    pthread_t all[MOST];
    start(all, reuse);
    join(all);
}

/* A number in a page of code: lock inc qword ptr [rip + 1016]; ret */
static void *count(void *argument)
{
    (void)argument;
    for (int n = 0; n < ROUNDS * 4; n++)
        ((function)page)();
    return 0;
}

static void counting(void)
{
    static const unsigned char text[] = {0xf0, 0x48, 0xff, 0x05, 0xf8, 0x03, 0, 0, 0xc3};
    pthread_t all[MOST];
    page = fresh();
    memcpy(page, text, sizeof text);
    start(all, count);
    join(all);
    if (*(uint64_t *)(page + 8 + 1016) != (uint64_t)threads * ROUNDS * 4)
        atomic_fetch_add(&wrong[3], 1);
}

int main(int count, char **words)
{
    threads = count > 1 ? atoi(words[1]) : 3;
    publishing();
    changing();
    reusing();
    counting();
    printf("published %s, changed %s, reused %s, counted %s\n", wrong[0] ? "WRONG" : "right",
           wrong[1] ? "WRONG" : "right", wrong[2] ? "WRONG" : "right",
           wrong[3] ? "WRONG" : "right");
    return wrong[0] || wrong[1] || wrong[2] || wrong[3];
}
