package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(script string) Command {
	return Command{Name: "handler", Path: "/bin/sh", Args: []string{"-c", script}, Environment: []string{"OWN=wins"}}
}

func TestHandlersGetTheBankAndTheirOwnVariablesOnTop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := Start(shell(`echo "$KAFKA_BROKERS $OWN"`), 2, dir, []string{"KAFKA_BROKERS=there:1", "OWN=bank"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		i := <-f.Ended()
		if err := f.Unexpected(i); !strings.Contains(err.Error(), "handler ended by itself (exit status 0)") || !strings.Contains(err.Error(), "there:1 wins") {
			t.Error(err)
		}
	}
	if err := f.Stop(); err != nil {
		t.Error(err)
	}
	if len(f.PIDs()) != 2 || f.Logs()[1] != filepath.Join(dir, "handler-2.log") {
		t.Errorf("%v %v", f.PIDs(), f.Logs())
	}
}

func TestAHandlerThatDoesNotStopInOrderIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := Start(shell(`trap 'echo goodbye; exit 3' TERM; echo ready; while :; do sleep 0.05; done`), 1, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		text, err := os.ReadFile(f.Logs()[0])
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "ready") {
			break
		}
		select {
		case i := <-f.Ended():
			t.Fatal(f.Unexpected(i))
		default:
		}
	}
	if f.Stopping() {
		t.Error("nobody stops it yet")
	}
	if err := f.Stop(); err == nil || !strings.Contains(err.Error(), "did not stop cleanly (exit status 3)") || !strings.Contains(err.Error(), "goodbye") {
		t.Error(err)
	}
	if !f.Stopping() {
		t.Error("it was stopped")
	}
}

func TestAProgramThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	if _, err := Find("/nowhere/handler"); err == nil || !strings.Contains(err.Error(), "/nowhere/handler") {
		t.Error(err)
	}
	if _, err := Start(Command{Name: "handler", Path: "/nowhere/handler"}, 1, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "starting handler") {
		t.Error(err)
	}
}
