/*
 * A model of the parts of a FreeBSD kernel's memory that hangdiag's kernel walker reads. Names of
 * structures, members, functions and variables are FreeBSD's; everything else is left out or shuffled,
 * so that only layouts asked from the debug information can be right.
 *
 * VCPU_POINTERS   vCPUs behind an array of pointers and 1024-CPU sets (13.2 and later), else inline
 * SPLIT           with VCPU_POINTERS: as in 15.1 and later: struct vm with memory in a structure of its own, a softc
 *                 with more links, td_wantedlock, td_kstack_pages as half an int
 * ARM64           an arm64 pcb (of 12 and 13; with VCPU_POINTERS, of 14 and later) and trap frame
 * ARM_VMM         with ARM64 and VCPU_POINTERS: arm64's vmm of 15, which knows no rendezvous
 */
#include <stddef.h>
#include <stdint.h>

typedef unsigned int u_int;
typedef unsigned char u_char;

#ifdef VCPU_POINTERS
#define SETSIZE 1024
#else
#define SETSIZE 256
#endif
typedef struct { long __bits[SETSIZE / 64]; } cpuset_t;
#define CPU_SETBIT(n, set) ((set)->__bits[(n) / 64] |= 1L << ((n) % 64))

struct lock_object { const char *lo_name; u_int lo_flags; u_int lo_data; void *lo_witness; };
struct mtx { struct lock_object lock_object; volatile uintptr_t mtx_lock; };
struct sx { struct lock_object lock_object; volatile uintptr_t sx_lock; };
struct rwlock { struct lock_object lock_object; volatile uintptr_t rw_lock; };
struct lock { struct lock_object lock_object; volatile uintptr_t lk_lock; u_int lk_exslpfail; int lk_timo; };
struct rm_queue { struct rm_queue *rmq_next, *rmq_prev; };
struct rmlock {
	struct lock_object lock_object;
	cpuset_t rm_writecpus;
	struct { struct rm_priotracker *lh_first; } rm_activeReaders;
	union { struct lock_object _rm_wlock_object; struct mtx _rm_lock_mtx; struct sx _rm_lock_sx; } _rm_lock;
};
struct rm_priotracker {
	struct rm_queue rmp_cpuQueue;
	struct rmlock *rmp_rmlock;
	struct thread *rmp_thread;
	int rmp_flags;
	struct { struct rm_priotracker *le_next, **le_prev; } rmp_qentry;
};

#define CLASS(n) ((u_int)(n) << 24)
enum { SPIN_MUTEX, SLEEP_MUTEX, SX, RM, RM_SLEEPABLE, RW, LOCKMGR };

#ifdef ARM64
#ifdef VCPU_POINTERS
/* It begins with x19. */
struct pcb { uint64_t pcb_x[12]; uint64_t pcb_sp, pcb_tpidr_el0; };
#define PCB_FP 10
#define PCB_LR 11
#else
struct pcb { uint64_t pcb_x[31]; uint64_t pcb_pc, pcb_sp, pcb_tpidr_el0; };
#define PCB_FP 29
#define PCB_LR 30
#endif
struct trapframe { uint64_t tf_sp, tf_lr, tf_elr, tf_spsr, tf_x[30]; };
#else
struct pcb { int64_t pcb_r15, pcb_r14, pcb_r13, pcb_r12, pcb_rbp, pcb_rsp, pcb_rbx, pcb_rip; char pcb_rest[64]; };
struct trapframe {
	int64_t tf_rdi, tf_rsi, tf_rdx, tf_rcx, tf_r8, tf_r9, tf_rax, tf_rbx, tf_rbp, tf_r10, tf_r11, tf_r12, tf_r13,
	    tf_r14, tf_r15;
	uint32_t tf_trapno; uint16_t tf_fs, tf_gs; int64_t tf_addr; uint32_t tf_flags; uint16_t tf_es, tf_ds;
	int64_t tf_err, tf_rip, tf_cs, tf_rflags, tf_rsp, tf_ss;
};
#endif

struct turnstile { void *ts_blocked[4]; void *ts_pending[2]; struct lock_object *ts_lockobj; struct thread *ts_owner; };

enum td_states { TDS_INACTIVE, TDS_INHIBITED, TDS_CAN_RUN, TDS_RUNQ, TDS_RUNNING };
#define TDI_SUSPENDED 0x1
#define TDI_SLEEPING 0x2
#define TDI_SWAPPED 0x4
#define TDI_LOCK 0x8
#define TDI_IWAIT 0x10
#define TDF_SINTR 0x8
#define NOCPU (-1)

