# A tiny kernel that asks of a processor what every real kernel asks: the guest of the KVM probe.
#
# QEMU loads it as a Multiboot kernel, after the same firmware that machines get. It says on the first serial
# port how far it is, a line a step, and ends QEMU through isa-debug-exit once all of it has worked:
# 32-bit protected mode, paging, long mode with the kernel in the upper half of the addresses, a page table of
# four levels that changes, a few million instructions over some memory, timer interrupts, a program in user
# mode and its system call.
#
#   as --64 probe_kernel.s -o probe_kernel.o
#   ld -m elf_x86_64 --oformat binary -e 0x100000 -Ttext 0x100000 probe_kernel.o -o probe_kernel.bin

.set BASE, 0x100000
.set UPPER, 0xffffffff80000000
.set TABLES, 0x200000           # page tables, zeroed here
.set PML4, TABLES
.set PDPT_LOW, TABLES + 0x1000
.set PDPT_HIGH, TABLES + 0x2000
.set PD, TABLES + 0x3000
.set PT, TABLES + 0x4000
.set TABLES_BYTES, 0x5000
.set STACK, 0x280000            # grows down
.set USER_STACK, 0x290000
.set WORK, 0x800000             # memory that is written and read
.set WORK_BYTES, 0x800000
.set ROUNDS, 4
.set TICKS, 5
.set SERIAL, 0x3f8
.set DEBUG_EXIT, 0xf4
.set DONE, 0x10

.set CODE64, 0x08
.set DATA, 0x10
.set USER_DATA, 0x18            # sysret's order: data, then code
.set USER_CODE, 0x20
.set TSS, 0x28

.set EFER, 0xc0000080
.set STAR, 0xc0000081
.set LSTAR, 0xc0000082
.set FMASK, 0xc0000084

.text
.code32
header:
    .long 0x1badb002            # Multiboot: a flat file, loaded as the next five numbers say
    .long 0x00010000
    .long -(0x1badb002 + 0x00010000)
    .long BASE, BASE, image_end, image_end, start

start:
    cli
    cld
    mov $STACK, %esp
    mov $said_protected, %esi
    call say32

    mov $TABLES, %edi
    xor %eax, %eax
    mov $(TABLES_BYTES / 4), %ecx
    rep stosl
    # The first 2 MiB through a table of 4 KiB pages, the rest of the first GiB in pages of 2 MiB. All is
    # open to user mode: nothing is guarded here.
    movl $(PDPT_LOW + 7), PML4
    movl $(PDPT_HIGH + 7), PML4 + 511 * 8
    movl $(PD + 7), PDPT_LOW
    movl $(PD + 7), PDPT_HIGH + 510 * 8
    movl $(PT + 7), PD
    mov $(0x200000 + 0x87), %eax
    mov $(PD + 8), %edi
1:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    cmp $(PD + 0x1000), %edi
    jb 1b
    mov $7, %eax
    mov $PT, %edi
2:  mov %eax, (%edi)
    add $0x1000, %eax
    add $8, %edi
    cmp $(PT + 0x1000), %edi
    jb 2b

    mov %cr4, %eax
    or $0x620, %eax             # PAE, and SSE as every 64-bit program has it
    mov %eax, %cr4
    mov $PML4, %eax
    mov %eax, %cr3
    mov $EFER, %ecx
    rdmsr
    or $0x101, %eax             # long mode, system calls
    wrmsr
    mov %cr0, %eax
    and $~4, %eax               # no emulated floating point
    or $0x80010022, %eax        # paging, write protection, native errors of it
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $CODE64, $low64

say32:
    mov $SERIAL, %edx
1:  lodsb
    test %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  ret

.code64
low64:
    mov $(UPPER + upper), %rax
    jmp *%rax

upper:
    mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $(UPPER + STACK), %rsp
    lgdt upper_gdt_pointer(%rip)
    lea said_long(%rip), %rsi
    call say

    # Tables: every fault ends in a word of its own, the timer's interrupt in its handler.
    lea idt(%rip), %rdi
    lea fault(%rip), %rax
    mov $48, %ecx
3:  call gate
    loop 3b
    lea idt + 32 * 16(%rip), %rdi
    lea timer(%rip), %rax
    call gate
    lidt idt_pointer(%rip)
    lea tss(%rip), %rax
    lea gdt + TSS(%rip), %rdi
    mov %ax, 2(%rdi)
    shr $16, %rax
    mov %al, 4(%rdi)
    mov %ah, 7(%rdi)
    shr $16, %rax
    mov %eax, 8(%rdi)
    mov $TSS, %eax
    ltr %ax

    # A page that is moved: the processor has to see it.
    movq $(0x1ff000), 0x1fe000
    movq $(0x1fe000), 0x1ff000
    movl $(0x1ff000 + 7), PT + 0x1fe * 8
    invlpg 0x1fe000
    cmpq $(0x1fe000), 0x1fe000
    jne fault
    mov %cr3, %rax
    mov %rax, %cr3

    # Some work over some memory, as a kernel that unpacks itself does it.
    mov $ROUNDS, %r8d
    mov $1, %rbx
