/* usage: kernel SCENARIO [THREADS [DEEPER]]: builds the scenario in memory, prints "ready", and sleeps. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <unistd.h>

#include "kernel.h"

#define PAGE 4096
#define KSTACK_PAGES 4

/* The kernel's functions: only their addresses matter. */
#define FUNCTION(name) __attribute__((noinline, used)) void name(void) { __asm__ volatile(".rept 64\n\tnop\n\t.endr"); }
#define FUNCTIONS(F) \
	F(sched_switch) F(mi_switch) F(sleepq_timedwait) F(sleepq_wait) F(sleepq_catch_signals) F(sleepq_wait_sig) \
	F(sleepq_switch) F(_sleep) F(msleep_spin_sbt) F(vm_handle_rendezvous) F(vm_run) F(vmmdev_ioctl) F(devfs_ioctl) \
	F(vcpu_set_state_locked) F(vcpu_set_state) F(vioapic_mmio_rw) F(vioapic_mmio_write) F(vmm_emulate_instruction) \
	F(kern_ioctl) F(sys_ioctl) F(amd64_syscall) F(fast_syscall_common) F(umtxq_sleep) F(do_wait) F(__umtx_op_wait) \
	F(kqueue_kevent) F(kern_kevent) F(sys_kevent) F(turnstile_wait) F(__mtx_lock_sleep) F(_sx_xlock_hard) F(sleeplk) \
	F(lockmgr_xlock_hard) F(lab_worker) F(fork_exit) F(fork_trampoline) F(sched_idletd) F(cpu_idle) F(cpustop_handler) \
	F(ipi_nmi_handler) F(trap) F(nmi_calltrap) F(ast) F(ithread_loop) F(vioapic_update_tmr) \
	F(_rm_wlock) F(doreti_ast) F(_mtx_lock_spin_cookie) F(vm_mmap_memseg) F(kdb_enter) F(uart_intr) F(swapper) F(handle_el1h_irq) F(arm_gic_v3_intr) F(destroy_devl) F(destroy_dev_tq)
FUNCTIONS(FUNCTION)

struct { struct proc *lh_first; } allproc;
#ifdef VCPU_POINTERS
struct tidhashhead { struct thread *lh_first; } *tidhashtbl;
unsigned long tidhash = 4095;
struct pidhashhead { struct proc *lh_first; } *pidhashtbl;
unsigned long pidhash = 15;
#else
/* Zombies had a list of their own until 12. */
struct { struct proc *lh_first; } zombproc;
#endif
int nprocs;
static struct { void *first; } head __attribute__((used));
#ifndef VERSION
#define VERSION "FreeBSD 12.1-STABLE MODEL\n"
#endif
char version[256] = VERSION;
int osreldate = 1201517;
int ticks = -1000, hz = 1000;
char *panicstr;
struct prison prison0 = { "0", "model.example" };
cpuset_t stopped_cpus;
u_char kdb_active;
struct pcb kdb_pcb;
#ifdef VCPU_POINTERS
struct pcb *stoppcbs;
#else
struct pcb stoppcbs[SETSIZE];
#endif
struct { struct linker_file *tqh_first, **tqh_last; } linker_files;

static int next_tid = 100000;
typedef void (*fn)(void);
#define LAST ((fn)0)

