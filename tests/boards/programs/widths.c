/* Accesses of every width to every device of the board, and what came of each, one a line. */
#include "bare.h"

#define EACH(size) for (int size = 1; size <= 8; size *= 2)

static u64 load(u64 address, int size)
{
    return size == 1 ? r1(address) : size == 2 ? r2(address) : size == 4 ? r4(address) : r8(address);
}

static void store(u64 address, int size, u64 value)
{
    if (size == 1)
        w1(address, value);
    else if (size == 2)
        w2(address, value);
    else if (size == 4)
        w4(address, value);
    else
        w8(address, value);
}

static void begin(const char *name, u64 offset, int size)
{
    text(name);
    put('+');
    hex(offset);
    put('.');
    put('0' + size);
    cause = 0;
}

static void end(void)
{
    if (cause) {
        text(" fault ");
        hex(cause);
    }
    put('\n');
}

static void read(const char *name, u64 base, u64 offset, int size)
{
    begin(name, offset, size);
    u64 value = load(base + offset, size);
    if (!cause) {
        text(" = ");
        hex(value);
    }
    end();
}

static void touch(const char *name, u64 base, u64 offset, int size) /* what is read varies */
{
    begin(name, offset, size);
    load(base + offset, size);
    end();
}

static void write(const char *name, u64 base, u64 offset, int size, u64 value)
{
    begin(name, offset, size);
    text(" <- ");
    hex(value);
    store(base + offset, size, value);
    end();
}

static void clint(void)
{
    EACH(size) { write("msip", CLINT, 0, size, 0); read("msip", CLINT, 0, size); }
    write("msip", CLINT, 1, 1, 1);
    write("msip", CLINT, 2, 2, 1);
    write("msip", CLINT, 0, 4, 0xfffffffe);
    read("msip", CLINT, 0, 4);
    for (int at = 0; at < 8; at++)
        EACH(size) {
            if (at % size)
                continue;
            w8(CLINT + 0x4000, 0x1122334455667788);
            read("mtimecmp", CLINT, 0x4000 + at, size);
            write("mtimecmp", CLINT, 0x4000 + at, size, 0x7f7f7f7f7f7f7f7f);
            read("mtimecmp", CLINT, 0x4000, 8);
        }
    w8(CLINT + 0x4000, -1ul);
    EACH(size) touch("mtime", CLINT, 0xbff8, size);
    touch("mtime", CLINT, 0xbffc, 4);
    EACH(size) { read("clint gap", CLINT, 0x8000, size); write("clint gap", CLINT, 0x8000, size, 5); }
}

static void plic(void)
{
    EACH(size) { write("priority", PLIC, 40, size, 0x0707070707070703); read("priority", PLIC, 40, size); read("priority", PLIC, 40, 4); }
    write("priority", PLIC, 41, 1, 1);
    write("priority", PLIC, 42, 2, 1);
    read("priority", PLIC, 40, 4);
    write("priority", PLIC, 40, 4, 0xff);
    read("priority", PLIC, 40, 4);
    write("priority", PLIC, 0, 4, 0xff);
    read("priority", PLIC, 0, 4);
    EACH(size) { read("pending", PLIC, 0x1000, size); write("pending", PLIC, 0x1000, size, 1); }
    EACH(size) { write("enable", PLIC, 0x2000, size, 0xfffffffffffffffe); read("enable", PLIC, 0x2000, size); read("enable", PLIC, 0x2000, 4); }
    write("enable", PLIC, 0x2000, 4, 0);
    EACH(size) { write("threshold", PLIC, 0x200000, size, 3); read("threshold", PLIC, 0x200000, size); read("threshold", PLIC, 0x200000, 4); }
    write("threshold", PLIC, 0x200000, 4, 0);
    EACH(size) { read("claim", PLIC, 0x200004, size); write("claim", PLIC, 0x200004, size, 3); }
    EACH(size) { read("plic gap", PLIC, 0x1f0000, size); write("plic gap", PLIC, 0x1f0000, size, 3); }
    EACH(size) { read("plic end", PLIC, 0x5ff000, size); write("plic end", PLIC, 0x5ff000, size, 3); }
}

static void clock(void)
{
    EACH(size) touch("time", RTC, 0, size);
    EACH(size) { if (size < 8) touch("time", RTC, 4, size); }
    EACH(size) { write("alarm", RTC, 0xc, size, 0x12345678); read("alarm", RTC, 0xc, 4); }
    EACH(size) { read("status", RTC, 0x18, size); write("status", RTC, 0x18, size, 1); read("status", RTC, 0x18, 4); }
    EACH(size) { write("enabled", RTC, 0x10, size, 0xff); read("enabled", RTC, 0x10, 4); }
    write("enabled", RTC, 0x10, 4, 0);
}

static void finisher(void)
{
    EACH(size) { read("test", TEST, 0, size); write("test", TEST, 0, size, 0x1111); }
    write("test", TEST, 4, 4, 0x5555);
    write("test", TEST, 2, 2, 0x5555);
    write("test", TEST, 1, 1, 0x55);
    write("test", TEST, 0, 1, 0x55);
    write("test", TEST, 0, 8, 0x5555);
    read("test", TEST, 4, 4);
    read("test", TEST, 0xffc, 4);
}

