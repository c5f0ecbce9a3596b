/* An interpreter of byte codes: a switch in a loop, indirect jumps that are hard to foresee. */
#include "runtime.h"

const char name[] = "bytecode";

enum op { PUSH, LOAD, STORE, ADD, HALVE, ODD, DUP, LESS, JUMP, JUMP_UNLESS, END };

enum { START, N, STEPS, LIMIT = 30000 };

/* Adds up the lengths of the Collatz sequences that start below LIMIT. */
static const i32 program[] = {
    /*  0 */ PUSH, 1, STORE, START,
    /*  4 */ LOAD, START, STORE, N,                   /* for each start */
    /*  8 */ PUSH, 1, LOAD, N, LESS, JUMP_UNLESS, 43, /*   while 1 < n */
    /* 15 */ LOAD, STEPS, PUSH, 1, ADD, STORE, STEPS, /*     count */
    /* 22 */ LOAD, N, DUP, ODD, JUMP_UNLESS, 38,      /*     if n is odd */
    /* 28 */ DUP, DUP, ADD, ADD, PUSH, 1, ADD,        /*       3 n + 1 */
    /* 35 */ JUMP, 39, END,
    /* 38 */ HALVE,                                   /*     else n / 2 */
    /* 39 */ STORE, N, JUMP, 8,
    /* 43 */ LOAD, START, PUSH, 1, ADD, STORE, START,
    /* 50 */ LOAD, START, PUSH, LIMIT, LESS, JUMP_UNLESS, 59, JUMP, 4,
    /* 59 */ END,
};

u64 work(void)
{
    i64 stack[16], variable[3] = { 0 }, *top = stack;
    const i32 *pc = program;
    for (;;) {
        switch (*pc++) {
        case PUSH: *top++ = *pc++; break;
        case LOAD: *top++ = variable[*pc++]; break;
        case STORE: variable[*pc++] = *--top; break;
        case ADD: top--; top[-1] += top[0]; break;
        case HALVE: top[-1] >>= 1; break;
        case ODD: top[-1] &= 1; break;
        case DUP: top[0] = top[-1]; top++; break;
        case LESS: top--; top[-1] = top[-1] < top[0]; break;
        case JUMP: pc = program + *pc; break;
        case JUMP_UNLESS: pc = *--top ? pc + 1 : program + *pc; break;
        case END: return variable[STEPS];
        }
    }
}
