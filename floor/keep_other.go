//go:build !linux

package floor

import "os"

func keep(f *os.File) error { return f.Sync() }
