/* Pictures in the frame buffer that fw_cfg is told of: one of each format that QEMU 7.2 has, shown until a key comes.
 * For AArch64, with the MMU off. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define UART 0x9000000ul
#define FW_CFG 0x9020000ul
#define WIDTH 64u
#define HEIGHT 48u
#define ERROR 1u
#define READ 2u
#define SELECT 8u
#define WRITE 16u

__asm__(".section .text.start\n.globl _start\n_start:\n  ldr x0, =stack_top\n  mov sp, x0\n  b main\n.text\n");

static volatile struct { u32 control, length; u64 address; } request __attribute__((aligned(16)));
static struct { u8 size[4]; u8 entry[64]; } directory __attribute__((aligned(4)));
static u8 config[28], picture[64 * 128 * 4] __attribute__((aligned(4096)));
static u32 selector;

static u32 r4(u64 at) { return *(volatile u32 *)at; }
static void w4(u64 at, u32 v) { *(volatile u32 *)at = v; }
static u32 big4(u32 v) { return v >> 24 | (v >> 8 & 0xff00) | (v << 8 & 0xff0000) | v << 24; }
static u64 big8(u64 v) { return (u64)big4(v) << 32 | big4(v >> 32); }
static void store(u32 at, u32 v) { for (int n = 0; n < 4; n++) config[at + n] = v >> (24 - 8 * n); }

static u32 dma(u32 control, void *memory, u32 length)
{
    request.control = big4(control); request.length = big4(length); request.address = big8((u64)memory);
    __asm__ volatile("dsb sy" ::: "memory");
    *(volatile u64 *)(FW_CFG + 16) = big8((u64)&request);
    while (big4(request.control) & ~ERROR) ;
    return big4(request.control);
}

static void find(void)
{
    dma(SELECT | READ | 0x19 << 16, directory.size, 4);
    for (u32 left = directory.size[2] << 8 | directory.size[3]; left; left--) {
        dma(READ, directory.entry, 64);
        const char *name = "etc/ramfb";
        u32 n = 0;
        while (directory.entry[8 + n] == name[n] && name[n]) n++;
        if (directory.entry[8 + n] == name[n]) selector = directory.entry[4] << 8 | directory.entry[5];
    }
}

static void show(u32 fourcc, u32 stride)
{
    u32 seed = fourcc;
    for (u32 n = 0; n < sizeof picture; n++) picture[n] = (seed = seed * 1103515245 + 12345) >> 16;
    store(0, (u64)picture >> 32); store(4, (u64)picture); store(8, fourcc); store(12, 0);
    store(16, WIDTH); store(20, HEIGHT); store(24, stride);
    u32 result = dma(SELECT | WRITE | selector << 16, config, 28);
    w4(UART, '0' + result); w4(UART, '\n');
    while (r4(UART + 0x18) & 0x10) ;
    (void)r4(UART);
}

void main(void)
{
    find();
    show(0x34325258, 0); /* XR24 */
    show(0x34325258, WIDTH * 4 + 64);
    show(0x34325241, 0); /* AR24 */
    show(0x34324752, WIDTH * 3); /* RG24 */
    for (;;) ;
}
