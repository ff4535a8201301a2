package fault

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"openbank/embedded"
)

// clockLibrary shows a handler's C code another wall clock. What its Go code does with that is in TestNoDecisionGoesByTheWallClock.
var clockLibrary string

func buildClock(dir string) error {
	clockLibrary = filepath.Join(dir, "wallclock.so")
	build := exec.Command("gcc", "-O2", "-shared", "-fPIC", "-o", clockLibrary, "testdata/wallclock.c")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	return build.Run()
}

// machineClock is the clock of a fleet's machine.
type machineClock struct{ file string }

// newMachineClock is one that is right, in a file that stays with the logs.
func newMachineClock(logs string) (machineClock, error) {
	c := machineClock{file: filepath.Join(logs, "wall-clock")}
	return c, c.set(0)
}

// set puts it ahead of the right time, or behind it.
func (c machineClock) set(by time.Duration) error {
	file, err := os.OpenFile(c.file, os.O_WRONLY|os.O_CREATE, 0o600) // not made anew: handlers have it in their memory
	if err != nil {
		return err
	}
	_, err = file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(by/time.Second)), 0)
	return errors.Join(err, file.Close())
}

func (c machineClock) environment() []string {
	return []string{"LD_PRELOAD=" + clockLibrary, "WALL_CLOCK=" + c.file}
}

// A handler whose machine's clock is set back by an hour, or ahead, while there is nothing to do, keeps its place in the group, shares the work
// with one that comes, and stops at once. Under load its threads would wake each other.
func TestAClockThatIsSetHoldsNothingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, embedded.PostgresConfig{})
	seed := seedOrTime()
	next := seed
	t.Logf("from seed %d on", seed)
	for _, delivery := range []string{exactlyOnce, atLeastOnce} {
		for _, by := range []time.Duration{-time.Hour, time.Hour} {
			s := schedule{seed: next, delivery: delivery, maxBatch: 50, faults: []fault{{where: theClock}}}
			next++
			t.Run(fmt.Sprintf("%s, by %s", delivery, by), func(t *testing.T) {
				t.Parallel()
				w.lead(t, s, seed, func(ctx context.Context, r *run) error { return r.stepClock(ctx, by) })
			})
		}
	}
}

// sessionTimeout is the handler's in its group.
const sessionTimeout = 6 * time.Second

// stepClock sets the clock of a handler that does nothing, and has another one come and go.
func (r *run) stepClock(ctx context.Context, by time.Duration) error {
	const instance = "first"
	p, log, err := r.alone("KAFKA_GROUP_INSTANCE_ID=" + instance)
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := r.load.open(ctx, r.world, accounts); err != nil {
		return err
	}
	if _, err := r.answered(ctx); err != nil {
		return err
	}
	if err := r.fleet.clock.set(by); err != nil {
		return err
	}
	select {
	case <-time.After(sessionTimeout * 3 / 2): // the fault itself: whoever sends no heartbeat has lost its place by then
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err = r.fleet.visit(ctx, time.Second, func(visitor string) (bool, error) {
		is, err := r.joined(ctx, instance)
		if !is || err != nil {
			return false, err
		}
		return r.joined(ctx, visitor)
	})
	if err != nil {
		return err
	}
	if err := r.load.burst(ctx, 50); err != nil {
		return err
	}
	if _, err := r.answered(ctx); err != nil {
		return err
	}
	if !p.Stop(ctx, syscall.SIGTERM, sessionTimeout) {
		return fmt.Errorf("the handler does not stop within %s, see %s", sessionTimeout, log)
	}
	return p.Err()
}
