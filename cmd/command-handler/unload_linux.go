package main

import (
	"bufio"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// Addresses, permissions and inode of a mapping, of proc_pid_maps(5); no inode is 0.
var mapping = regexp.MustCompile(`^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)`)

// unload takes the program's code and constants, and its libraries', out of this process's memory: MADV_DONTNEED of madvise(2), on files.
// They stay in the kernel's cache, and come back 64 KB at a time where they are used again. What only a start needs does not: some 3 MB.
// Mappings with a page of their own, in memory or swapped out, are left alone: in it the dynamic linker may have written addresses, or a
// debugger a breakpoint, which would be lost.
func unload() {
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return // it is the memory's figure that suffers
	}
	defer func() { _ = smaps.Close() }()
	var from, to uintptr
	owned := false // it has pages that are not the file's
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		if m := mapping.FindStringSubmatch(lines.Text()); m != nil {
			from, to, owned = 0, 0, false
			if !strings.Contains(m[3], "w") && m[4] != "0" {
				from, to = address(m[1]), address(m[2])
			}
			continue
		}
		field, size, _ := strings.Cut(lines.Text(), ":")
		switch {
		case field == "Anonymous" || field == "Swap":
			owned = owned || strings.TrimSpace(size) != "0 kB"
		case field == "VmFlags" && to > 0 && !owned: // the last of a mapping's
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}

func address(hex string) uintptr {
	n, err := strconv.ParseUint(hex, 16, strconv.IntSize)
	if err != nil {
		return 0
	}
	return uintptr(n)
}
