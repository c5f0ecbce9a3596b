#include "bare.h"
#define APLIC_M 0xc000000ul
#define APLIC_S 0xd000000ul
#define FILE_M 0x24000000ul
#define FILE_S 0x28000000ul

#define csr_write(name, v) __asm__ volatile("csrw " #name ", %0" : : "r"((u64)(v)))
#define csr_do(instruction, name, v) ({                                                               \
    u64 value_ = 0;                                                                                   \
    __asm__ volatile(".option push\n.option norvc\n" instruction " %0, " #name ", %1\n.option pop"    \
                     : "+r"(value_) : "rJ"((u64)(v)) : "t5", "t6");                                   \
    value_;                                                                                           \
})
#define csr_swap(name, v) csr_do("csrrw", name, v)
#define csr_set(name, v) csr_do("csrrs", name, v) /* only a constant 0 writes nothing */
#define csr_clear(name, v) csr_do("csrrc", name, v)
/* By number, for assemblers that lack the names: miselect 0x350, mireg 0x351, mtopei 0x35c,
   mtopi 0xfb0, siselect 0x150, sireg 0x151, stopei 0x15c, stopi 0xdb0. */

static void say(const char *what, u64 v) { text(what); text(" = "); hex(v); put('\n'); }
static void caused(const char *what, u64 v)
{
    text(what); text(" = "); hex(v);
    if (cause) { text(" cause "); hex(cause); }
    cause = 0; put('\n');
}

static u64 m_read(u64 selected) { csr_swap(0x350, selected); return csr_set(0x351, 0); }
static void m_write(u64 selected, u64 v) { csr_swap(0x350, selected); csr_swap(0x351, v); }
static u64 s_read(u64 selected) { csr_swap(0x150, selected); return csr_set(0x151, 0); }
static void s_write(u64 selected, u64 v) { csr_swap(0x150, selected); csr_swap(0x151, v); }
static u64 iid(u64 top) { return top >> 16; } /* what else it tells depends on priorities */

static void state(const char *what)
{
    text(what);
    text(" mip "); hex(csr_read(mip) & 0xa00);
    text(" mtopei "); hex(csr_set(0x35c, 0));
    text(" stopei "); hex(csr_set(0x15c, 0));
    text(" mtopi "); hex(iid(csr_set(0xfb0, 0)));
    text(" stopi "); hex(iid(csr_set(0xdb0, 0)));
    put('\n');
}

/* What is reserved, and what is beyond the last identity, reads as zeros by the specification, and
   is illegal on this QEMU. */
static int known(u64 n)
{
    return n == 0x70 || n == 0x72 || (n & 0x38) == 0 || (n & 1 && n > 0x80);
}

static void selectors(void)
{
    text("selectors\n");
    csr_swap(0x350, ~0ul); say("miselect", csr_set(0x350, 0) & 0xff);
    for (u64 n = 0x40; n < 0x100; n++)
        if (n < 0x70 || known(n)) {
            cause = 0; u64 m = m_read(n); text("m "); hex(n); caused("", m);
            u64 s = s_read(n); text("s "); hex(n); caused("", s);
        }
}

static void file(void)
{
    text("file\n");
    csr_write(mideleg, 0x222); csr_write(mie, 0xa00);
    state("reset");
    m_write(0x70, 1); say("eidelivery", m_read(0x70));
    m_write(0x70, 2); say("eidelivery", m_read(0x70));
    m_write(0x70, 1);
    m_write(0xc0, ~0ul); say("eie0", m_read(0xc0));
    m_write(0xc6, ~0ul); say("eie6", m_read(0xc6));
    m_write(0xc8, ~0ul); say("eie8", m_read(0xc8));
    m_write(0xfe, ~0ul); say("eie62", m_read(0xfe));
    w4(FILE_M, 5); state("5"); say("eip0", m_read(0x80));
    w4(FILE_M, 3); state("3"); say("eip0", m_read(0x80));
    w4(FILE_M, 255); say("eip6", m_read(0x86));
    w4(FILE_M, 0); w4(FILE_M, 256); w4(FILE_M, 0x80000001); say("eip0", m_read(0x80)); say("eip6", m_read(0x86));
    w4(FILE_M + 4, 0x07000000); say("eip0 big", m_read(0x80));
    say("page", r4(FILE_M)); say("page", r4(FILE_M + 4)); say("page", r4(FILE_M + 0x800));
    m_write(0x72, 4); state("threshold 4"); m_write(0x72, 3); state("threshold 3");
    m_write(0x72, 1); state("threshold 1"); m_write(0x72, 0);
    m_write(0x70, 0); state("not delivered"); m_write(0x70, 1);
    say("swap", csr_swap(0x35c, 0)); state("claimed");
    say("set", csr_set(0x35c, 1)); state("claimed");
    say("clear", csr_clear(0x35c, 1)); state("claimed");
    csr_swap(0x35c, ~0ul); state("claimed"); csr_swap(0x35c, 0); state("none");
    m_write(0x80, 0xff00); say("eip0", m_read(0x80)); state("written");
    csr_swap(0x350, 0x80); say("set", csr_set(0x351, 3)); say("clear", csr_clear(0x351, 0xf000)); say("eip0", m_read(0x80));
    m_write(0xc0, 1ul << 9); state("disabled"); m_write(0xc0, ~0ul);
    state("before the end");
    m_write(0x80, 0);
    state("empty");
}

