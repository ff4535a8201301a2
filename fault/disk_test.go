//go:build disk && linux

package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"openbank/embedded"
)

// full is a fault of Postgres' disk: there is no room left, for a while.
const full = "disk full"

// diskSize is enough for a new server and what a schedule stores.
const diskSize = "256m"

// A disk without room is waited for like a server that is away; a server that ends because of it is started again when there is room.
func TestTheBooksAreRightAfterThePostgresDiskWasFull(t *testing.T) {
	disk, err := os.MkdirTemp("/var/tmp", "openbank-disk-")
	if err == nil {
		err = os.Chmod(disk, 0o711) // the server's user has to pass it
	}
	if err == nil {
		err = syscall.Mount("tmpfs", disk, "tmpfs", 0, "mode=711,size="+diskSize)
	}
	if err != nil {
		t.Fatalf("only root can mount a small disk: %v", err)
	}
	// After the world's own clean-up, which still uses it.
	t.Cleanup(func() {
		if err := errors.Join(syscall.Unmount(disk, syscall.MNT_DETACH), os.Remove(disk)); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t, embedded.PostgresConfig{
		Dir: filepath.Join(disk, "postgres"), Settings: map[string]string{"min_wal_size": "32MB", "max_wal_size": "48MB"},
	})
	w.fill = func(ctx context.Context, long time.Duration) error {
		return fill(ctx, w, filepath.Join(disk, "filler"), long)
	}
	seed := seedOrTime()
	total := &tally{sum: map[spot]*count{}}
	for i := range uint64(diskSchedules) {
		s := draw(seed + i)
		s.again = fmt.Sprintf("-tags soak,disk -args -seed %d", seed+i)
		r := rand.New(rand.NewPCG(seed+i, 2))
		s.faults = nil
		for range 1 + r.IntN(3) {
			s.faults = append(s.faults, fault{milliseconds(r, 0, 800), postgres, full, milliseconds(r, 200, 4000)})
		}
		if !playOne(t, w, s, total) {
			break
		}
	}
	if total.full == 0 {
		t.Error("no handler found the disk full")
	}
	t.Logf("from seed %d on, %d handlers found the disk full: %s", seed, total.full, total)
}

const diskSchedules = 12

// fill takes all room on the disk for a while.
func fill(ctx context.Context, w *world, path string, long time.Duration) error {
	filler, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for end := time.Now().Add(long); time.Now().Before(end); {
		if _, err := filler.Write(block); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return errors.Join(err, filler.Close())
		} else if err != nil { // full; the server may give some room back, which is taken as well
			if len(block) > 1 {
				block = block[:len(block)/2]
				continue
			}
			block = block[:cap(block)]
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	if err := errors.Join(filler.Close(), os.Remove(path)); err != nil {
		return err
	}
	select {
	case <-w.bank.Postgres.Ended():
		w.bank.Postgres.Kill() // what is left of it
		if err := w.bank.Postgres.Start(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("starting Postgres once there is room again: %w", err)
		}
	default:
	}
	return nil
}
