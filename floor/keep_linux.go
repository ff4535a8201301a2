package floor

import (
	"os"
	"syscall"
)

// keep is fdatasync, Postgres' own choice on Linux.
func keep(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
