package progress

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// usualColumns is how wide a terminal is taken to be that doesn't tell.
const usualColumns = 80

// columns is how wide the terminal is at this moment: as it says itself, or COLUMNS says, or usualColumns.
func columns(terminal *os.File) int {
	var size struct{ rows, columns, width, height uint16 }
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, terminal.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if failed == 0 && size.columns > 0 {
		return int(size.columns)
	}
	if told, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && told > 0 {
		return told
	}
	return usualColumns
}
