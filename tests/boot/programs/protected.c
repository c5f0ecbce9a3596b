/* What becomes of branches to places that are no targets, and of pointers that are not authentic:
 * a line for each, with the signal that it ends in. */

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#ifndef PROT_BTI
#define PROT_BTI 0x10
#endif

static sigjmp_buf resume;

static void handler(int number) { siglongjmp(resume, number); }

static void call(uintptr_t target) { __asm__ volatile("blr %0" ::"r"(target) : "x30", "memory"); }

static void jump(uintptr_t target)
{
    __asm__ volatile("adr x30, 1f\n mov x9, %0\n br x9\n1:" ::"r"(target) : "x9", "x30", "memory");
}

static void veneer(uintptr_t target)
{
    __asm__ volatile("adr x30, 1f\n mov x16, %0\n br x16\n1:" ::"r"(target) : "x16", "x30", "memory");
}

/* Through the first instruction of the guarded page, a BR X9 that may be reached by RET. */
static uintptr_t guarded;
static void from_within(uintptr_t target)
{
    __asm__ volatile("adr x30, 1f\n mov x9, %0\n mov x10, %1\n ret x10\n1:" ::"r"(target),
                     "r"(guarded)
                     : "x9", "x10", "x30", "memory");
}

static uintptr_t pointer;

static void authentic(uintptr_t modifier)
{
    uintptr_t signed_ = pointer;
    __asm__ volatile(".arch armv8.3-a\n pacia %0, %1" : "+r"(signed_) : "r"(modifier));
    __asm__ volatile(".arch armv8.3-a\n autia %0, %1" : "+r"(signed_) : "r"((uintptr_t)7));
    call(signed_);
}

static void data(uintptr_t modifier)
{
    uintptr_t signed_ = pointer;
    __asm__ volatile(".arch armv8.3-a\n pacda %0, %1" : "+r"(signed_) : "r"(modifier));
    __asm__ volatile(".arch armv8.3-a\n autda %0, %1" : "+r"(signed_) : "r"((uintptr_t)7));
    *(volatile uint32_t *)signed_;
}

/* The signal in which it ends; 0 if in none. */
static int end_of(void (*action)(uintptr_t), uintptr_t operand)
{
    int number = sigsetjmp(resume, 1);
    if (number == 0)
        action(operand);
    return number;
}

static void say(const char *name, int number)
{
    printf("%s: %s\n", name, number ? strsignal(number) : "fine");
}

static void tried(const char *name, void (*action)(uintptr_t), uintptr_t operand)
{
    say(name, end_of(action, operand));
}

/* A code may have as few as three bits, and be right by chance: what becomes of most. */
static void tried_often(const char *name, void (*action)(uintptr_t))
{
    enum { OFTEN = 100 };
    int faults = 0;
    for (uintptr_t modifier = 8; modifier < 8 + OFTEN; modifier++)
        faults += end_of(action, modifier) == SIGSEGV;
    say(name, faults > OFTEN / 2 ? SIGSEGV : 0);
}

int main(void)
{
    static const uint32_t code[] = {
        0xd61f0120, 0xd65f03c0, /* br x9 */
        0xd503201f, 0xd65f03c0, /* nop */
        0xd503245f, 0xd65f03c0, /* bti c */
        0xd503249f, 0xd65f03c0, /* bti j */
        0xd50324df, 0xd65f03c0, /* bti jc */
        0xd503233f, 0xd50323bf, 0xd65f03c0, /* paciasp, autiasp */
    };
    static const char *names[] = {"nop", "bti c", "bti j", "bti jc", "paciasp"};
    static const struct { const char *name; void (*branch)(uintptr_t); } branches[] = {
        {"call", call}, {"jump", jump}, {"veneer", veneer}, {"jump from within", from_within},
    };
    char text[64];

    printf("pauth %d, generic %d, bti %d\n", (int)(getauxval(AT_HWCAP) >> 30 & 1),
           (int)(getauxval(AT_HWCAP) >> 31 & 1), (int)(getauxval(AT_HWCAP2) >> 17 & 1));
    signal(SIGILL, handler);
    signal(SIGSEGV, handler);
    for (int protection = 0; protection < 2; protection++) {
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memcpy(page, code, sizeof code);
        __builtin___clear_cache(page, (char *)page + sizeof code);
        if (mprotect(page, 4096, PROT_READ | PROT_EXEC | (protection ? PROT_BTI : 0)))
            puts("mprotect failed");
        guarded = (uintptr_t)page;
        for (unsigned b = 0; b < sizeof branches / sizeof *branches; b++)
            for (unsigned t = 0; t < sizeof names / sizeof *names; t++)
                for (int again = 0; again < 3; again++) {
                    sprintf(text, "%s to %s %s", branches[b].name, names[t],
                            protection ? "guarded" : "not guarded");
                    tried(text, branches[b].branch, guarded + 8 + 8 * t);
                }
    }
    pointer = guarded + 16;
    tried("an authentic pointer", authentic, 7);
    tried_often("those that are not", authentic);
    tried("authentic data", data, 7);
    tried_often("data that are not", data);
    return 0;
}
