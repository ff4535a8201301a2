package embedded

import "syscall"

// childAttributes keeps the child out of the terminal's process group, so that Ctrl-C reaches this process alone and
// it can stop things in order, and has the kernel send onDeath when this process dies.
func childAttributes(credential *syscall.Credential, onDeath syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential, Pdeathsig: onDeath}
}