static void both(void)
{
    text("both\n");
    s_write(0x70, 1); s_write(0xc0, ~0ul);
    w4(FILE_S, 9); state("s"); w4(FILE_M, 4); state("m");
    say("sip", csr_read(sip) & 0xa00); csr_write(mie, 0); state("masked"); csr_write(mie, 0xa00);
    csr_write(mideleg, 0); state("not delegated"); csr_write(mideleg, 0x222);
    say("stopei", csr_swap(0x15c, 0)); say("mtopei", csr_swap(0x35c, 0)); state("none");
}

static void domains(void)
{
    text("domains\n");
    w4(APLIC_M, ~0u); say("domaincfg", r4(APLIC_M)); say("domaincfg", r4(APLIC_S)); w4(APLIC_S, 0x100);
    w4(APLIC_M + 0x1bc0, FILE_M >> 12); w4(APLIC_M + 0x1bc4, 0); w4(APLIC_M + 0x1bc8, FILE_S >> 12); w4(APLIC_M + 0x1bcc, 0);
    w4(APLIC_S + 0x1bc0, ~0u); say("of the child", r4(APLIC_S + 0x1bc0));
    m_write(0xc0, ~0ul); m_write(0x70, 1);
    w4(APLIC_M + 4 * 40, 1); w4(APLIC_M + 0x3000 + 4 * 40, 17); say("target", r4(APLIC_M + 0x3000 + 4 * 40));
    w4(APLIC_M + 0x1edc, 40); state("enabled");
    w4(APLIC_M + 0x1cdc, 40); state("detached source"); say("setip1", r4(APLIC_M + 0x1c04)); csr_swap(0x35c, 0);
    w4(APLIC_M + 0x1fdc, 40); w4(APLIC_M + 0x1cdc, 40); say("setip1", r4(APLIC_M + 0x1c04)); state("disabled");
    w4(APLIC_M, 0); w4(APLIC_M + 0x1edc, 40); state("domain off"); w4(APLIC_M, 0x100); state("domain on"); csr_swap(0x35c, 0);
    w4(APLIC_M + 0x3000, 21); state("genmsi"); csr_swap(0x35c, 0); state("claimed");
    /* the serial port, delegated, by level */
    w4(APLIC_M + 4 * 10, 0x400); w4(APLIC_S + 4 * 10, 6); w4(APLIC_S + 0x3000 + 4 * 10, 33);
    say("sourcecfg", r4(APLIC_M + 4 * 10)); say("sourcecfg", r4(APLIC_S + 4 * 10)); say("target", r4(APLIC_S + 0x3000 + 4 * 10));
    w4(APLIC_S + 0x1edc, 10); state("low");
    w1(UART + 2, 7); w1(UART + 1, 2); state("high"); say("in", r4(APLIC_S + 0x1d00));
    say("stopei", csr_swap(0x15c, 0)); state("claimed");
    w4(APLIC_S + 0x1cdc, 10); state("still high"); say("stopei", csr_swap(0x15c, 0));
    w1(UART + 1, 0); say("in", r4(APLIC_S + 0x1d00)); state("low");
    w4(APLIC_S + 0x3000, 34); state("genmsi of s"); csr_swap(0x15c, 0);
    w4(APLIC_S + 4 * 11, 0x400); say("no child", r4(APLIC_S + 4 * 11));
}

static void widths(void)
{
    text("widths\n");
    caused("1", r1(FILE_M)); caused("2", r2(FILE_M)); caused("8", r8(FILE_M)); caused("1", r1(APLIC_M)); caused("8", r8(APLIC_M));
    w8(FILE_M, 6); caused("w8", m_read(0x80)); w2(FILE_M, 6); caused("w2", m_read(0x80)); w4(FILE_M + 0x10, 6); caused("w4", m_read(0x80));
    caused("behind", r4(FILE_M + 0x1000)); caused("behind", r4(FILE_S + 0x1000));
}

void main(void)
{
    selectors();
    file();
    both();
    domains();
    widths();
    finish();
}
