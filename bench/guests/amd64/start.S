# The first instructions of a bench guest, entered in 32-bit mode as PVH has it (Xen's
# docs/misc/pvh.pandoc): long mode with memory at its own addresses, SSE and AVX, and a stack.
        .section .note.pvh, "a", @note
        .balign 4
        .long   4, 8, 18                    # XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .quad   _start

        .section .text.start, "ax"
        .code32
        .globl  _start
_start:
        movl    $directory, %edi            # 4 GiB in pages of 2 MiB: P, W, PS
        movl    $0x83, %eax
        movl    $2048, %ecx
1:      movl    %eax, (%edi)
        movl    $0, 4(%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        decl    %ecx
        jnz     1b
        movl    $0x40620, %eax              # CR4: PAE, OSFXSR, OSXMMEXCPT, OSXSAVE
        movl    %eax, %cr4
        movl    $level4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx           # EFER.LME
        rdmsr
        orl     $1 << 8, %eax
        wrmsr
        movl    $0x80000033, %eax           # CR0: PG, NE, ET, MP, PE
        movl    %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $8, $long_mode

        .code64
long_mode:
        xorl    %eax, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %ecx, %ecx                  # XCR0: x87, SSE, AVX
        xorl    %edx, %edx
        movl    $7, %eax
        xsetbv
        fninit
        movq    $stack_top, %rsp
        movl    $idt, %edi                  # nothing here should trap: all gates lead to `trap`
        movl    $trap, %eax
        movl    %eax, %edx
        shrl    $16, %edx
        movl    $32, %ecx
2:      movw    %ax, (%rdi)
        movl    $0x8e000008, 2(%rdi)
        movw    %dx, 6(%rdi)
        movq    $0, 8(%rdi)
        addq    $16, %rdi
        decl    %ecx
        jnz     2b
        lidt    idt_pointer
        call    run

trap:                                       # an error code would be on top: the address is behind it
        movq    (%rsp), %rdi
        movq    8(%rsp), %rsi
        call    trapped

        .globl  reset
reset:                                      # by a triple fault, for a board without a power switch
        lidt    no_idt
        int3

        .section .rodata
        .balign 8
gdt:    .quad   0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
        .word   23
        .quad   gdt
idt_pointer:
        .word   32 * 16 - 1
        .quad   idt
no_idt: .word   0
        .quad   0

        .section .data
        .balign 4096
level4: .quad   level3 + 3
        .fill   511, 8, 0
level3: .quad   directory + 3, directory + 0x1003, directory + 0x2003, directory + 0x3003
        .fill   508, 8, 0

        .section .bss
        .balign 4096
directory:
        .skip   4 * 4096
        .globl  idt
idt:    .skip   32 * 16

        .section .note.GNU-stack, "", @progbits
