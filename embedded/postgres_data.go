package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"openbank/process"
)

// prepareDirectory sets p.home, and p.dir to a directory that the server's user can pass.
func (p *Postgres) prepareDirectory() (err error) {
	if dir := p.config.Dir; dir != "" {
		if info, err := os.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if _, err := os.Stat(dir); err != nil {
				return fmt.Errorf("the data that %s stands for is gone: remove %s to begin anew: %w", dir, dir, err)
			}
		}
		if err := makeDirectory(dir); err != nil {
			return err
		}
		if err := p.identity.reach(dir); err != nil {
			if err := p.moveElsewhere(dir, err); err != nil {
				return err
			}
		}
	}
	if p.home, err = openHome(p.config.Dir, p.identity); err != nil {
		return err
	}
	// Where a link leads: what lies before it may be closed to the server's user.
	p.dir, err = filepath.EvalSymlinks(p.home.dir)
	return err
}

// moveElsewhere makes dir a link to a directory under /var/lib: root's home, where it often lies, is closed to the
// server's user. The link is with the rest of a bank's state, so removing that begins anew.
func (p *Postgres) moveElsewhere(dir string, cause error) error {
	const parent = "/var/lib/openbank"
	if err := os.Remove(dir); err != nil { // fails unless it is empty
		return fmt.Errorf("%w; choose another directory", cause)
	}
	if err := makeDirectory(parent); err != nil {
		return fmt.Errorf("%w; choose another directory: %w", cause, err)
	}
	elsewhere, err := os.MkdirTemp(parent, "postgres-")
	if err != nil {
		return fmt.Errorf("%w; choose another directory: %w", cause, err)
	}
	if err := os.Chmod(elsewhere, 0o711); err != nil { // the server's user has to pass it
		return err
	}
	if err := os.Symlink(elsewhere, dir); err != nil {
		return err
	}
	p.config.Logger.Warn("the database lies outside of the given directory, which holds a link to it", "directory", dir, "database", elsewhere, "because", cause)
	return nil
}

// dataVersion is the major version that made the data, 0 when there is none.
func (p *Postgres) dataVersion() (int, error) {
	text, err := os.ReadFile(filepath.Join(p.dir, "data", "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("reading the version of the data in %s: %w", p.dir, err)
	}
	return major, nil
}

// makePassword makes the superuser's password at first, and reads it later. It is random because every user of the
// machine can reach the port, and a superuser can run programs.
func (p *Postgres) makePassword() (string, error) {
	path := filepath.Join(p.dir, "password")
	text, err := os.ReadFile(path)
	if err == nil && len(text) > 0 {
		return string(text), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	password := rand.Text()
	if err := os.WriteFile(path, []byte(password), 0o600); err != nil {
		return "", err
	}
	return password, p.identity.own(path)
}

// initialise has initdb make the data directory, under another name until it is whole.
func (p *Postgres) initialise(ctx context.Context) error {
	unfinished, data := filepath.Join(p.dir, "data.unfinished"), filepath.Join(p.dir, "data")
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := os.Mkdir(unfinished, 0o700); err != nil {
		return err
	}
	if err := p.identity.own(unfinished); err != nil {
		return err
	}
	args := []string{
		"-D", unfinished, "-U", postgresUser, "--pwfile", filepath.Join(p.dir, "password"), "--auth", "scram-sha-256",
		"--encoding", "UTF8", "--locale", "C",
	}
	if p.home.temporary {
		args = append(args, "--no-sync") // a power cut takes the directory's use away anyhow
	}
	cmd := p.command("initdb", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.identity.credential()}
	output, err := os.CreateTemp(p.dir, "initdb-*.log")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(output.Name()); _ = output.Close() }()
	cmd.Stdout, cmd.Stderr = output, output
	initdb, err := process.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-initdb.Exited():
	case <-ctx.Done():
		initdb.Stop(context.WithoutCancel(ctx), syscall.SIGKILL, quitDeadline)
		return fmt.Errorf("making the data directory: %w", ctx.Err())
	}
	if err := initdb.Err(); err != nil {
		said, _ := io.ReadAll(io.NewSectionReader(output, 0, maxLogBytes))
		return fmt.Errorf("making the data directory with %s: %w: %s", cmd.Path, err, lastLines(said, 12))
	}
	return os.Rename(unfinished, data)
}

// clearStale removes the pid file of a server that was killed together with its machine or container: the number in
// it may be any other process's by now, which the server takes for itself running. A server that does run there gets
// some time to end, in case its parent has just been killed.
func clearStale(ctx context.Context, data string) error {
	path := filepath.Join(data, "postmaster.pid")
	deadline := time.Now().Add(clashDeadline)
	for {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _, _ := bytes.Cut(text, []byte("\n"))
		pid, err := strconv.Atoi(strings.TrimSpace(string(line)))
		if err != nil || pid <= 0 {
			return nil //nolint:nilerr // unreadable: the server says what it thinks of it
		}
		// The server's working directory is its data directory. Elsewhere than on Linux that can't be asked, and the
		// server's own check decides.
		at, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // gone, or no /proc: the server's own check does
		case err != nil && runsPostgres(pid):
			return nil // another user's, and not to be asked: the server's own check does
		case err != nil || !sameFile(at, data):
			// Shared memory that is still in use is found by its own key, so nothing is risked.
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		case time.Now().After(deadline) || ctx.Err() != nil:
			return fmt.Errorf("another server (process %d) uses %s already", pid, data)
		}
		pause(ctx, retryInterval)
	}
}

func runsPostgres(pid int) bool {
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	return err == nil && strings.TrimSpace(string(name)) == "postgres"
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}
