/* The Mandelbrot set: short loops of double arithmetic that end on a comparison. */
#include "runtime.h"

const char name[] = "mandelbrot";

enum { WIDTH = 320, HEIGHT = 240, LIMIT = 1100 };

u64 work(void)
{
    u64 sum = 0;
    for (u32 row = 0; row < HEIGHT; row++)
        for (u32 column = 0; column < WIDTH; column++) {
            double cx = -2.2 + 3.2 * column / WIDTH, cy = -1.2 + 2.4 * row / HEIGHT;
            double x = 0, y = 0;
            u32 count = 0;
            while (count < LIMIT && x * x + y * y <= 4) {
                double next = x * x - y * y + cx;
                y = 2 * x * y + cy;
                x = next;
                count++;
            }
            sum = sum * 3 + count;
        }
    return sum;
}
