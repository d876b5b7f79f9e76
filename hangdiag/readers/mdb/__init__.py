"""illumos' mdb and pstack: bhyve's vmm is much the same code there; what puts a thread to sleep is not (cv_wait, swtch)."""