static void virtio(void)
{
    for (int at = 0; at < 16; at++)
        EACH(size) { if (at % size == 0) read("virtio", VIRTIO, at, size); }
    w4(VIRTIO + 0x70, 0);
    w4(VIRTIO + 0x70, 1);
    EACH(size) {
        write("virtio", VIRTIO, 0x70, size, 3);
        read("virtio", VIRTIO, 0x70, size);
        read("virtio", VIRTIO, 0x70, 4);
        w4(VIRTIO + 0x70, 0);
        w4(VIRTIO + 0x70, 1);
    }
    EACH(size) { read("virtio gap", VIRTIO, 0xd0, size); write("virtio gap", VIRTIO, 0xd0, size, 1); }
    for (int at = 0; at < 8; at++)
        EACH(size) { if (at % size == 0) read("capacity", VIRTIO, 0x100 + at, size); }
    for (int at = 20; at < 24; at++)
        EACH(size) { if (at % size == 0) read("block size", VIRTIO, 0x100 + at, size); }
    read("capacity", VIRTIO, 0x101, 2);
    EACH(size) { read("config end", VIRTIO, 0x1e8, size); write("capacity", VIRTIO, 0x100, size, 1); read("capacity", VIRTIO, 0x100, 8); }
    w4(VIRTIO + 0x70, 0);
}

static void fw_cfg(void)
{
    EACH(size) { w2(FW_CFG + 8, 0); read("fw_cfg", FW_CFG, 0, size); }
    for (int at = 1; at < 8; at++)
        EACH(size) { if (at % size == 0) read("fw_cfg", FW_CFG, at, size); }
    EACH(size) write("fw_cfg", FW_CFG, 0, size, 0);
    EACH(size) read("fw_cfg", FW_CFG, 8, size);
    EACH(size) { w2(FW_CFG + 8, 0x1900); write("fw_cfg", FW_CFG, 8, size, 0); }
    w2(FW_CFG + 8, 0);
    write("fw_cfg", FW_CFG, 0xa, 2, 0);
    read("fw_cfg", FW_CFG, 0, 4);
    for (int at = 0x10; at < 0x18; at++)
        EACH(size) { if (at % size == 0) read("fw_cfg", FW_CFG, at, size); }
    EACH(size) { if (size < 4) write("fw_cfg", FW_CFG, 0x10, size, 0); }
    read("fw_cfg", FW_CFG, 0xa, 2);
    read("fw_cfg", FW_CFG, 0xc, 4);
    read("fw_cfg", FW_CFG, 0x18, 4);
}

static void flash(void)
{
    for (int at = 0; at < 8; at += 2)
        EACH(size) { if (at % size == 0) { w4(FLASH, 0x00700070); read("flash status", FLASH, at, size); } }
    for (int at = 0x40; at < 0x50; at += 2)
        EACH(size) { if (at % size == 0) { w4(FLASH + 0x154, 0x00980098); read("flash query", FLASH, at, size); } }
    EACH(size) {
        w4(FLASH, 0x00500050); w4(FLASH, 0x00ff00ff);
        w4(FLASH + 0x100, 0x00200020); w4(FLASH + 0x100, 0x00d000d0);
        w4(FLASH, 0x00400040);
        write("flash program", FLASH, 0x100, size, 0x1122334455667788);
        w4(FLASH, 0x00ff00ff);
        read("flash", FLASH, 0x100, 8);
    }
    EACH(size) { w4(FLASH, 0x00ff00ff); write("flash command", FLASH, 0, size, 0x0070007000700070); read("flash", FLASH, 0, 4); }
    w4(FLASH, 0x00ff00ff);
}

static void registers(const char *what, int at, int size, u64 value)
{
    static const char *names[] = {"ier", "iir", "lcr", "mcr", "lsr", "msr", "scr", "dll", "dlm"};
    u64 values[9];
    u64 taken = cause;
    for (int n = 0; n < 7; n++)
        values[n] = r1(UART + 1 + n);
    w1(UART + 3, 0x80);
    values[7] = r1(UART);
    values[8] = r1(UART + 1);
    begin(what, at, size);
    put(' ');
    hex(value);
    cause = taken;
    for (int n = 0; n < 9; n++) {
        put(' ');
        text(names[n]);
        put(' ');
        hex(values[n]);
    }
    end();
    cause = 0;
}

static void fresh_uart(void)
{
    w1(UART + 3, 0x80); w1(UART, 3); w1(UART + 1, 0); w1(UART + 3, 3);
    w1(UART + 2, 7); w1(UART + 4, 8); w1(UART + 7, 0x77); w1(UART + 1, 5);
}

static void uart(void)
{
    static const u8 harmless[] = {'N', 0x0a, 0x07, 0x1b, 0x03, 0, 0, 0x55};
    for (int at = 0; at < 8; at++)
        EACH(size) {
            if (at % size)
                continue;
            fresh_uart();
            cause = 0;
            registers("uart read", at, size, load(UART + at, size));
            if (at == 5 || at == 6)
                continue;
            fresh_uart();
            cause = 0;
            store(UART + at, size, 0x4142434445464700 | harmless[at]);
            registers("uart write", at, size, harmless[at]);
        }
    for (int at = 1; at < 4; at++)
        for (int size = 2; size <= 4; size *= 2) {
            if (at % size == 0)
                continue;
            fresh_uart();
            cause = 0;
            store(UART + at, size, 0x03070704);
            registers("uart odd write", at, size, 0x03070704);
        }
    fresh_uart();
}

void main(void)
{
    put('\n');
    clint();
    plic();
    clock();
    finisher();
    virtio();
    fw_cfg();
    flash();
    uart();
    finish();
}
