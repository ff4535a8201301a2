package embedded

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// child is a process that does not outlive this one: the kernel ends it when this process dies, however it dies (on
// systems other than Linux only an orderly Stop does).
type child struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has been waited for
	err    error         // from Wait; readable when exited is closed
}

// startChild runs cmd. The files that cmd is given as output must be *os.File, so that nothing but the process itself
// is waited for.
func startChild(cmd *exec.Cmd) (*child, error) {
	c := &child{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is bound to the thread that forked, not to the process: this thread has to stay for
		// as long as the child does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.err = cmd.Wait()
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

func (c *child) running() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// signal sends s and waits until the process is gone, ctx is done or the time is over. It reports whether it is gone.
func (c *child) signal(ctx context.Context, s os.Signal, wait time.Duration) bool {
	if !c.running() {
		return true
	}
	_ = c.cmd.Process.Signal(s) // fails only when the process is gone already, which the wait below notices
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-ctx.Done():
	case <-timer.C:
	}
	return !c.running()
}