4:  mov $WORK, %edi
    mov $(WORK_BYTES / 8), %ecx
5:  imul $1103515245, %rbx, %rbx
    add $12345, %rbx
    mov %rbx, (%rdi)
    movq (%rdi), %xmm0
    paddq %xmm0, %xmm1
    add $8, %rdi
    dec %ecx
    jnz 5b
    dec %r8d
    jnz 4b
    lea said_worked(%rip), %rsi
    call say

    # The interval timer, a thousand times a second, through the interrupt controller.
    mov $0x11, %al
    out %al, $0x20
    out %al, $0xa0
    mov $32, %al
    out %al, $0x21
    mov $40, %al
    out %al, $0xa1
    mov $4, %al
    out %al, $0x21
    mov $2, %al
    out %al, $0xa1
    mov $1, %al
    out %al, $0x21
    out %al, $0xa1
    mov $0xfe, %al
    out %al, $0x21
    mov $0xff, %al
    out %al, $0xa1
    mov $0x34, %al
    out %al, $0x43
    mov $(1193 & 0xff), %al
    out %al, $0x40
    mov $(1193 >> 8), %al
    out %al, $0x40
6:  sti
    hlt
    cmpl $TICKS, ticks(%rip)
    jb 6b
    lea said_timer(%rip), %rsi
    call say

    # A program in user mode, which is interrupted too, and then calls the system.
    mov $STAR, %ecx
    xor %eax, %eax
    mov $(((USER_DATA - 8) << 16) | CODE64), %edx
    wrmsr
    mov $LSTAR, %ecx
    lea system_call(%rip), %rax
    mov %rax, %rdx
    shr $32, %rdx
    wrmsr
    mov $FMASK, %ecx
    mov $0x200, %eax
    xor %edx, %edx
    wrmsr
    movl $0, ticks(%rip)
    mov $user, %ecx
    mov $0x202, %r11d
    mov $USER_STACK, %esp
    sysretq

user:                           # in the lower half
    cmpl $TICKS, ticks(%rip)
    jb user
    push %rbx
    pop %rax
    syscall
    ud2

system_call:
    cli
    mov $(UPPER + STACK), %rsp
    lea said_user(%rip), %rsi
    call say
    mov $DONE, %al
    out %al, $DEBUG_EXIT
7:  hlt
    jmp 7b

timer:
    push %rax
    incl ticks(%rip)
    mov $0x20, %al
    out %al, $0x20
    pop %rax
    iretq

fault:
    lea said_fault(%rip), %rsi
    call say
8:  cli
    hlt
    jmp 8b

gate:                           # rdi: the entry, rax: the handler; rdi goes to the next entry
    mov %rax, %rdx
    mov %dx, (%rdi)
    movw $CODE64, 2(%rdi)
    movw $0x8e00, 4(%rdi)
    shr $16, %rdx
    mov %dx, 6(%rdi)
    shr $16, %rdx
    mov %edx, 8(%rdi)
    movl $0, 12(%rdi)
    add $16, %rdi
    ret

say:
    mov $SERIAL, %edx
1:  lodsb
    test %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  ret

said_protected: .asciz "protected mode\n"
said_long: .asciz "long mode\n"
said_worked: .asciz "memory\n"
said_timer: .asciz "timer interrupts\n"
said_user: .asciz "user mode\n"
said_fault: .asciz "fault\n"

.balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff    # 64-bit code
    .quad 0x00cf93000000ffff    # data
    .quad 0x00cff3000000ffff    # user mode's data
    .quad 0x00affb000000ffff    # user mode's 64-bit code
    .quad 0x0000890000000067    # task state; its address is filled in
    .quad 0
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
    .balign 8
upper_gdt_pointer:
    .word gdt_end - gdt - 1
    .quad UPPER + gdt
idt_pointer:
    .word 48 * 16 - 1
    .quad UPPER + idt
ticks: .long 0
    .balign 16
tss:
    .long 0
    .quad UPPER + STACK         # the stack of whatever interrupts user mode
    .fill 0x68 - 12, 1, 0
    .balign 16
idt:
    .fill 48 * 16, 1, 0
image_end:
