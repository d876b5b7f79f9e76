/*
 * The smallest way from QEMU's -kernel to the model kernel at a FreeBSD kernel's addresses: linked at
 * 0xffffffff80200000 (KERNBASE + 2 MiB), all memory again in the direct map at 0xfffff80000000000 and, for kernel
 * stacks, at 0xfffffe0000000000. QEMU reads the entry from the PVH note and starts there in 32-bit mode.
 */
#define KERNBASE 0xffffffff80000000
#define PHYS(symbol) (symbol - KERNBASE)
#define TRAMPOLINE 0x8000

	.section .note.pvh, "a", @note
	.long 4, 4, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long PHYS(start32)

	.text
	.code32
	.globl start32
start32:
	cli
	lgdt PHYS(gdt_pointer)
	/* Every CPU comes by here: page tables, long mode, and on by its number. */
long_mode:
	movl $0x620, %eax		/* PAE, and SSE for who compiles with it */
	movl %eax, %cr4
	movl $PHYS(pml4), %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx		/* EFER.LME */
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl $0x80000011, %eax		/* PG, ET, PE */
	movl %eax, %cr0
	ljmpl $0x08, $PHYS(start64)
	.code64
start64:
	movabsq $high, %rax
	jmp *%rax
high:
	movl $0x10, %eax
	movl %eax, %ss
	movl %eax, %ds
	movl %eax, %es
	lgdt high_gdt_pointer
	movl $1, %eax			/* the APIC's id, which is the CPU's number for QEMU */
	cpuid
	shrl $24, %ebx
	testl %ebx, %ebx
	jnz 1f
	leaq boot_stack_end(%rip), %rsp
	xorl %ebp, %ebp
	call machine_start
1:	/* As cpu_switch() resumes a thread: its stack, and what it returns to. */
	shll $5, %ebx
	leaq cpu_contexts(%rip), %rax
	addq %rbx, %rax
	movq 0(%rax), %rsp
	movq 8(%rax), %rbp
	pushq 16(%rax)
	jmp *24(%rax)

	/* What a started processor runs, in real mode, from its copy at TRAMPOLINE. */
	.code16
	.globl trampoline, trampoline_end
trampoline:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl TRAMPOLINE + (gdt_copy - trampoline)
	movl $0x11, %eax
	movl %eax, %cr0
	ljmpl $0x18, $PHYS(long_mode)
gdt_copy:
	.word 55
	.long PHYS(gdt)
trampoline_end:

	.code64
	/* An interrupt that came in the kernel: INTR_PUSH_FRAME of sys/amd64/include/asmacros.h, in short. */
	.globl Xtimerint
	.type Xtimerint, @function
Xtimerint:
	subq $152, %rsp			/* below what the processor pushed lie tf_err and the rest of struct trapframe */
	movq %rbp, 64(%rsp)
	movq %rsp, %rdi
	call lapic_handle_timer
	ud2
	.size Xtimerint, . - Xtimerint

	/* To user mode with page tables that have no kernel (page table isolation): %rdi is the user's stack. */
	.globl leave_for_user
leave_for_user:
	movabsq $PHYS(1f), %rax
	jmp *%rax			/* at its physical address, which both page tables map */
1:	lgdt PHYS(gdt_pointer)
	movq $PHYS(user_pml4), %rax
	movq %rax, %cr3
	movq $PHYS(pti_stack_end), %rsp
	pushq $0x33			/* %ss, %rsp, %rflags, %cs, %rip */
	pushq %rdi
	pushq $2
	pushq $0x2b
	pushq $PHYS(user_loop)
	movq $PHYS(user_loop), %rbp
	iretq
user_loop:
	pause
	jmp user_loop

	.data
	.balign 8
	.globl gdt
gdt:	.quad 0
	.quad 0x00af9a000000ffff	/* 0x08: 64-bit code */
	.quad 0x00cf92000000ffff	/* 0x10: data */
	.quad 0x00cf9a000000ffff	/* 0x18: 32-bit code */
	.quad 0
	.quad 0x00affa000000ffff	/* 0x28: user's 64-bit code */
	.quad 0x00cff2000000ffff	/* 0x30: user's data */
	.word 0
gdt_pointer:
	.word 55
	.long PHYS(gdt)
	.long 0
	.word 0
high_gdt_pointer:
	.word 55
	.quad gdt
	.balign 8
	/* rsp, rbp, return address and function of each CPU */
	.globl cpu_contexts
cpu_contexts:
	.fill 8 * 4, 8, 0

	.balign 4096
pml4:	.quad PHYS(low) + 3
	.fill 495, 8, 0
	.quad PHYS(low) + 3		/* 0xfffff80000000000 */
	.fill 11, 8, 0
	.quad PHYS(low) + 3		/* 0xfffffe0000000000 */
	.fill 2, 8, 0
	.quad PHYS(kernel) + 3		/* 0xffffffff80000000 is its entry 510 */
low:	.quad PHYS(memory) + 3
	.fill 2, 8, 0
	.quad PHYS(devices) + 3
	.fill 508, 8, 0
kernel:	.fill 510, 8, 0
	.quad PHYS(memory) + 3
	.quad 0
memory:
	.set page, 0
	.rept 32
	.quad (page << 21) + 0x83
	.set page, page + 1
	.endr
	.fill 480, 8, 0
devices:
	.fill 503, 8, 0
	.quad 0xfee00093		/* the local APIC, uncached */
	.fill 8, 8, 0
user_pml4:
	.quad PHYS(user_low) + 7
	.fill 511, 8, 0
user_low:
	.quad PHYS(user_memory) + 7
	.fill 511, 8, 0
user_memory:
	.set page, 0
	.rept 32
	.quad (page << 21) + 0x87
	.set page, page + 1
	.endr
	.fill 480, 8, 0

	.bss
	.balign 16
	.fill 16384
boot_stack_end:
	.fill 64
pti_stack_end:
	.section .note.GNU-stack, "", @progbits
