/* Products of square matrices of doubles, the plain three loops. */
#include "runtime.h"

const char name[] = "matrix";

enum { N = 160, ROUNDS = 18 };

static double a[N][N], b[N][N], c[N][N];

u64 work(void)
{
    u64 random = 7, sum = 0;
    for (u32 i = 0; i < N; i++)
        for (u32 j = 0; j < N; j++) {
            a[i][j] = (double)(next_random(&random) % 1000) / 1000 - 0.5;
            b[i][j] = (double)(next_random(&random) % 1000) / 1000 - 0.5;
        }
    for (u32 round = 0; round < ROUNDS; round++) {
        for (u32 i = 0; i < N; i++)
            for (u32 j = 0; j < N; j++) {
                double dot = 0;
                for (u32 k = 0; k < N; k++)
                    dot += a[i][k] * b[k][j];
                c[i][j] = dot;
            }
        for (u32 i = 0; i < N; i++)
            for (u32 j = 0; j < N; j++)
                a[i][j] = c[i][j] * 0.125;
        sum += bits_of(c[round % N][N - 1 - round % N]);
    }
    return sum;
}
