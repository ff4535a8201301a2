//go:build unix && !linux

package embedded

import "syscall"

// childAttributes keeps the child out of the terminal's process group, so that Ctrl-C reaches this process alone and
// it can stop things in order. There is no parent-death signal on this system.
func childAttributes(credential *syscall.Credential, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential}
}
