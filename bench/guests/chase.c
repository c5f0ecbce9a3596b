/* Pointer chasing through 16 MiB in an order that no prefetcher guesses. */
#include "runtime.h"

const char name[] = "chase";

enum { NODES = 1 << 18, STEPS = 6000000 };

static struct node {
    struct node *next;
    u64 value[7];
} nodes[NODES];

u64 work(void)
{
    static u32 order[NODES];
    u64 random = 88172645463325252;
    for (u32 i = 0; i < NODES; i++)
        order[i] = i;
    for (u32 i = NODES - 1; i > 0; i--) {           /* Sattolo: one cycle through all nodes */
        u32 j = next_random(&random) % i, swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (u32 i = 0; i < NODES; i++) {
        nodes[order[i]].next = &nodes[order[(i + 1) % NODES]];
        nodes[order[i]].value[0] = i;
    }
    u64 sum = 0;
    struct node *node = nodes;
    for (u32 step = 0; step < STEPS; step++) {
        sum += node->value[0];
        node = node->next;
    }
    return sum;
}
