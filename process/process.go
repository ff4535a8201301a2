// Package process answers for child processes that do not outlive this one: servers and handlers that the tests, the demo and
// the benchmarks start. On Linux the kernel ends them when this process dies, however it dies; on other systems only an
// orderly Stop does.
package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a running child.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // from Wait; readable when exited is closed
}

// Start runs cmd in a process group of its own, so that Ctrl-C reaches this process alone and it can stop things in order.
// cmd's output must be *os.File, or its end waits for whoever else holds the pipe. A credential that cmd has stays.
// onDeath is what the kernel sends the child when this process dies. The errors are those of exec.Cmd.Start.
func Start(cmd *exec.Cmd, onDeath syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	dieWithParent(cmd.SysProcAttr, onDeath)
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is bound to the thread that forked, not to the process: this thread has to stay for as
		// long as the child does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return p, nil
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the child has ended and has been waited for.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Running says whether the child has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Err is nil when the child ended with status 0, and an *exec.ExitError or a failure to wait otherwise. It waits for the end.
func (p *Process) Err() error {
	<-p.exited
	return p.err
}

// Signal sends s. A child that has ended gets nothing, and that is no error.
func (p *Process) Signal(s os.Signal) {
	if p.Running() {
		_ = p.cmd.Process.Signal(s) // fails only when the child has ended meanwhile
	}
}

// Stop sends s and waits until the child has ended, ctx is done or wait is over. It reports whether it has ended.
func (p *Process) Stop(ctx context.Context, s os.Signal, wait time.Duration) bool {
	p.Signal(s)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-ctx.Done():
	case <-timer.C:
	}
	return !p.Running()
}

// Kill ends the child at once and waits until it has ended.
func (p *Process) Kill() {
	p.Signal(os.Kill)
	<-p.exited
}
