/* The module vmm.ko: the list of VMs, and a set for the kernel's linker, whose section has no dot in its name. */
#include "../model/vmm_dev.c"

static int loaded = 1;
static void *sysinit __attribute__((section("set_sysinit_set"), used)) = &loaded;
