// The first instructions of a bench guest, at EL1: a stack, the floating point unit, and memory that
// may be cached: devices below 1 GiB, RAM above, in blocks of 1 GiB at their own addresses.
        .section .text.start
        .globl _start
_start:
        mov     x0, #3 << 20                // CPACR_EL1.FPEN
        msr     cpacr_el1, x0
        adr     x0, vectors
        msr     vbar_el1, x0
        mov     x0, #0xff00                 // MAIR_EL1: 0 device, 1 cached
        msr     mair_el1, x0
        ldr     x0, =0x200803519            // TCR_EL1: 39 bits below, none above, 4 KiB, inner shareable
        msr     tcr_el1, x0
        adrp    x0, table
        msr     ttbr0_el1, x0
        isb
        mrs     x0, sctlr_el1
        mov     x1, #0x1005                 // M, C, I
        orr     x0, x0, x1
        msr     sctlr_el1, x0
        isb
        adrp    x0, stack_top
        add     x0, x0, :lo12:stack_top
        mov     sp, x0
        bl      run

        .balign 2048
vectors:                                    // nothing here should trap: say so and end
        .rept   16
        b       trap
        .balign 128
        .endr
trap:
        mrs     x0, esr_el1
        mrs     x1, elr_el1
        bl      trapped

        .section .rodata
        .balign 4096
table:                                      // a table of level 1; AF, and inner shareable for RAM
        .quad   0x00000000 | 1 << 10 | 1
        .quad   0x40000000 | 1 << 10 | 3 << 8 | 1 << 2 | 1
        .balign 4096
