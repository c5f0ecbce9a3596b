/* Work that threads share: primes are counted in pieces, and whoever is free takes the next one.
 * The same work is done by one, two and four threads, in two laps each. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { LIMIT = 3000000, PIECE = 2000, LAPS = 2, MOST = 4 };

static atomic_int next;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long primes, sum;

static unsigned long ticks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 10000000ul + now.tv_nsec / 100;
}

static int prime(int n)
{
    for (int divisor = 2; divisor * divisor <= n; divisor++)
        if (n % divisor == 0) return 0;
    return n > 1;
}

static void *work(void *unused)
{
    for (int first; (first = atomic_fetch_add(&next, PIECE)) < LIMIT;) {
        unsigned long found = 0, total = 0;
        for (int n = first; n < first + PIECE; n++)
            if (prime(n)) found++, total += n;
        pthread_mutex_lock(&lock);
        primes += found;
        sum += total;
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

int main(void)
{
    for (int threads = 1; threads <= MOST; threads *= 2)
        for (int lap = 0; lap < LAPS; lap++) {
            pthread_t workers[MOST];
            unsigned long start = ticks();
            next = primes = sum = 0;
            for (int n = 0; n < threads; n++) pthread_create(&workers[n], 0, work, 0);
            for (int n = 0; n < threads; n++) pthread_join(workers[n], 0);
            printf("BENCH threads_%d lap=%d result=%lx ticks=%lu\n", threads, lap,
                   sum * 31 + primes, ticks() - start);
        }
    return 0;
}
