#include "bare.h"
#define PRIORITY(n) (PLIC + 4 * (n))
#define CLAIM (PLIC + 0x200004)

static u64 serving; /* whether these are pending meanwhile is their gateways' affair */

static void state(const char *what)
{
    text(what);
    text(" pending "); hex(r4(PLIC + 0x1000) & ~serving);
    text(" meip "); hex(csr_read(mip) >> 11 & 1);
    put('\n');
}
static void say(const char *what, u64 v) { text(what); text(" = "); hex(v); put('\n'); }
static void claim(void) { u64 n = r4(CLAIM); serving |= 1ul << n; say("claim", n); }
static void complete(int n) { w4(CLAIM, n); serving &= ~(1ul << n); text("complete\n"); }
static void quiet(void) { while ((r1(UART + 5) & 0x60) != 0x60); }

static void uart_transmit(void)
{
    text("transmit\n");
    w1(UART + 1, 0); w1(UART + 2, 7); quiet();
    state("idle");
    w1(UART + 1, 2); state("enabled");
    claim(); state("claimed"); complete(10); state("completed");
    claim(); state("claimed");complete(10);
    w1(UART + 1, 2); state("enabled once more"); claim(); complete(10);
    w1(UART + 1, 0); state("disabled"); w1(UART + 1, 2); state("enabled again");
    say("iir", r1(UART + 2)); state("identified"); say("iir", r1(UART + 2)); state("identified again");
    claim(); complete(10);
    w1(UART, '1'); quiet(); state("sent"); claim(); state("claimed");
    w1(UART, '2'); quiet(); state("sent while served"); complete(10); state("completed");
    claim(); say("iir", r1(UART + 2)); complete(10); state("identified");
    w1(UART, '4'); quiet(); w1(UART + 1, 0); state("disabled"); claim(); complete(10);
    w1(UART + 1, 2); claim(); say("iir", r1(UART + 2)); complete(10); state("done");
    w1(UART + 1, 0);
}

static void uart_receive(int fifo)
{
    text("receive\n");
    w1(UART + 1, 0); w1(UART + 2, fifo ? 7 : 0); quiet(); w1(UART + 4, 0x10);
    w1(UART, 'a'); quiet(); w1(UART + 1, 1); state("received");
    u64 iir = r1(UART + 2), lsr = r1(UART + 5);
    claim(); complete(10); state("completed"); claim(); complete(10);
    w1(UART, 'b'); quiet(); state("received more");
    claim(); u64 first = r1(UART); state("read one"); complete(10); state("completed");
    claim(); u64 second = r1(UART); state("read all"); complete(10); state("completed");
    claim(); complete(10);
    u64 third = r1(UART);
    w1(UART + 1, 0); w1(UART + 4, 0); w1(UART + 2, 7);
    say("iir", iir & 0xf7); say("lsr", lsr); /* without "it has been there for a while" */ say("first", first); say("second", second); say("third", third);
    state("done");
}

static void clock_alarm(void)
{
    text("alarm\n");
    w4(RTC + 0x10, 1); state("enabled");
    w4(RTC + 0xc, 0); w4(RTC + 8, 1); state("rang"); say("status", r4(RTC + 0x18));
    claim(); state("claimed"); complete(11); state("completed"); claim(); complete(11);
    w4(RTC + 8, 1); state("rang again"); claim(); w4(RTC + 0x1c, 1); state("cleared"); complete(11); state("completed");
    w4(RTC + 8, 1); w4(RTC + 0x10, 0); state("disabled"); claim(); complete(11);
    w4(RTC + 0x10, 1); state("enabled"); claim(); w4(RTC + 0x10, 1); complete(11); state("enabled while served"); claim();
    w4(RTC + 0x1c, 0); complete(11); state("cleared");
    w4(RTC + 0x10, 0);
}

static struct { u64 address; u32 length; u16 flags, next; } table[8] __attribute__((aligned(4096)));
static volatile struct { u16 flags, index, ring[8], event; } available __attribute__((aligned(4096)));
static volatile struct { u16 flags, index; struct { u32 id, length; } ring[8]; u16 event; } used __attribute__((aligned(4096)));
static struct { u32 type, reserved; u64 sector; } header;
static u8 answer[32], status;

static void request(int notify)
{
    header.type = 8;
    table[0].address = (u64)&header; table[0].length = 16; table[0].flags = 1; table[0].next = 1;
    table[1].address = (u64)answer; table[1].length = 20; table[1].flags = 3; table[1].next = 2;
    table[2].address = (u64)&status; table[2].length = 1; table[2].flags = 2;
    status = 0x55;
    available.ring[available.index % 8] = 0;
    __asm__ volatile("fence" ::: "memory");
    u16 before = used.index;
    available.index++;
    __asm__ volatile("fence" ::: "memory");
    if (notify) { w4(VIRTIO + 0x50, 0); while (used.index == before); while (!(available.flags & 1) && !(r4(VIRTIO + 0x60) & 1)); }
}

static void disk(void)
{
    text("disk\n");
    w4(VIRTIO + 0x70, 0); w4(VIRTIO + 0x70, 3);
    w4(VIRTIO + 0x24, 0); w4(VIRTIO + 0x20, 0); w4(VIRTIO + 0x24, 1); w4(VIRTIO + 0x20, 1);
    w4(VIRTIO + 0x70, 11); w4(VIRTIO + 0x30, 0); w4(VIRTIO + 0x38, 8);
    w4(VIRTIO + 0x80, (u64)table); w4(VIRTIO + 0x84, 0); w4(VIRTIO + 0x90, (u64)&available); w4(VIRTIO + 0x94, 0);
    w4(VIRTIO + 0xa0, (u64)&used); w4(VIRTIO + 0xa4, 0); w4(VIRTIO + 0x44, 1); w4(VIRTIO + 0x70, 15);
    state("ready"); say("device", r4(VIRTIO + 0x70));
    request(1); say("status", status); say("interrupt", r4(VIRTIO + 0x60)); state("done");
    claim(); complete(1); state("completed"); claim(); complete(1);
    request(1); state("done again"); claim(); state("claimed"); complete(1); state("completed");
    request(1); w4(VIRTIO + 0x64, 2); say("interrupt", r4(VIRTIO + 0x60)); state("acknowledged another");
    w4(VIRTIO + 0x64, 1); say("interrupt", r4(VIRTIO + 0x60)); state("acknowledged"); claim();
    request(1); claim(); request(1); w4(VIRTIO + 0x64, 1); state("acknowledged while served"); request(1); state("done while served"); complete(1); state("completed"); claim(); w4(VIRTIO + 0x64, 3); complete(1); state("over");
    available.flags = 1; request(1); state("unwanted"); say("interrupt", r4(VIRTIO + 0x60)); available.flags = 0;
    request(1); w4(VIRTIO + 0x70, 0); state("reset"); say("interrupt", r4(VIRTIO + 0x60));
}

void main(void)
{
    w1(UART + 3, 3); w1(UART + 2, 7);
    put('\n');
    for (int n = 1; n < 12; n++) w4(PRIORITY(n), 1);
    w4(PLIC + 0x2000, 0xffe);
    uart_transmit(); uart_receive(0); uart_receive(1); clock_alarm(); disk();
    text("priorities\n");
    w4(PRIORITY(10), 0); w1(UART + 1, 2); state("priority 0"); claim(); w4(PRIORITY(10), 3); state("priority 3");
    w4(PLIC + 0x200000, 3); state("threshold 3"); w4(PLIC + 0x200000, 2); state("threshold 2");
    claim(); r1(UART + 2); w1(UART + 1, 0); complete(10); state("identified");
    finish();
}
