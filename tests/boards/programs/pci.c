/* What software finds in PCI configuration space, and a transitional virtio disk in slot 1 by its
 * registers and by its ports: values, interrupts by the pin, and where nothing is. */
#include "bare.h"
#define ECAM 0x30000000ul
#define PORTS 0x3001000ul
#define LOW 0x40000000ul
#define HIGH 0x400000000ul
#define CONFIG(slot, at) (ECAM + ((slot) << 15) + (at))
#define SOURCE 33

static struct {
    struct { u64 address; u32 length; u16 flags, next; } table[1024];
    volatile struct { u16 flags, index, ring[1024], event; } available;
    volatile struct { u16 flags, index; struct { u32 id, length; } ring[1024]; } used __attribute__((aligned(4096)));
} queue __attribute__((aligned(4096)));
static struct { u32 type, reserved; u64 sector; } header;
static u8 answer[20], status;

static void say(const char *what, u64 v) { text(what); text(" = "); hex(v); put('\n'); }
static void clear(void) { for (u64 n = 0; n < sizeof queue; n++) ((volatile u8 *)&queue)[n] = 0; }

static void pins(const char *what)
{
    text(what); put('\n');
    say(" status", r2(CONFIG(1, 6)) >> 3 & 1);
    say(" pending", r4(PLIC + 0x1004) >> 1 & 1);
}

static void functions(void)
{
    say("host", r4(CONFIG(0, 0))); say("class", r4(CONFIG(0, 8)) >> 8);
    say("disk", r4(CONFIG(1, 0))); say("class", r4(CONFIG(1, 8)) >> 8); say("subsystem", r4(CONFIG(1, 0x2c)));
    say("header", r1(CONFIG(1, 0xe))); say("pin", r1(CONFIG(1, 0x3d)));
    say("no slot", r4(CONFIG(7, 0))); say("half", r2(CONFIG(7, 2))); say("byte", r1(CONFIG(7, 1)));
    say("no function", r4(CONFIG(1, 0x1000))); say("no bus", r4(ECAM + (5ul << 20)));
    w4(CONFIG(7, 4), 7); say("no slot", r4(CONFIG(7, 4)));
    w1(CONFIG(1, 0x3c), 0x5a); say("line", r1(CONFIG(1, 0x3c)));
    w4(CONFIG(1, 0), 0); say("disk", r4(CONFIG(1, 0)));
    w2(CONFIG(1, 4), 0xffff); say("command", r2(CONFIG(1, 4)) & 0x407); w2(CONFIG(1, 4), 0); say("command", r2(CONFIG(1, 4)));
    for (int n = 0; n < 6; n++) {
        say("before", r4(CONFIG(1, 0x10 + 4 * n)));
        w4(CONFIG(1, 0x10 + 4 * n), 0xffffffff); say("ones", r4(CONFIG(1, 0x10 + 4 * n)));
    }
    w4(CONFIG(1, 0x30), 0); say("rom", r4(CONFIG(1, 0x30)) & 1);
}

static void capabilities(void)
{
    say("listed", r2(CONFIG(1, 6)) >> 4 & 1);
    for (u64 kind = 1; kind < 6; kind++)
        for (u64 at = r1(CONFIG(1, 0x34)); at; at = r1(CONFIG(1, at + 1)))
            if (r1(CONFIG(1, at)) == 9 && r1(CONFIG(1, at + 3)) == kind) {
                say("structure", kind); say(" length", r1(CONFIG(1, at + 2)));
                if (kind != 5) { say(" bar", r1(CONFIG(1, at + 4))); say(" offset", r4(CONFIG(1, at + 8))); say(" size", r4(CONFIG(1, at + 12))); }
                if (kind == 2) say(" multiplier", r4(CONFIG(1, at + 16)));
            }
    for (u64 at = r1(CONFIG(1, 0x34)); at; at = r1(CONFIG(1, at + 1)))
        if (r1(CONFIG(1, at)) == 0x11) {
            say("vectors", r2(CONFIG(1, at + 2))); say(" table", r4(CONFIG(1, at + 4))); say(" pending", r4(CONFIG(1, at + 8)));
            w2(CONFIG(1, at + 2), 0xffff); say(" control", r2(CONFIG(1, at + 2))); w2(CONFIG(1, at + 2), 0);
        }
}

static void place(void)
{
    w4(CONFIG(1, 0x10), 0x1000); w4(CONFIG(1, 0x14), LOW); w4(CONFIG(1, 0x20), 0x4000); w4(CONFIG(1, 0x24), HIGH >> 32);
    say("off", r4(HIGH + 0x4000)); say("window", r4(LOW + 0x5000));
    w2(CONFIG(1, 4), 7);
    say("ports", r4(CONFIG(1, 0x10))); say("table", r4(CONFIG(1, 0x14))); say("low", r4(CONFIG(1, 0x20))); say("high", r4(CONFIG(1, 0x24)));
    say("masked", r4(LOW + 12)); w4(LOW, 0xfee00000); say("address", r4(LOW)); w4(LOW + 8, 77); say("data", r4(LOW + 8));
    w4(LOW + 12, 0); say("unmasked", r4(LOW + 12)); w4(LOW + 12, 0xffffffff); say("masked", r4(LOW + 12) & 1);
    say("pending", r4(LOW + 0x800));
}

