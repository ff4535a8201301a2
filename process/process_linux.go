package process

import "syscall"

func dieWithParent(attributes *syscall.SysProcAttr, onDeath syscall.Signal) {
	attributes.Pdeathsig = onDeath
}
