/* Requests of a disk, past the page cache: 1 MiB one after the other, and 4 KiB at random places,
 * one and 32 of them under way. The first lap finds a disk to which nothing was written yet. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, DISK = 64 * MIB, BLOCK = 4096, DEPTH = 32, LAPS = 2 };
enum { BATCHES = 2, ONE_BY_ONE = 3000, TOGETHER = 8000 };

struct work {
    const char *name;
    int writes;
    unsigned size, depth, count;
};

static const struct work works[] = {
    {"write_1m", 1, MIB, 1, BATCHES * DISK / MIB},
    {"read_1m", 0, MIB, 1, BATCHES * DISK / MIB},
    {"read_4k_1", 0, BLOCK, 1, ONE_BY_ONE},
    {"read_4k_32", 0, BLOCK, DEPTH, TOGETHER},
    {"write_4k_1", 1, BLOCK, 1, ONE_BY_ONE},
    {"write_4k_32", 1, BLOCK, DEPTH, TOGETHER},
};

static int disk;
static aio_context_t context;
static uint64_t *buffers[DEPTH];
static uint64_t seed;

static void check(int right, const char *what)
{
    if (right) return;
    perror(what);
    exit(1);
}

static unsigned long ticks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 10000000ul + now.tv_nsec / 100;
}

/* Where request `number` goes. */
static uint64_t place(const struct work *work, unsigned number)
{
    if (work->size == MIB) return (uint64_t)number * MIB % DISK;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % (DISK / BLOCK) * BLOCK;
}

/* Each block begins with the number of its place, whoever wrote it. */
static uint64_t transfer_one(const struct work *work, unsigned number)
{
    uint64_t at = place(work, number), *data = buffers[0];
    for (unsigned block = 0; work->writes && block < work->size / BLOCK; block++)
        data[block * BLOCK / sizeof *data] = at / BLOCK + block;
    ssize_t done = work->writes ? pwrite(disk, data, work->size, at)
                                : pread(disk, data, work->size, at);
    check(done == (ssize_t)work->size, "transfer");
    check(data[0] == at / BLOCK, "what was read is not what was written");
    return data[0];
}

static uint64_t one_by_one(const struct work *work)
{
    uint64_t sum = 0;
    for (unsigned number = 0; number < work->count; number++)
        sum = sum * 31 + transfer_one(work, number);
    return sum;
}

static void prepare(const struct work *work, struct iocb *request, unsigned slot, unsigned number)
{
    uint64_t at = place(work, number);
    if (work->writes) buffers[slot][0] = at / BLOCK;
    *request = (struct iocb){
        .aio_data = slot,
        .aio_lio_opcode = work->writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
        .aio_fildes = disk,
        .aio_buf = (uintptr_t)buffers[slot],
        .aio_nbytes = work->size,
        .aio_offset = at,
    };
}

/* Whatever is finished is followed by as many others. The sum does not depend on the order. */
static uint64_t together(const struct work *work)
{
    static struct iocb requests[DEPTH];
    struct iocb *next[DEPTH];
    struct io_event events[DEPTH];
    unsigned begun = 0, finished = 0, ready = work->depth;
    uint64_t sum = 0;
    for (unsigned slot = 0; slot < ready; slot++) {
        prepare(work, &requests[slot], slot, begun++);
        next[slot] = &requests[slot];
    }
    for (;;) {
        for (unsigned sent = 0; sent < ready;) {
            long count = syscall(SYS_io_submit, context, ready - sent, next + sent);
            check(count > 0, "io_submit");
            sent += count;
        }
        if (finished == work->count) return sum;
        long count = syscall(SYS_io_getevents, context, 1, work->depth, events, NULL);
        check(count > 0, "io_getevents");
        ready = 0;
        for (long n = 0; n < count; n++) {
            unsigned slot = events[n].data;
            check(events[n].res == BLOCK, "request");
            check(buffers[slot][0] == (uint64_t)requests[slot].aio_offset / BLOCK, "wrong data");
            sum += buffers[slot][0] * 31;
            finished++;
            if (begun == work->count) continue;
            prepare(work, &requests[slot], slot, begun++);
            next[ready++] = &requests[slot];
        }
    }
}

int main(void)
{
    disk = open("/dev/vda", O_RDWR | O_DIRECT);
    check(disk >= 0, "/dev/vda");
    check(syscall(SYS_io_setup, DEPTH, &context) == 0, "io_setup");
    for (int slot = 0; slot < DEPTH; slot++) {
        check(!posix_memalign((void **)&buffers[slot], MIB, slot ? BLOCK : MIB), "memory");
        memset(buffers[slot], slot + 1, slot ? BLOCK : MIB);
    }
    for (int lap = 0; lap < LAPS; lap++)
        for (unsigned n = 0; n < sizeof works / sizeof *works; n++) {
            const struct work *work = &works[n];
            seed = n;
            unsigned long start = ticks();
            uint64_t sum = work->depth > 1 ? together(work) : one_by_one(work);
            printf("BENCH %s lap=%d result=%lx ticks=%lu\n", work->name, lap, (unsigned long)sum,
                   ticks() - start);
        }
    return 0;
}
