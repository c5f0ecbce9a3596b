/* Threads, locks, messages and processes on several harts: prints RIGHT if every count is. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 100000, MESSAGES = 50000, FORKS = 40 };

static atomic_long total, misread;
static atomic_int data, flag;
static _Atomic unsigned char bytes[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long guarded;

static void *count(void *argument) {
    unsigned random = (unsigned)(long)argument * 7919 + 1;
    for (int i = 0; i < ROUNDS; i++) {
        atomic_fetch_add(&total, 1);
        random = random * 1103515245 + 12345;
        atomic_fetch_add(&bytes[random >> 26], 1);
        if (i % 16 == 0) {
            pthread_mutex_lock(&lock);
            guarded++;
            pthread_mutex_unlock(&lock);
        }
        long seen = atomic_load(&total);
        atomic_compare_exchange_weak(&total, &seen, seen);
    }
    return 0;
}

/* The hint of Zihintpause, which this gcc cannot spell: whoever is waited for may need the hart. */
static void pause_a_bit(void) { __asm__ volatile(".4byte 0x0100000f"); }

/* Message passing: data is written before the flag, so whoever sees the flag sees the data. */
static void *produce(void *unused) {
    for (int i = 1; i <= MESSAGES; i++) {
        while (atomic_load_explicit(&flag, memory_order_acquire)) pause_a_bit();
        atomic_store_explicit(&data, i, memory_order_relaxed);
        atomic_store_explicit(&flag, 1, memory_order_release);
    }
    return unused;
}

static void *consume(void *unused) {
    for (int i = 1; i <= MESSAGES; i++) {
        while (!atomic_load_explicit(&flag, memory_order_acquire)) pause_a_bit();
        if (atomic_load_explicit(&data, memory_order_relaxed) != i) misread++;
        atomic_store_explicit(&flag, 0, memory_order_release);
    }
    return unused;
}

/* Copy on write and the translations of several harts: each child sees its own memory. */
static int forks(void) {
    int right = 0;
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            char *block = malloc(1 << 20);
            memset(block, i, 1 << 20);
            _exit(block[12345] == (char)i ? 7 : 1);
        }
        int status;
        waitpid(child, &status, 0);
        right += WEXITSTATUS(status) == 7;
    }
    return right;
}

int main(void) {
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], 0, count, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], 0);
    pthread_create(&threads[0], 0, produce, 0);
    pthread_create(&threads[1], 0, consume, 0);
    pthread_join(threads[0], 0);
    pthread_join(threads[1], 0);
    int children = forks();
    printf("total %ld guarded %ld misread %ld forks %d\n", total, guarded, misread, children);
    int right = total == (long)THREADS * ROUNDS && guarded == THREADS * (ROUNDS / 16) &&
                misread == 0 && children == FORKS;
    puts(right ? "RIGHT" : "WRONG");
    return !right;
}
