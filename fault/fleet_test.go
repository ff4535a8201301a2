package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"openbank/process"
)

// fleet is the handlers of one schedule. Whichever kills itself has another one started in its place, armed with the next
// crash, until there are no more.
type fleet struct {
	env   []string
	logs  string
	clock machineClock
	fail  context.CancelCauseFunc
	// slotless says that Postgres goes away: handlers then lose the sessions that hold their slots, and one that another has taken
	// the slot of meanwhile ends, to be started again.
	slotless bool

	members sync.WaitGroup
	stop    chan struct{} // closed when all are to stop in order
	idle    chan struct{} // closed when no handler is armed any more

	mu      sync.Mutex
	crashes []crashAt // still to come
	armed   int
	started int
	cut     bool // a handler's last stop was no better than a crash
}

func newFleet(env []string, logs string, s schedule, fail context.CancelCauseFunc) *fleet {
	return &fleet{
		env: env, logs: logs, fail: fail, crashes: s.crashes, stop: make(chan struct{}), idle: make(chan struct{}),
		slotless: slices.ContainsFunc(s.faults, func(f fault) bool { return f.where == postgres }),
	}
}

// run keeps n handlers at work.
func (f *fleet) run(ctx context.Context, n int) {
	for range n {
		f.members.Go(func() {
			if err := f.member(ctx); err != nil {
				f.fail(err)
			}
		})
	}
}

// next is the next crash, and the number of the handler that it is for; nil when there is none left.
func (f *fleet) next(disarmed bool) (crash *crashAt, number int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started++
	if disarmed {
		f.armed--
	}
	if len(f.crashes) > 0 {
		crash, f.crashes = &f.crashes[0], f.crashes[1:]
		f.armed++
	} else if f.armed == 0 {
		select {
		case <-f.idle:
		default:
			close(f.idle)
		}
	}
	return crash, f.started
}

// giveBack has another handler armed with a crash that did not come to pass; nil is none.
func (f *fleet) giveBack(crash *crashAt) {
	if crash == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashes = append([]crashAt{*crash}, f.crashes...)
}

// member is one handler after the other.
func (f *fleet) member(ctx context.Context) error {
	wasArmed := false
	for {
		crash, number := f.next(wasArmed)
		var more []string
		if wasArmed = crash != nil; wasArmed {
			more = append(more, "CRASH_AT="+crash.String())
		}
		p, log, err := f.start(number, more...)
		if err != nil {
			return err
		}
		select {
		case <-p.Exited():
		case <-ctx.Done():
			p.Kill()
			return nil
		case <-f.stop:
			err := f.end(ctx, p, log)
			return errors.Join(err, f.noteStop(p, log))
		}
		if f.slotless && wasEvicted(p, log) {
			f.giveBack(crash)
			continue
		}
		if m, err := readMarks(log); err != nil || m.kill == nil || !wasKilled(p) {
			return errors.Join(fmt.Errorf("a handler ended by itself (%w), see %s: %s", p.Err(), log, lastLine(log)), err)
		}
	}
}

// end stops a handler in order. One that dies at its crash point on the way is none the worse.
func (f *fleet) end(ctx context.Context, p *process.Process, log string) error {
	if !p.Stop(ctx, syscall.SIGTERM, stopTime) {
		p.Kill()
		return fmt.Errorf("a handler does not stop within %s, see %s", stopTime, log)
	}
	if err := p.Err(); err != nil && !wasKilled(p) && (!f.slotless || !wasEvicted(p, log)) {
		return fmt.Errorf("a handler stopped with %w, see %s: %s", err, log, lastLine(log))
	}
	return nil
}

// noteStop notes a last stop that was no more than a crash: at which a handler died, or lost its slot, or had not got its place in the group
// yet after one that had died.
func (f *fleet) noteStop(p *process.Process, log string) error {
	text, err := os.ReadFile(log)
	if p.Err() != nil || !bytes.Contains(text, []byte("partitions assigned")) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.cut = true
	}
	return err
}

// wasCut says whether the last stop of one of the handlers was no better than a crash.
func (f *fleet) wasCut() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut
}

// said says whether one of the handlers has written that.
func (f *fleet) said(text string) (bool, error) {
	logs, err := filepath.Glob(filepath.Join(f.logs, "*.log"))
	if err != nil {
		return false, err
	}
	for _, log := range logs {
		written, err := os.ReadFile(log)
		if err != nil || strings.Contains(string(written), text) {
			return err == nil, err
		}
	}
	return false, nil
}

const stopTime = 30 * time.Second

// visit is a handler that joins, stays for a while and leaves. One that left before it had joined would be waited for by the
// embedded Kafka for ever: a member that it could not answer has no session there that could time out.
func (f *fleet) visit(ctx context.Context, long time.Duration, joined func(instance string) (bool, error)) error {
	f.mu.Lock()
	f.started++
	number := f.started
	f.mu.Unlock()
	instance := fmt.Sprintf("visitor-%d", number)
	p, log, err := f.start(number, "LEAVE_ON_STOP=true", "KAFKA_GROUP_INSTANCE_ID="+instance)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(settleTime); ; {
		is, err := joined(instance)
		switch {
		case is && err == nil:
			select {
			case <-p.Exited(): // as below
			case <-ctx.Done():
			case <-time.After(long):
				return f.end(ctx, p, log)
			}
		case time.Now().After(deadline):
			p.Kill()
			return errors.Join(fmt.Errorf("a handler does not get into the group within %s, see %s", settleTime, log), err)
		}
		select {
		case <-p.Exited():
			if f.slotless && wasEvicted(p, log) {
				return nil
			}
			return fmt.Errorf("a handler ended by itself (%w), see %s: %s", p.Err(), log, lastLine(log))
		case <-ctx.Done():
			p.Kill()
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (f *fleet) start(number int, more ...string) (*process.Process, string, error) {
	log := filepath.Join(f.logs, fmt.Sprintf("handler-%d.log", number))
	file, err := os.Create(log)
	if err != nil {
		return nil, log, err
	}
	defer func() { _ = file.Close() }() // the child has its own
	cmd := exec.Command(handlerBinary)
	cmd.Env = append(append([]string{"GORACE=halt_on_error=1", "HTTP_ADDRESS=off"}, f.env...), more...)
	cmd.Stdout, cmd.Stderr = file, file
	p, err := process.Start(cmd, syscall.SIGKILL)
	return p, log, err
}

// wasEvicted says whether a handler ended because another one has its slot.
func wasEvicted(p *process.Process, log string) bool {
	return p.Err() != nil && !wasKilled(p) && strings.Contains(lastLine(log), "has taken slot")
}

func wasKilled(p *process.Process) bool {
	var exit *exec.ExitError
	if !errors.As(p.Err(), &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