static void *
take(size_t size)
{
	void *p = mmap(NULL, (size + PAGE - 1) / PAGE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return (p);
}

static struct proc *
process(int pid, const char *comm, const char *args)
{
	struct proc *p = calloc(1, sizeof(*p));

	p->p_pid = pid;
	p->p_state = 1;
	snprintf(p->p_comm, sizeof(p->p_comm), "%s", comm);
	if (args != NULL) {
		u_int length = strlen(args) + 1;

		p->p_args = calloc(1, sizeof(struct pargs) + length);
		p->p_args->ar_length = length;
		memcpy(p->p_args->ar_args, args, length);
		for (u_int i = 0; i + 1 < length; i++)
			if (p->p_args->ar_args[i] == ' ')
				p->p_args->ar_args[i] = '\0';
	}
	p->p_list.le_next = allproc.lh_first;
	allproc.lh_first = p;
	nprocs++;
#ifdef VCPU_POINTERS
	if (pidhashtbl == NULL)
		pidhashtbl = calloc(pidhash + 1, sizeof(*pidhashtbl));
	p->p_hash.le_next = pidhashtbl[pid & pidhash].lh_first;
	pidhashtbl[pid & pidhash].lh_first = p;
#endif
	return (p);
}

/* Saves `chain` (innermost first) in the pcb as cpu_switch() does, with frame records on the stack. */
static void
save_stack(struct pcb *pcb, char *low, fn *chain)
{
	uint64_t *top = (uint64_t *)(low + KSTACK_PAGES * PAGE), *record, *inner = NULL;
	int depth = 0;

	while (chain[depth] != LAST)
		depth++;
	for (int i = depth - 1; i >= 1; i--) {
		/* The record of chain[i - 1] returns into chain[i]. */
		record = top - 14 * (depth - i);
		record[0] = (uint64_t)(i == depth - 1 ? 0 : (uintptr_t)inner);
		record[1] = (uint64_t)(uintptr_t)chain[i] + 16;
		inner = record;
	}
#ifdef ARM64
	pcb->pcb_x[PCB_LR] = (uintptr_t)chain[0] + 16;
	pcb->pcb_x[PCB_FP] = (uintptr_t)inner;
	pcb->pcb_sp = (uintptr_t)inner - 32;
#else
	pcb->pcb_rip = (uintptr_t)chain[0] + (chain[0] == (fn)fork_trampoline ? 0 : 16);
	pcb->pcb_rbp = (uintptr_t)inner;
	pcb->pcb_rsp = (uintptr_t)inner - 32;
#endif
}

static struct thread *
thread(struct proc *p, const char *name, const char *wmesg, const void *wchan, int flags, fn *chain)
{
	struct thread *td = calloc(1, sizeof(*td)), **last = &p->p_threads.tqh_first;

	/* Threads are aligned beyond the flags of lock words. */
	if (posix_memalign((void **)&td, 64, sizeof(*td)) != 0)
		err(1, "memory");
	memset(td, 0, sizeof(*td));
	while (*last != NULL)
		last = &(*last)->td_plist.tqe_next;
	*last = td;
	td->td_proc = p;
	td->td_tid = next_tid++;
	snprintf(td->td_name, sizeof(td->td_name), "%s", name);
	td->td_oncpu = NOCPU;
	td->td_flags = flags;
	td->td_state = TDS_INHIBITED;
	td->td_inhibitors = wchan != NULL ? TDI_SLEEPING : TDI_IWAIT;
	td->td_wmesg = wmesg;
	td->td_wchan = wchan;
	td->td_swvoltick = ticks - 2500;
	td->td_kstack = (__typeof__(td->td_kstack))take(KSTACK_PAGES * PAGE);
	td->td_kstack_pages = KSTACK_PAGES;
	td->td_pcb = &td->td_model_pcb;
	save_stack(td->td_pcb, (char *)td->td_kstack, chain);
	p->p_numthreads++;
#ifdef VCPU_POINTERS
	if (tidhashtbl == NULL)
		tidhashtbl = calloc(tidhash + 1, sizeof(*tidhashtbl));
	td->td_hash.le_next = tidhashtbl[td->td_tid & tidhash].lh_first;
	tidhashtbl[td->td_tid & tidhash].lh_first = td;
#endif
	return (td);
}

/* Until it has the lock, in the kernels that know this. */
static void
contends(struct thread *td, struct lock_object *lock)
{
#ifdef SPLIT
	td->td_wantedlock = lock;
#endif
}

static void
block(struct thread *td, struct lock_object *lock, struct thread *owner)
{
	struct turnstile *ts = calloc(1, sizeof(*ts));

	ts->ts_lockobj = lock;
	ts->ts_owner = owner;
	td->td_blocked = ts;
	td->td_lockname = lock->lo_name;
	td->td_inhibitors = TDI_LOCK;
	td->td_wchan = NULL;
	td->td_wmesg = NULL;
	contends(td, lock);
}

#define SYSCALL vmmdev_ioctl, devfs_ioctl, kern_ioctl, sys_ioctl, amd64_syscall, fast_syscall_common, LAST
static fn initiator[] = { sched_switch, mi_switch, sleepq_timedwait, _sleep, vm_handle_rendezvous, vioapic_mmio_rw,
	vioapic_mmio_write, vmm_emulate_instruction, vm_run, SYSCALL };
static fn joined[] = { sched_switch, mi_switch, sleepq_timedwait, _sleep, vm_handle_rendezvous, vm_run, SYSCALL };
static fn halted[] = { sched_switch, mi_switch, sleepq_timedwait, msleep_spin_sbt, vm_run, SYSCALL };
static fn wants_idle[] = { sched_switch, mi_switch, sleepq_timedwait, msleep_spin_sbt, vcpu_set_state_locked,
	vcpu_set_state, SYSCALL };
static fn event[] = { sched_switch, mi_switch, sleepq_catch_signals, sleepq_wait_sig, _sleep, kqueue_kevent,
	kern_kevent, sys_kevent, amd64_syscall, fast_syscall_common, LAST };
static fn uwait[] = { sched_switch, mi_switch, sleepq_catch_signals, sleepq_wait_sig, _sleep, umtxq_sleep, do_wait,
	__umtx_op_wait, amd64_syscall, fast_syscall_common, LAST };
static fn on_mtx[] = { sched_switch, mi_switch, turnstile_wait, __mtx_lock_sleep, lab_worker, fork_exit,
	fork_trampoline, LAST };
static fn on_sx[] = { sched_switch, mi_switch, sleepq_switch, sleepq_wait, _sx_xlock_hard, lab_worker, fork_exit,
	fork_trampoline, LAST };
static fn on_lockmgr[] = { sched_switch, mi_switch, sleepq_switch, sleepq_wait, sleeplk, lockmgr_xlock_hard,
	lab_worker, fork_exit, fork_trampoline, LAST };
static fn on_rm[] = { sched_switch, mi_switch, turnstile_wait, _rm_wlock, lab_worker, fork_exit, fork_trampoline, LAST };
static fn on_mem_segs[] = { sched_switch, mi_switch, sleepq_switch, sleepq_wait, _sx_xlock_hard, vm_mmap_memseg, SYSCALL };
static fn preempted[] = { sched_switch, mi_switch, ast, doreti_ast, LAST };
static fn swapping[] = { sched_switch, mi_switch, sleepq_timedwait, _sleep, swapper, LAST };
static fn never_ran[] = { fork_trampoline, LAST };
static fn idle_thread[] = { cpu_idle, sched_idletd, fork_exit, fork_trampoline, LAST };

static struct vcpu *
vcpu_of(struct vm *vm, int i)
{
#ifdef VCPU_POINTERS
	return (vm->vcpu[i]);
#else
	return (&vm->vcpu[i]);
#endif
}

static struct vm *
machine(const char *name, int vcpus, enum vcpu_state state)
{
	struct vm *vm = take(sizeof(*vm));

	snprintf(vm->name, sizeof(vm->name), "%s", name);
	vm->maxcpus = 16;
#ifdef VCPU_POINTERS
	vm->vcpu = calloc(16, sizeof(*vm->vcpu));
	for (int i = 0; i < vcpus; i++) {
		vm->vcpu[i] = calloc(1, sizeof(**vm->vcpu));
		vm->vcpu[i]->vcpuid = i;
	}
#else
	for (int i = 0; i < 16; i++)
		vm->vcpu[i].hostcpu = NOCPU;
#endif
	for (int i = 0; i < vcpus; i++) {
		CPU_SETBIT(i, &vm->active_cpus);
		vcpu_of(vm, i)->state = state;
		vcpu_of(vm, i)->hostcpu = NOCPU;
	}
	vm_list_insert(vm, vm);
	return (vm);
}

static void
base(void)
{
	struct proc *p = process(0, "kernel", NULL);

	thread(p, "swapper", "swapin", p, 0, swapping);
	p = process(11, "intr", NULL);
	thread(p, "swi5: fast taskq", NULL, NULL, 0, never_ran);
	p = process(1, "init", NULL);
	thread(p, "init", "wait", p, TDF_SINTR, event);
}

#ifdef ARM_VMM
static void
deadlock(void)
{
	errx(2, "no rendezvous");
}
#else
/* The first report: initiator, an ioctl that wants vCPU 0 idle, and two that joined. */
static void
deadlock(void)
{
	struct vm *vm = machine("win11", 4, VCPU_FROZEN);
	struct proc *p = process(16, "bhyve", "/usr/sbin/bhyve -c 4 win11");
	static int queue, word;

	vcpu_of(vm, 2)->state = VCPU_IDLE;
	vcpu_of(vm, 0)->reqidle = 1;
	vm->rendezvous_func = vioapic_update_tmr;
	for (int i = 0; i < 4; i++)
		CPU_SETBIT(i, &vm->rendezvous_req_cpus);
	CPU_SETBIT(0, &vm->rendezvous_done_cpus);
	CPU_SETBIT(1, &vm->rendezvous_done_cpus);
	CPU_SETBIT(3, &vm->rendezvous_done_cpus);
	thread(p, "mevent", "kqread", &queue, TDF_SINTR, event);
	thread(p, "blk-4:0-0", "uwait", &word, TDF_SINTR, uwait);
	thread(p, "vcpu 0", "vmrndv", &vm->rendezvous_func, 0, joined);
	thread(p, "vcpu 1", "vmrndv", &vm->rendezvous_func, 0, initiator);
	thread(p, "vcpu 2", "vmstat", &vcpu_of(vm, 0)->state, 0, wants_idle);
	thread(p, "vcpu 3", "vmrndv", &vm->rendezvous_func, 0, joined);
#ifdef SPLIT
	vm->mem.mem_segs_lock = (struct sx){ { "vm mem_segs", CLASS(SX), 0, 0 }, (uintptr_t)p->p_threads.tqh_first };
	thread(p, "vcpu 4", vm->mem.mem_segs_lock.lock_object.lo_name, &vm->mem.mem_segs_lock, 0, on_mem_segs);
#endif
	p = process(17, "bhyvectl", "bhyvectl --vm=win11 --get-all");
	thread(p, "bhyvectl", "vmstat", &vcpu_of(vm, 0)->state, 0, wants_idle);
}
#endif

/* Two sx locks taken in opposite orders, and one thread behind each kind of lock. */
static void
lockcycle(void)
{
	static struct sx a = { { "lab sx a", CLASS(SX), 0, 0 }, 0 }, b = { { "lab sx b", CLASS(SX), 0, 0 }, 0 };
	static struct mtx m = { { "lab mtx", CLASS(SLEEP_MUTEX), 0, 0 }, 0 };
	static struct lock k = { { "lab lk", CLASS(LOCKMGR), 0, 0 }, 0, 0, 0 };
	static struct lock kp = { { "lab kernproc", CLASS(LOCKMGR), 0, 0 }, 0, 0, 0 };
	static struct sx shared = { { "lab shared", CLASS(SX), 0, 0 }, (2 << 5) | 0x4 | 0x1 };
	struct proc *p = process(20, "locker", NULL);
	struct thread *ab = thread(p, "ab", b.lock_object.lo_name, &b, 0, on_sx);
	struct thread *ba = thread(p, "ba", a.lock_object.lo_name, &a, 0, on_sx);
	struct thread *td;

	a.sx_lock = (uintptr_t)ab | 0x4;
	b.sx_lock = (uintptr_t)ba | 0x4;
	m.mtx_lock = (uintptr_t)ab | 0x2;
	k.lk_lock = (uintptr_t)ba | 0x4;
	kp.lk_lock = (uintptr_t)-1 & ~(uintptr_t)0x1b;
	td = thread(p, "behind mtx", NULL, NULL, 0, on_mtx);
	block(td, &m.lock_object, ab);
	thread(p, "behind lk", k.lock_object.lo_name, &k, 0, on_lockmgr);
	thread(p, "behind buf", "getblk", &kp, 0, on_lockmgr);
	td = thread(p, "behind shared", shared.lock_object.lo_name, &shared, 0, on_sx);
	contends(td, &shared.lock_object);
	contends(ab, &b.lock_object);
	contends(ba, &a.lock_object);

#ifdef SPLIT
	/* It spins on its CPU as long as the owner runs. */
	static struct mtx spun = { { "lab spun", CLASS(SLEEP_MUTEX), 0, 0 }, 0 };

	spun.mtx_lock = (uintptr_t)ab;
	td = thread(p, "spinner", NULL, NULL, 0, on_mtx);
	td->td_state = TDS_RUNNING;
	td->td_inhibitors = 0;
	td->td_oncpu = 1;
	contends(td, &spun.lock_object);
#endif

	/* A read-mostly lock: its writer has the inner mutex and waits for two readers. */
	static struct rmlock rm = { { "lab rm", CLASS(RM), 0, 0 } };
	static struct rm_priotracker tracker[2];
	struct thread *writer = thread(p, "rm writer", NULL, NULL, 0, on_rm);

	for (int i = 0; i < 2; i++) {
		tracker[i].rmp_rmlock = &rm;
		tracker[i].rmp_thread = i == 0 ? ab : ba;
		tracker[i].rmp_qentry.le_next = i == 0 ? &tracker[1] : NULL;
	}
	rm.rm_activeReaders.lh_first = &tracker[0];
	rm._rm_lock._rm_lock_mtx = (struct mtx){ { "lab rm", CLASS(SLEEP_MUTEX), 0, 0 }, (uintptr_t)writer };
	block(writer, &rm.lock_object, ab);
	td = thread(p, "rm reader", NULL, NULL, 0, on_mtx);
	block(td, &rm._rm_lock._rm_lock_mtx.lock_object, writer);

	static struct rwlock rw = { { "lab rw", CLASS(RW), 0, 0 } }, readers = { { "lab rw r", CLASS(RW), 0, 0 }, 3 << 5 | 0x4 | 1 };
	rw.rw_lock = (uintptr_t)ba | 0x4;
	block(thread(p, "behind rw", NULL, NULL, 0, on_mtx), &rw.lock_object, ba);
	block(thread(p, "behind readers", NULL, NULL, 0, on_mtx), &readers.lock_object, NULL);
}

/* A zombie, a vCPU's thread that lost its CPU on the way to user mode, and one whose stack is swapped out (until 14). */
static void
leavers(void)
{
	struct proc *p = process(40, "gone", NULL);
	struct thread *td = thread(p, "gone", NULL, NULL, 0, event);

	p->p_state = 2;
	td->td_state = TDS_INACTIVE;
	td->td_inhibitors = 0;
	/* Later it is only in the hash table. */
	allproc.lh_first = p->p_list.le_next;
	p->p_list.le_next = NULL;
#ifndef VCPU_POINTERS
	zombproc.lh_first = p;
#endif
	p = process(42, "away", NULL);
	td = thread(p, "away", "kqread", p, TDF_SINTR, event);
	td->td_inhibitors |= TDI_SWAPPED;
	munmap((void *)td->td_kstack, KSTACK_PAGES * PAGE);
	p = process(41, "leaver", NULL);
	td = thread(p, "leaver", NULL, NULL, 0, preempted);
	td->td_state = TDS_RUNQ;
	td->td_inhibitors = 0;
#ifndef ARM64
	/* The assembler has left the user's frame pointer where it was. */
	*(uint64_t *)(td->td_kstack + KSTACK_PAGES * PAGE - 14 * 8) = 0x7fffffffe000;
	td->td_pcb->pcb_rsp = (uintptr_t)td->td_kstack + KSTACK_PAGES * PAGE - 64 * 8;
#endif
}

/* All vCPUs halted; one idle CPU was stopped by an NMI on a stack of its own, one entered the debugger. */
static void
healthy(void)
{
	struct vm *vm = machine("idlevm", 2, VCPU_SLEEPING);
	struct proc *p = process(16, "bhyve", "bhyve: idlevm");
	struct thread *td;

	thread(p, "vcpu 0", "vmidle", vcpu_of(vm, 0), 0, halted);
	thread(p, "vcpu 1", "vmidle", vcpu_of(vm, 1), 0, halted);
	p = process(10, "idle", NULL);
	td = thread(p, "idle: cpu0", NULL, NULL, 0, idle_thread);
	td->td_state = TDS_RUNNING;
	td->td_inhibitors = 0;
	td->td_oncpu = 0;
#ifndef ARM64
	/* cpustop_handler <- ipi_nmi_handler <- trap <- nmi_calltrap | trap frame | cpu_idle ... */
	char *nmi = take(2 * PAGE);
	uint64_t *record = (uint64_t *)(nmi + PAGE);
	struct trapframe *tf = (struct trapframe *)(record + 10);

	tf->tf_rip = (uintptr_t)cpu_idle + 4;
	tf->tf_rbp = td->td_pcb->pcb_rbp;
	tf->tf_rsp = td->td_pcb->pcb_rsp;
	tf->tf_cs = 0x20;
	record[8] = tf->tf_rbp;
	record[9] = (uintptr_t)nmi_calltrap + 16;
	record[4] = (uintptr_t)(record + 8);
	record[5] = (uintptr_t)trap + 16;
	record[0] = (uintptr_t)(record + 4);
	record[1] = (uintptr_t)ipi_nmi_handler + 16;
#ifdef VCPU_POINTERS
	stoppcbs = calloc(SETSIZE, sizeof(*stoppcbs));
#endif
	stoppcbs[0].pcb_rip = (uintptr_t)cpustop_handler + 16;
	stoppcbs[0].pcb_rbp = (uintptr_t)record;
	stoppcbs[0].pcb_rsp = (uintptr_t)record - 16;
	CPU_SETBIT(0, &stopped_cpus);
	kdb_active = 1;
	td = thread(p, "idle: cpu1", NULL, NULL, 0, idle_thread);
	td->td_state = TDS_RUNNING;
	td->td_inhibitors = 0;
	td->td_oncpu = 1;
	static fn in_debugger[] = { kdb_enter, uart_intr, fork_exit, fork_trampoline, LAST };
	save_stack(&kdb_pcb, (char *)td->td_kstack, in_debugger);
#else
	/* makectx() saves the program counter besides x30; since 14 in its place. */
	static fn in_debugger[] = { kdb_enter, uart_intr, fork_exit, fork_trampoline, LAST };
	kdb_active = 1;
	save_stack(&kdb_pcb, (char *)td->td_kstack, in_debugger);
#ifndef VCPU_POINTERS
	kdb_pcb.pcb_pc = kdb_pcb.pcb_x[PCB_LR];
	kdb_pcb.pcb_x[PCB_LR] = (uintptr_t)lab_worker + 16;
#endif
#endif
}

/* Lists that close on themselves or lead nowhere, and frame pointers that turn back. */
static void
corrupted(void)
{
	static int channel;
	struct proc *p;
	struct thread *td, *first;

	deadlock();
	p = process(30, "circle", NULL);
	first = thread(p, "one", "wait", &channel, 0, event);
	td = thread(p, "two", "wait", &channel, 0, event);
	td->td_plist.tqe_next = first;
	p = process(31, "wild", NULL);
	td = thread(p, "wild", "wait", &channel, 0, event);
	td->td_plist.tqe_next = (struct thread *)0xdeadc0dedeadc0de;
	td->td_wmesg = (const char *)0x10;
	p = process(32, "stolen", NULL);
	td = thread(p, "stolen", "wait", &channel, 0, event);
	td->td_plist.tqe_next = allproc.lh_first->p_list.le_next->p_threads.tqh_first;
	p = process(33, "badstack", NULL);
	td = thread(p, "badstack", "wait", &channel, 0, event);
#ifndef ARM64
	*(uint64_t *)td->td_pcb->pcb_rbp = td->td_pcb->pcb_rbp;
	td = thread(p, "nopcb", "wait", &channel, 0, event);
	td->td_pcb = (struct pcb *)0x1234567890;
	td = thread(p, "badfp", "wait", &channel, 0, event);
	td->td_pcb->pcb_rbp = 0x4141414141414141;
#endif
	/* The first process of all leads back into the list. */
	for (p = allproc.lh_first; p->p_list.le_next != NULL; p = p->p_list.le_next)
		;
	p->p_list.le_next = allproc.lh_first->p_list.le_next;
}

#if defined(__linux__) && defined(__x86_64__)
/* A stack of this very process, for gdb's own unwinder to be compared with. */
static __attribute__((noinline)) int
sleep_at_depth(int depth)
{
	if (depth > 0)
		return (sleep_at_depth(depth - 1) + 1);
	for (;;)
		/* pause(2), without a function of its own */
		__asm__ volatile("syscall" : : "a"(34L) : "rcx", "r11", "memory");
}
#endif

#ifdef REAL_THREADS
#include <pthread.h>

/* For the benchmark: as many real threads, as deep as a system call that sleeps. */
static __attribute__((noinline)) int
deep(int depth)
{
	/* Kernel frames are some 180 bytes on average. */
	volatile char locals[128];

	locals[0] = depth;
	if (depth == 0) {
		pause();
		return (0);
	}
	return (deep(depth - 1) + locals[0]);
}

#ifdef UNITS
struct s3;
extern int level0(int depth, struct s3 *p);
#define deep(depth) level0(depth, arg)
#endif

static void *
real_thread(void *arg)
{
	deep(10);
	return (arg);
}

static void
real_threads(int count)
{
	pthread_attr_t small;
	pthread_t id;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 * 1024);
	for (int i = 0; i < count; i++)
		if (pthread_create(&id, &small, real_thread, NULL) != 0)
			err(1, "pthread_create");
	sleep(1);
}
#endif

