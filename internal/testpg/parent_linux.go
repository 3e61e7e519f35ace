package testpg

import "syscall"

// dieWithParent has the kernel send an immediate shutdown when the keeper is killed.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
