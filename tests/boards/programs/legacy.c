/* A disk by version 1 of virtio-mmio, as small teaching systems drive it: once by pages of 4 KiB,
 * once with neither a size of pages nor an alignment, and with a status that forgets its bits. */
#include "bare.h"

static struct {
    struct { u64 address; u32 length; u16 flags, next; } table[8];
    volatile struct { u16 flags, index, ring[8], event; } available;
    volatile struct { u16 flags, index; struct { u32 id, length; } ring[8]; } used __attribute__((aligned(4096)));
} queue __attribute__((aligned(4096)));
static struct { u32 type, reserved; u64 sector; } header;
static u8 data[512], status;

static void say(const char *what, u64 v) { text(what); text(" = "); hex(v); put('\n'); }

static void request(u32 type, u64 sector)
{
    header.type = type; header.sector = sector; status = 0xff;
    queue.table[0].address = (u64)&header; queue.table[0].length = 16; queue.table[0].flags = 1; queue.table[0].next = 1;
    queue.table[1].address = (u64)data; queue.table[1].length = 512; queue.table[1].flags = type ? 1 : 3; queue.table[1].next = 2;
    queue.table[2].address = (u64)&status; queue.table[2].length = 1; queue.table[2].flags = 2;
    u16 before = queue.used.index;
    queue.available.ring[queue.available.index % 8] = 0;
    queue.available.index++;
    __asm__ volatile("fence" ::: "memory");
    w4(VIRTIO + 0x50, 0);
    while (queue.used.index == before) ;
    __asm__ volatile("fence" ::: "memory");
    say("type", type); say("status", *(volatile u8 *)&status);
    say("head", queue.used.ring[before % 8].id); say("written", queue.used.ring[before % 8].length);
    say("interrupt", r4(VIRTIO + 0x60)); w4(VIRTIO + 0x64, r4(VIRTIO + 0x60)); say("acknowledged", r4(VIRTIO + 0x60));
}

static void clear(void) { for (u64 n = 0; n < sizeof queue; n++) ((volatile u8 *)&queue)[n] = 0; }

static void begin(void)
{
    clear();
    w4(VIRTIO + 0x70, 0); say("reset", r4(VIRTIO + 0x70));
    w4(VIRTIO + 0x70, 1); w4(VIRTIO + 0x70, 3); say("driver", r4(VIRTIO + 0x70));
    w4(VIRTIO + 0x14, 1); say("high features", r4(VIRTIO + 0x10)); w4(VIRTIO + 0x14, 0);
    say("flush", r4(VIRTIO + 0x10) >> 9 & 1); say("indirect", r4(VIRTIO + 0x10) >> 28 & 1);
    w4(VIRTIO + 0x24, 0); w4(VIRTIO + 0x20, 0);
    w4(VIRTIO + 0x30, 0); say("page", r4(VIRTIO + 0x40)); say("some", r4(VIRTIO + 0x34) >= 8);
}

void main(void)
{
    w1(UART + 3, 3); w1(UART + 2, 7);
    put('\n');
    say("magic", r4(VIRTIO)); say("version", r4(VIRTIO + 4)); say("device", r4(VIRTIO + 8)); say("vendor", r4(VIRTIO + 12));
    begin();
    w4(VIRTIO + 0x28, 4096); w4(VIRTIO + 0x38, 8); w4(VIRTIO + 0x3c, 4096); w4(VIRTIO + 0x40, (u64)&queue >> 12);
    say("page", r4(VIRTIO + 0x40) == (u64)&queue >> 12);
    w4(VIRTIO + 0x70, 7); say("ready", r4(VIRTIO + 0x70));
    say("capacity", r4(VIRTIO + 0x100)); say("high", r4(VIRTIO + 0x104)); say("byte", r1(VIRTIO + 0x101));
    for (int n = 0; n < 512; n++) data[n] = n * 7;
    request(1, 3);
    for (int n = 0; n < 512; n++) data[n] = 0;
    request(0, 3);
    u64 sum = 0;
    for (int n = 0; n < 512; n++) sum = sum * 31 + data[n];
    say("sum", sum);
    w4(VIRTIO + 0x40, 0); say("page", r4(VIRTIO + 0x40));
    begin();
    w4(VIRTIO + 0x70, r4(VIRTIO + 0x70) | 8);
    w4(VIRTIO + 0x28, 0); w4(VIRTIO + 0x38, 8); w4(VIRTIO + 0x3c, 0);
    w4(VIRTIO + 0x40, (u64)&queue); say("page", r4(VIRTIO + 0x40) == (u32)(u64)&queue);
    w4(VIRTIO + 0x70, 4);
    request(0, 3);
    w4(VIRTIO + 0x28, 4096);
    begin();
    w4(VIRTIO + 0x38, 8); w4(VIRTIO + 0x3c, 4096); w4(VIRTIO + 0x40, (u64)&queue >> 12);
    w4(VIRTIO + 0x70, 4);
    request(0, 3);
    w4(VIRTIO + 0x70, 0); say("reset", r4(VIRTIO + 0x70)); say("page", r4(VIRTIO + 0x40));
    w4(VIRTIO + 0x7000 + 0x30, 0); say("empty", r4(VIRTIO + 0x7000 + 8)); say("version", r4(VIRTIO + 0x7000 + 4));
    finish();
}
