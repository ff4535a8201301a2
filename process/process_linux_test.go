package process_test

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openbank/process"
)

// TestMain is also the program of a parent that starts a child and dies.
func TestMain(m *testing.M) {
	if os.Getenv("PROCESS_TEST_PARENT") != "" {
		p, err := process.Start(exec.Command("tail", "-f", os.DevNull), syscall.SIGKILL)
		if err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(p.PID()) + "\n")
		<-p.Exited()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestStopEndsTheChildAndTellsItsStatus(t *testing.T) {
	t.Parallel()
	p, err := process.Start(exec.Command("tail", "-f", os.DevNull), syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Running() {
		t.Fatal("it does not run")
	}
	if !p.Stop(t.Context(), syscall.SIGTERM, time.Minute) {
		t.Fatal("still running after SIGTERM")
	}
	if p.Err() == nil {
		t.Error("a child that was terminated has no error")
	}
	p.Signal(syscall.SIGTERM) // no child, no error
}

func TestAProgramThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := process.Start(exec.Command("/nowhere/at-all"), syscall.SIGKILL); err == nil || !strings.Contains(err.Error(), "/nowhere/at-all") {
		t.Fatalf("error %v", err)
	}
}

func TestAChildDiesWithItsParent(t *testing.T) {
	t.Parallel()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "PROCESS_TEST_PARENT=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	deadline := time.Now().Add(30 * time.Second)
	for tick := time.Tick(5 * time.Millisecond); alive(child); <-tick {
		if time.Now().After(deadline) {
			t.Fatalf("child %d outlived its parent", child)
		}
	}
}

// alive says whether a process runs; one that has ended but was not waited for yet does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
