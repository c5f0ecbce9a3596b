/* The orbits of the giant planets with 64 bits of precision: the x87. */
#include "../runtime.h"

const char name[] = "planets";

enum { BODIES = 5, STEPS = 50000 };

/* Position in astronomical units, velocity in units a year, mass in suns times 4 pi squared. */
static struct body { long double x[3], v[3], mass; } body[BODIES] = {
    { { 0, 0, 0 }, { 0, 0, 0 }, 39.47841760435743L },
    { { 4.84L, -1.16L, -0.10L }, { 0.61L, 2.81L, -0.02L }, 0.0377L },
    { { 8.34L, 4.12L, -0.40L }, { -1.01L, 1.82L, 0.01L }, 0.0113L },
    { { 12.89L, -15.11L, -0.22L }, { 1.08L, 0.87L, -0.01L }, 0.0017L },
    { { 15.38L, -25.92L, 0.18L }, { 0.98L, 0.59L, -0.03L }, 0.0020L },
};

static void advance(long double dt)
{
    for (u32 i = 0; i < BODIES; i++)
        for (u32 j = i + 1; j < BODIES; j++) {
            long double d[3], square = 0;
            for (u32 axis = 0; axis < 3; axis++) {
                d[axis] = body[i].x[axis] - body[j].x[axis];
                square += d[axis] * d[axis];
            }
            long double pull = dt / (square * __builtin_sqrtl(square));
            for (u32 axis = 0; axis < 3; axis++) {
                body[i].v[axis] -= d[axis] * body[j].mass * pull;
                body[j].v[axis] += d[axis] * body[i].mass * pull;
            }
        }
    for (u32 i = 0; i < BODIES; i++)
        for (u32 axis = 0; axis < 3; axis++)
            body[i].x[axis] += dt * body[i].v[axis];
}

u64 work(void)
{
    for (u32 step = 0; step < STEPS; step++)
        advance(0.001L);
    u64 sum = 0;
    for (u32 i = 0; i < BODIES; i++)
        sum = sum * 31 + bits_of(body[i].x[0]);
    return sum;
}
