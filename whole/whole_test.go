package whole_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"openbank/whole"
)

func TestAFileIsReplacedOnceTheNewOneIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(path, []byte("old"), 0o600), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	err := whole.Write(path, 0o644, func(to io.Writer) error { _, err := io.WriteString(to, "ne"); return errors.Join(err, full) })
	if text := content(t, path); !errors.Is(err, full) || text != "old" {
		t.Errorf("after a failure, %v, the file has %q", err, text)
	}
	// Who reads the old one has it to its end.
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if err := whole.WriteBytes(link, 0o644, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if text := content(t, path); text != "new" {
		t.Errorf("through a link, the file has %q", text)
	}
	if old, err := io.ReadAll(reader); err != nil || string(old) != "old" {
		t.Errorf("who had opened the old one reads %q, %v", old, err)
	}
	if got := mode(t, path); got != 0o600 {
		t.Errorf("its mode became %v", got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("beside file and link: %v, %v", entries, err)
	}
}

func TestANewFileHasTheModeThatIsAskedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := whole.WriteBytes(path, 0o600, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, path); got != 0o600 {
		t.Errorf("its mode is %v", got)
	}
	missing := filepath.Join(filepath.Dir(path), "nowhere", "file")
	if err := whole.WriteBytes(missing, 0o600, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing+":") {
		t.Errorf("in a directory that is not there: %v", err)
	}
}

func TestAPipeIsWrittenToAsItStands(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0) // returns at once, and keeps the writer from waiting for a reader
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if err := whole.WriteBytes(path, 0o644, []byte("all")); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, path); got.Type() != fs.ModeNamedPipe {
		t.Fatalf("the pipe is %v now", got)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(reader, got); err != nil || string(got) != "all" {
		t.Errorf("its reader has %q, %v", got, err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	there, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return there.Mode()
}