struct thread {
	struct mtx *volatile td_lock;
	struct proc *td_proc;
	struct { struct thread *tqe_next, **tqe_prev; } td_plist;
#ifdef VCPU_POINTERS
	struct { struct thread *le_next, **le_prev; } td_hash;
#endif
	int td_tid;
	u_int td_flags;
	u_int td_inhibitors;
	int td_oncpu, td_lastcpu;
	const void *td_wchan;
	const char *td_wmesg;
	struct turnstile *td_blocked;
	const char *td_lockname;
	char td_name[20];
	int td_swvoltick, td_swinvoltick;
	struct pcb *td_pcb;
#ifdef SPLIT
	enum td_states td_state;
	char *td_kstack;
	unsigned short td_kstack_pages, td_kstack_domain;
	struct lock_object *td_wantedlock;
#else
	union { enum td_states td_state; long td_filler; };
	uintptr_t td_kstack;
	int td_kstack_pages;
#endif
	struct pcb td_model_pcb;
};

struct pargs { u_int ar_ref; u_int ar_length; u_char ar_args[1]; };

struct proc {
	struct { struct proc *le_next, **le_prev; } p_list;
	struct { struct thread *tqh_first, **tqh_last; } p_threads;
#ifdef VCPU_POINTERS
	struct { struct proc *le_next, **le_prev; } p_hash;
#endif
	int p_state, p_flag, p_pid;
	char p_comm[20];
	struct pargs *p_args;
	int p_numthreads;
};

struct prison { char pr_name[64]; char pr_hostname[256]; };
struct linker_file { int refs; struct { struct linker_file *tqe_next, **tqe_prev; } link; char *filename, *pathname;
	char *address; size_t size; };

enum vcpu_state { VCPU_IDLE, VCPU_FROZEN, VCPU_RUNNING, VCPU_SLEEPING };
#ifdef ARM_VMM
struct vcpu { int flags; enum vcpu_state state; struct mtx mtx; int hostcpu, vcpuid; void *stats; };
struct vm {
	void *cookie;
	volatile cpuset_t active_cpus, debug_cpus;
	int suspend;
	_Bool dying;
	volatile cpuset_t suspended_cpus, halted_cpus;
	char name[128];
	struct vcpu **vcpu;
	uint16_t sockets, cores, threads, maxcpus;
};
#else
struct vcpu {
	struct mtx mtx;
	enum vcpu_state state;
#ifdef VCPU_POINTERS
	int vcpuid;
#endif
	int hostcpu;
	int reqidle;
	void *vlapic;
};

struct vm_mem { struct { long segs[4]; } mem_maps[2]; struct sx mem_segs_lock; void *mem_vmspace; };
struct vm {
#ifdef SPLIT
	void *cookie;
	struct vcpu **vcpu;
	struct vm_mem mem;
	char name[128];
	struct sx vcpus_init_lock;
	_Bool dying;
	int suspend;
	volatile cpuset_t active_cpus, debug_cpus, suspended_cpus, halted_cpus;
	cpuset_t rendezvous_req_cpus, rendezvous_done_cpus;
	void *rendezvous_arg;
	void (*rendezvous_func)(void);
	struct mtx rendezvous_mtx;
	uint16_t sockets, cores, threads, maxcpus;
#elif defined(VCPU_POINTERS)
	struct vcpu **vcpu;
	char name[64];
	uint16_t maxcpus;
	int suspend;
	cpuset_t active_cpus, debug_cpus, suspended_cpus, halted_cpus, rendezvous_req_cpus, rendezvous_done_cpus;
	void *rendezvous_arg;
	void (*rendezvous_func)(void);
#else
	cpuset_t active_cpus, debug_cpus;
	int suspend;
	cpuset_t suspended_cpus, halted_cpus, rendezvous_req_cpus, rendezvous_done_cpus;
	void *rendezvous_arg;
	void (*rendezvous_func)(void);
	char name[32];
	struct vcpu vcpu[16];
	uint16_t maxcpus;
#endif
};
#endif

struct vmmdev_softc { struct vm *vm; void *cdev;
#ifdef SPLIT
	void *ucred;
#endif
	struct { struct vmmdev_softc *sle_next; } link;
#ifdef SPLIT
	struct { struct vmmdev_softc *le_next, **le_prev; } priv_link;
#endif
	int flags; };

void vm_list_insert(struct vm *vm, void *cdev);
