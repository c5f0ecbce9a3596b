# The first instructions of a bench guest, in M-mode: hart 0 gets a stack and the floating point
# unit, the other harts sleep.
        .section .text.start
        .globl _start
_start:
        csrr    t0, mhartid
        bnez    t0, sleep
        li      t0, 1 << 13                 # mstatus.FS = Initial
        csrs    mstatus, t0
        csrw    fcsr, zero
        la      t0, trap
        csrw    mtvec, t0
        la      sp, stack_top
        call    run
sleep:
        wfi
        j       sleep

        .balign 4
trap:                                       # nothing here should trap: say so and end with code 1
        csrr    a0, mcause
        csrr    a1, mepc
        call    trapped
