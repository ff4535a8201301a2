package load

import (
	"context"
	"runtime"
	"time"
)

// fine is how close to a moment the runtime's timers get: below a millisecond they round up.
const fine = 2 * time.Millisecond

// pace waits for moments more exactly than the runtime's timers do. It holds a thread.
type pace struct{ timer *time.Timer }

func newPace() *pace {
	runtime.LockOSThread()
	return &pace{timer: time.NewTimer(0)}
}

func (p *pace) stop() {
	p.timer.Stop()
	runtime.UnlockOSThread()
}

// until waits for a moment. Error: ctx's cause.
func (p *pace) until(ctx context.Context, at time.Time) error {
	if wait := time.Until(at) - fine; wait > 0 {
		p.timer.Reset(wait)
		select {
		case <-p.timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	p.nap(at)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// nap waits for a moment that is near.
func (p *pace) nap(at time.Time) {
	if wait := time.Until(at); wait > 0 {
		nap(wait)
	}
}
