/* The orbits of the Sun and the four giant planets: double precision, square roots, divisions. */
#include "runtime.h"

const char name[] = "nbody";

enum { BODIES = 5, STEPS = 360000 };

/* Position in astronomical units, velocity in units a year, mass in suns times 4 pi squared. */
static struct body { double x[3], v[3], mass; } body[BODIES] = {
    { { 0, 0, 0 }, { 0, 0, 0 }, 39.47841760435743 },
    { { 4.84, -1.16, -0.10 }, { 0.61, 2.81, -0.02 }, 0.0377 },
    { { 8.34, 4.12, -0.40 }, { -1.01, 1.82, 0.01 }, 0.0113 },
    { { 12.89, -15.11, -0.22 }, { 1.08, 0.87, -0.01 }, 0.0017 },
    { { 15.38, -25.92, 0.18 }, { 0.98, 0.59, -0.03 }, 0.0020 },
};

static void advance(double dt)
{
    for (u32 i = 0; i < BODIES; i++)
        for (u32 j = i + 1; j < BODIES; j++) {
            double d[3], square = 0;
            for (u32 axis = 0; axis < 3; axis++) {
                d[axis] = body[i].x[axis] - body[j].x[axis];
                square += d[axis] * d[axis];
            }
            double pull = dt / (square * __builtin_sqrt(square));
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
        advance(0.001);
    u64 sum = 0;
    for (u32 i = 0; i < BODIES; i++)
        sum = sum * 31 + bits_of(body[i].x[0]);
    return sum;
}
