/* What a program without a C library asks of who runs it: two system calls of Linux. */

enum { WRITE = 64, EXIT = 93, YIELD = 124 };

#if defined(__riscv)

static inline long call(long number, long a, long b, long c)
{
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a7 __asm__("a7") = number;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a7) : "memory");
    return a0;
}

/* A hint that another CPU is waited for. */
static inline void relax(void)
{
    __asm__ volatile(".4byte 0x0100000f"); /* pause */
}

#define JUMP "j"
#define SET_STACK "la sp, stack_end"

#elif defined(__aarch64__)

static inline long call(long number, long a, long b, long c)
{
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x8 __asm__("x8") = number;
    /* Who answers it may answer in more registers than one. */
    __asm__ volatile("svc #0" : "+r"(x0), "+r"(x1), "+r"(x2) : "r"(x8) : "x3", "memory");
    return x0;
}

static inline void relax(void)
{
    __asm__ volatile("yield");
}

#define JUMP "b"
#define SET_STACK "adrp x9, stack_end\n add x9, x9, :lo12:stack_end\n mov sp, x9"

#endif

/* Where execution begins: with the registers as they are, or on a stack of the program's own. */
#define ENTER(function) __asm__(".text\n.globl _start\n_start: " JUMP " " #function "\n")
#define ENTER_ON_STACK(function)                                                                \
    __asm__(".text\n.globl _start\n_start: " SET_STACK "\n " JUMP " " #function "\n"            \
            ".bss\n.balign 16\n.skip 65536\nstack_end:\n.text\n")