static void
many(int count, int deeper)
{
	fn chain[64], *next = chain;

	for (int i = 0; i < 4; i++)
		*next++ = uwait[i];
	while (deeper-- > 0)
		*next++ = umtxq_sleep;
	for (int i = 4; uwait[i] != LAST; i++)
		*next++ = uwait[i];
	*next = LAST;
	static int channel;
	struct proc *p = NULL;

	deadlock();
	for (int i = 0; i < count; i++) {
		char name[20];

		if (i % 20 == 0)
			p = process(1000 + i, "worker", NULL);
		snprintf(name, sizeof(name), "worker %d", i);
		thread(p, name, "uwait", &channel, TDF_SINTR, chain);
	}
#ifdef REAL_THREADS
	real_threads(count);
#endif
}

int
main(int argc, char **argv)
{
	const char *scenario = argc > 1 ? argv[1] : "deadlock";

#ifdef __linux__
	/* Let a debugger that is not our parent attach, whatever ptrace_scope says. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
#endif
	base();
	if (strcmp(scenario, "deadlock") == 0)
		deadlock();
	else if (strcmp(scenario, "lockcycle") == 0)
		lockcycle();
	else if (strcmp(scenario, "healthy") == 0)
		healthy();
	else if (strcmp(scenario, "leavers") == 0)
		leavers();
	else if (strcmp(scenario, "corrupted") == 0)
		corrupted();
	else if (strcmp(scenario, "many") == 0)
		many(argc > 2 ? atoi(argv[2]) : 1000, argc > 3 ? atoi(argv[3]) : 0);
	else if (strcmp(scenario, "real") != 0)
		errx(2, "no such scenario: %s", scenario);
	printf("ready\n");
	fflush(stdout);
#if defined(__linux__) && defined(__x86_64__)
	if (strcmp(scenario, "real") == 0)
		sleep_at_depth(12);
#endif
	for (;;)
		pause();
}
