/*
 * The model kernel on bare metal: what it needs of a C library, its module vmm.ko, and CPUs that run threads of it.
 * CPU 0 is inside a guest (AMD-V), CPU 1 idle in HLT, CPU 2 was interrupted, CPU 3 is in user mode under page tables
 * without a kernel. With MACHINE_CPUS 1 there is but one, in user mode.
 */
#include <stdarg.h>

#define main model_main
#include "../model/kernel.c"
#undef main

#define KERNBASE 0xffffffff80000000
#define DIRECT_MAP 0xfffff80000000000
#define STACKS 0xfffffe0000000000
/* Where the loader put the module, see vmm.ld. */
#define VMM ((char *)0xffffffff82000000)

extern struct { uint64_t rsp, rbp, pc; void (*function)(void); } cpu_contexts[];
extern char trampoline[], trampoline_end[], Xtimerint[];
void leave_for_user(void *stack);

/* Memory for the model, at its physical address. */
static char arena[8 << 20] __attribute__((aligned(PAGE)));
static size_t arena_used;

static char *
allocate(size_t size, size_t alignment, uintptr_t map)
{
	arena_used = (arena_used + alignment - 1) / alignment * alignment;
	arena_used += size;
	if (arena_used > sizeof(arena))
		for (;;)
			__asm__ volatile("ud2");
	return ((char *)((uintptr_t)arena - KERNBASE + map) + arena_used - size);
}

void *calloc(size_t n, size_t size) { return (allocate(n * size, 16, DIRECT_MAP)); }
int posix_memalign(void **p, size_t a, size_t size) { *p = allocate(size, a, DIRECT_MAP); return (0); }
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) { return (allocate(size, PAGE, STACKS)); }
int munmap(void *at, size_t size) { return (0); }
void *memset(void *s, int c, size_t n) { for (size_t i = 0; i < n; i++) ((char *)s)[i] = c; return (s); }
void *memcpy(void *d, const void *s, size_t n) { for (size_t i = 0; i < n; i++) ((char *)d)[i] = ((char *)s)[i]; return (d); }
size_t strlen(const char *s) { size_t n = 0; while (s[n]) n++; return (n); }
int strcmp(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return (*a - *b); }
int atoi(const char *s) { int n = 0; while (*s) n = 10 * n + *s++ - '0'; return (n); }
void err(int code, const char *format, ...) { for (;;) __asm__ volatile("ud2"); }
void errx(int code, const char *format, ...) { for (;;) __asm__ volatile("ud2"); }

/* Only what the model prints into names: %s. */
int
snprintf(char *to, size_t size, const char *format, ...)
{
	va_list arguments;
	const char *s;

	va_start(arguments, format);
	s = strcmp(format, "%s") == 0 ? va_arg(arguments, const char *) : format;
	va_end(arguments);
	size_t n = strlen(s) < size ? strlen(s) : size - 1;
	memcpy(to, s, n);
	to[n] = '\0';
	return (n);
}

static void
console(const char *s)
{
	for (; *s; s++)
		__asm__ volatile("outb %0, %1" : : "a"(*s), "d"((uint16_t)0x3f8));
}

static volatile int arrived;
static void arrive(void) { __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST); }

/* Where the CPUs stay. */
static void acpi_cpu_c1(void) { arrive(); for (;;) __asm__ volatile("cli; hlt"); }
static void syscall_return(void) { arrive(); leave_for_user((void *)0x7000); }
void lapic_handle_timer(void) { arrive(); for (;;) __asm__ volatile("pause"); }

static fn in_vm_run[] = { vm_run, SYSCALL };
static fn in_system_call[] = { amd64_syscall, fast_syscall_common, LAST };
static fn working[] = { lab_worker, fork_exit, fork_trampoline, LAST };

static struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idt_pointer;
static struct { uint64_t low, high; } idt[256];
static void vm_page_zero(void) { __asm__ volatile("lidt %0; int $0x30" : : "m"(idt_pointer)); }

static uint64_t
physical(const void *p)
{
	return ((uintptr_t)p - KERNBASE);
}

static void
write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

