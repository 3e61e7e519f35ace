//go:build !linux

package testpg

import "syscall"

// dieWithParent does nothing here: only Linux can, and only a keeper that is itself killed needs it.
func dieWithParent(*syscall.SysProcAttr) {}
