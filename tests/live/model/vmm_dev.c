#include <stdlib.h>

#include "kernel.h"

/* File-local, and not the only `head` of the program: as in the kernel. */
static struct { struct vmmdev_softc *slh_first; } head;

void
vm_list_insert(struct vm *vm, void *cdev)
{
	struct vmmdev_softc *sc = calloc(1, sizeof(*sc));

	sc->vm = vm;
	sc->cdev = cdev;
	sc->link.sle_next = head.slh_first;
	head.slh_first = sc;
}
