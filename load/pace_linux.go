package load

import (
	"syscall"
	"time"
)

// nap sleeps in the kernel, which wakes within some 60 µs.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // a signal ends it early, and what is sent then is early by less than fine
}
