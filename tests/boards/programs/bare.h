/* A hart without an operating system: start, accesses of every width, text on the serial port. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define TEST 0x100000ul
#define RTC 0x101000ul
#define CLINT 0x2000000ul
#define PLIC 0xc000000ul
#define UART 0x10000000ul
#define VIRTIO 0x10001000ul
#define FW_CFG 0x10100000ul
#define FLASH 0x22000000ul

#define csr_read(name) ({ u64 value_; __asm__ volatile("csrr %0, " #name : "=r"(value_)); value_; })

volatile u64 cause; /* of the last trap, which an access took that was passed over */

__asm__(
    ".option push\n.option norvc\n"
    ".section .text.start\n"
    ".globl _start\n"
    "_start:\n"
    "  la sp, stack_top\n"
    "  la t0, trap\n"
    "  csrw mtvec, t0\n"
    "  j main\n"
    ".balign 4\n"
    "trap:\n" /* only accesses trap, and they give t5 and t6 away */
    "  csrr t5, mcause\n"
    "  la t6, cause\n"
    "  sd t5, 0(t6)\n"
    "  csrr t5, mepc\n"
    "  addi t5, t5, 4\n"
    "  csrw mepc, t5\n"
    "  mret\n"
    ".option pop\n"
    ".text\n");

#define LOAD(name, instruction)                                                                       \
    static inline u64 name(u64 address)                                                               \
    {                                                                                                 \
        u64 value = 0x5a5a;                                                                           \
        __asm__ volatile(".option push\n.option norvc\n" instruction " %0, 0(%1)\n.option pop"        \
                         : "+r"(value) : "r"(address) : "t5", "t6", "memory");                        \
        return value;                                                                                 \
    }
#define STORE(name, instruction)                                                                      \
    static inline void name(u64 address, u64 value)                                                   \
    {                                                                                                 \
        __asm__ volatile(".option push\n.option norvc\n" instruction " %1, 0(%0)\n.option pop"        \
                         : : "r"(address), "r"(value) : "t5", "t6", "memory");                        \
    }
LOAD(r1, "lbu")
LOAD(r2, "lhu")
LOAD(r4, "lwu")
LOAD(r8, "ld")
STORE(w1, "sb")
STORE(w2, "sh")
STORE(w4, "sw")
STORE(w8, "sd")

static char said[65536]; /* until the end: the serial port is one of the devices under test */
static u64 length;

static inline void put(char letter)
{
    said[length++] = letter;
}

static inline void print(void)
{
    for (u64 n = 0; n < length; n++) {
        while (!(r1(UART + 5) & 0x20))
            ;
        w1(UART, said[n]);
    }
}

static inline void text(const char *string)
{
    while (*string)
        put(*string++);
}

static inline void hex(u64 value)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        if (value >> shift || !shift)
            put("0123456789abcdef"[value >> shift & 15]);
}

static inline void finish(void)
{
    text("end\n");
    print();
    w4(TEST, 0x5555);
    for (;;)
        ;
}
