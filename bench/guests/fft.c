/* Fast Fourier transforms of 16384 complex doubles, radix 2, in place. */
#include "runtime.h"

const char name[] = "fft";

enum { LOG = 14, N = 1 << LOG, ROUNDS = 100 };

static double re[N], im[N], cosine[N / 2], sine[N / 2];

/* Roots of unity by halving angles from a quarter turn, so that no library is needed. */
static void make_roots(void)
{
    cosine[0] = 1, sine[0] = 0;
    double c = 0, s = 1;                              /* the angle of index N / 4 */
    for (u32 step = N / 4; step; step /= 2) {
        for (u32 i = step; i < N / 2; i += 2 * step) {
            cosine[i] = cosine[i - step] * c - sine[i - step] * s;
            sine[i] = sine[i - step] * c + cosine[i - step] * s;
        }
        double half = __builtin_sqrt((1 + c) / 2);
        s = s / (2 * half);
        c = half;
    }
}

static void transform(void)
{
    for (u32 i = 0, j = 0; i < N; i++) {
        if (i < j) {
            double swap = re[i];
            re[i] = re[j], re[j] = swap;
            swap = im[i];
            im[i] = im[j], im[j] = swap;
        }
        u32 bit = N / 2;
        for (; bit && j & bit; bit /= 2)
            j ^= bit;
        j ^= bit;
    }
    for (u32 half = 1; half < N; half *= 2)
        for (u32 k = 0; k < half; k++) {
            double c = cosine[k * (N / 2 / half)], s = sine[k * (N / 2 / half)];
            for (u32 i = k; i < N; i += 2 * half) {
                double x = re[i + half] * c - im[i + half] * s;
                double y = re[i + half] * s + im[i + half] * c;
                re[i + half] = re[i] - x, im[i + half] = im[i] - y;
                re[i] += x, im[i] += y;
            }
        }
}

u64 work(void)
{
    u64 random = 3, sum = 0;
    make_roots();
    for (u32 i = 0; i < N; i++)
        re[i] = (double)(next_random(&random) % 2001) - 1000, im[i] = 0;
    for (u32 round = 0; round < ROUNDS; round++) {
        transform();
        for (u32 i = 0; i < N; i++)
            re[i] *= 1.0 / 128, im[i] *= 1.0 / 128;
        sum ^= bits_of(re[round * 97 + 1]) + bits_of(im[round * 89 + 2]);
    }
    return sum;
}