/* A guest whose page tables show other memory where our kernel is, and whose program counter is in our vm_run(). */
static void
svm_launch(void)
{
	static uint64_t pml4[512] __attribute__((aligned(PAGE))), upper[512] __attribute__((aligned(PAGE)));
	static uint64_t middle[512] __attribute__((aligned(PAGE)));
	static char memory[2 << 20] __attribute__((aligned(2 << 20)));
	static char host[PAGE] __attribute__((aligned(PAGE))), vmcb[PAGE] __attribute__((aligned(PAGE)));
	uintptr_t rip = (uintptr_t)vm_run + 32;

	pml4[511] = physical(upper) | 3;
	upper[510] = physical(middle) | 3;
	for (int i = 0; i < 512; i++)
		middle[i] = physical(memory) | 0x83;
	memcpy(memory + rip % sizeof(memory), "\xf3\x90\xeb\xfc", 4);	/* pause, and back */
	*(uint32_t *)(vmcb + 0x010) = 1;		/* VMRUN must be intercepted */
	*(uint32_t *)(vmcb + 0x058) = 1;		/* ASID */
	*(uint32_t *)(vmcb + 0x410) = 0x29b << 16 | 0x08;	/* %cs: 64-bit code */
	*(uint32_t *)(vmcb + 0x420) = 0xc93 << 16 | 0x10;	/* %ss */
	*(uint64_t *)(vmcb + 0x4d0) = 0x1500;		/* EFER: SVME, LMA, LME */
	*(uint64_t *)(vmcb + 0x548) = 0x20;		/* %cr4: PAE */
	*(uint64_t *)(vmcb + 0x550) = physical(pml4);
	*(uint64_t *)(vmcb + 0x558) = 0x80000011;	/* %cr0 */
	*(uint64_t *)(vmcb + 0x570) = 2;		/* %rflags */
	*(uint64_t *)(vmcb + 0x578) = rip;
	*(uint64_t *)(vmcb + 0x5d8) = KERNBASE + 0x300000;
	write_msr(0xc0000080, 0x1500);
	write_msr(0xc0010117, physical(host));		/* VM_HSAVE_PA */
	console("ready\n");
	__asm__ volatile("vmrun" : : "a"(physical(vmcb)));
}

/* Has a thread of `p` run on `cpu`: in `function`, called by `chain`. */
static void
run(struct proc *p, const char *name, int cpu, void (*function)(void), fn *chain)
{
	struct thread *td = thread(p, name, NULL, NULL, 0, chain);

	td->td_state = TDS_RUNNING;
	td->td_inhibitors = 0;
	td->td_oncpu = td->td_lastcpu = cpu;
	cpu_contexts[cpu].rsp = td->td_pcb->pcb_rsp;
	cpu_contexts[cpu].rbp = td->td_pcb->pcb_rbp;
	cpu_contexts[cpu].pc = td->td_pcb->pcb_rip;
	cpu_contexts[cpu].function = function;
	/* What the pcb of a running thread holds is old. */
	td->td_pcb->pcb_rip = (uintptr_t)sched_switch + 16;
}

static void
start_cpus(int cpus)
{
	volatile uint32_t *apic = (uint32_t *)(DIRECT_MAP + 0xfee00000);

	memcpy((void *)(DIRECT_MAP + 0x8000), trampoline, trampoline_end - trampoline);
	apic[0xf0 / 4] = 0x1ff;
	/* INIT, then STARTUP at the trampoline's page, to all but this one. */
	apic[0x300 / 4] = 0xc4500;
	for (volatile int i = 0; i < 1000000; i++)
		;
	apic[0x300 / 4] = 0xc4600 | 0x8;
	while (arrived < cpus - 1)
		;
}

/* The model has built its scenario: let CPUs run threads. */
int
pause(void)
{
	struct proc *idle = process(10, "idle", NULL), *p = process(50, "cpuhog", NULL);
	static struct linker_file kernel_file = { 1, { NULL }, "kernel", "/boot/kernel/kernel", (char *)KERNBASE + 0x200000, 0x1e00000 };
	static struct linker_file vmm_file = { 1, { NULL }, "vmm.ko", "/boot/kernel/vmm.ko", VMM, 0x10000 };

	linker_files.tqh_first = &kernel_file;
	kernel_file.link.tqe_next = &vmm_file;
	/* A gate to Xtimerint, for CPU 2. */
	idt[0x30].low = ((uintptr_t)Xtimerint & 0xffff) | 0x08 << 16 | 0x8eUL << 40 |
	    ((uintptr_t)Xtimerint >> 16 & 0xffff) << 48;
	idt[0x30].high = (uintptr_t)Xtimerint >> 32;
	idt_pointer.limit = sizeof(idt) - 1;
	idt_pointer.base = (uintptr_t)idt;
	if (MACHINE_CPUS == 1) {
		run(p, "user", 0, syscall_return, in_system_call);
		console("ready\n");
	} else {
		run(p, "in guest", 0, svm_launch, in_vm_run);
		run(idle, "idle: cpu1", 1, acpi_cpu_c1, idle_thread);
		run(p, "interrupted", 2, vm_page_zero, working);
		run(p, "user", 3, syscall_return, in_system_call);
		start_cpus(MACHINE_CPUS);
	}
	__asm__ volatile("movq 0(%0), %%rsp; movq 8(%0), %%rbp; pushq 16(%0); jmp *24(%0)" : : "a"(cpu_contexts));
	return (0);
}

int puts(const char *s) { return (0); }
int printf(const char *format, ...) { return (0); }
int fflush(FILE *file) { return (0); }
FILE *stdout;

void
machine_start(void)
{
	static char *arguments[] = { "kernel", SCENARIO, NULL };

	model_main(2, arguments);
}