static void fill(void)
{
    header.type = 8; status = 0xff;
    queue.table[0].address = (u64)&header; queue.table[0].length = 16; queue.table[0].flags = 1; queue.table[0].next = 1;
    queue.table[1].address = (u64)answer; queue.table[1].length = 20; queue.table[1].flags = 3; queue.table[1].next = 2;
    queue.table[2].address = (u64)&status; queue.table[2].length = 1; queue.table[2].flags = 2;
    queue.available.ring[queue.available.index % 1024] = 0;
    queue.available.index++;
    __asm__ volatile("fence" ::: "memory");
}

static void wait(u16 before)
{
    while (queue.used.index == before) ;
    __asm__ volatile("fence" ::: "memory");
    say("answer", *(volatile u8 *)answer); say("status", *(volatile u8 *)&status); say("written", queue.used.ring[before % 1024].length);
}

static void registers(void)
{
    u64 common = HIGH + 0x4000, isr = common + 0x1000, device = common + 0x2000, notify = common + 0x3000;
    w1(common + 0x14, 0); say("reset", r1(common + 0x14)); w1(common + 0x14, 1); w1(common + 0x14, 3);
    w4(common, 1); say("version 1", r4(common + 4) & 1); w4(common, 2); say("no more", r4(common + 4));
    w4(common, 0); say("indirect", r4(common + 4) >> 28 & 1);
    w4(common + 8, 0); w4(common + 12, 0); w4(common + 8, 1); w4(common + 12, 1); say("accepted", r4(common + 12));
    w1(common + 0x14, 11); say("agreed", r1(common + 0x14));
    say("vector", r2(common + 0x10)); w2(common + 0x10, 99); say("vector", r2(common + 0x10)); w2(common + 0x10, 0); say("vector", r2(common + 0x10));
    w2(common + 0x10, 0xffff);
    w2(common + 0x16, 500); say("no queue", r2(common + 0x18)); w2(common + 0x16, 0); say("offset", r2(common + 0x1e));
    w2(common + 0x18, 8); say("size", r2(common + 0x18));
    w4(common + 0x20, (u64)&queue.table); w4(common + 0x24, 0); w4(common + 0x28, (u64)&queue.available); w4(common + 0x2c, 0);
    w4(common + 0x30, (u64)&queue.used); w4(common + 0x34, 0);
    say("place", r4(common + 0x20) == (u32)(u64)&queue.table); say("enabled", r2(common + 0x1c)); w2(common + 0x1c, 1); say("enabled", r2(common + 0x1c));
    w1(common + 0x14, 15); say("ready", r1(common + 0x14));
    say("capacity", r4(device)); say("byte", r1(device + 1)); say("half", r2(device));
    pins("idle");
    queue.available.index = queue.used.index = 0;
    header.type = 8; status = 0xff;
    queue.table[0].address = (u64)&header; queue.table[0].length = 16; queue.table[0].flags = 1; queue.table[0].next = 1;
    queue.table[1].address = (u64)answer; queue.table[1].length = 20; queue.table[1].flags = 3; queue.table[1].next = 2;
    queue.table[2].address = (u64)&status; queue.table[2].length = 1; queue.table[2].flags = 2;
    queue.available.ring[0] = 0; queue.available.index = 1;
    __asm__ volatile("fence" ::: "memory");
    w2(notify, 0); wait(0); pins("done");
    w2(CONFIG(1, 4), 0x407); say("status", r2(CONFIG(1, 6)) >> 3 & 1); w2(CONFIG(1, 4), 7);
    say("isr", r1(isr)); say("isr", r1(isr)); say("status", r2(CONFIG(1, 6)) >> 3 & 1);
    w1(common + 0x14, 0); say("reset", r1(common + 0x14)); say("enabled", r2(common + 0x1c));
}

static void ports(void)
{
    clear();
    w1(PORTS + 0x12, 0); w1(PORTS + 0x12, 1); w1(PORTS + 0x12, 3); say("driver", r1(PORTS + 0x12));
    say("indirect", r4(PORTS) >> 28 & 1); w4(PORTS + 4, 0);
    w2(PORTS + 0xe, 0); say("size", r2(PORTS + 0xc) > 0); say("page", r4(PORTS + 8));
    u64 size = r2(PORTS + 0xc), available = (u64)&queue + 16 * size, used = (available + 6 + 2 * size + 4095) & ~4095ul;
    w4(PORTS + 8, (u64)&queue >> 12); say("page", r4(PORTS + 8) == (u64)&queue >> 12);
    w1(PORTS + 0x12, 7);
    fill();
    w2(available + 4, 0); w2(available + 2, 1);
    __asm__ volatile("fence" ::: "memory");
    w2(PORTS + 0x10, 0);
    while (r2(used + 2) != 1) ;
    say("answer", *(volatile u8 *)answer); say("status", *(volatile u8 *)&status);
    say("isr", r1(PORTS + 0x13)); say("isr", r1(PORTS + 0x13)); say("capacity", r4(PORTS + 0x14));
    w4(PORTS + 8, 0); say("page", r4(PORTS + 8));
    w1(PORTS + 0x12, 0); say("reset", r1(PORTS + 0x12));
}

void main(void)
{
    w1(UART + 3, 3); w1(UART + 2, 7);
    put('\n');
    w4(PLIC + 4 * SOURCE, 1);
    functions(); capabilities(); place(); registers(); ports();
    w2(CONFIG(1, 4), 0); say("off", r4(HIGH + 0x4000));
    finish();
}
