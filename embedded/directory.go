package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// identity is the user that Postgres runs as. It refuses to run as root, so root lends it another user.
type identity struct {
	uid, gid int
	name     string
	other    bool // not the user of this process
}

func serverIdentity() identity {
	if uid := os.Geteuid(); uid != 0 {
		return identity{uid: uid, gid: os.Getegid(), name: "uid " + strconv.Itoa(uid)}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil && uid > 0 {
			return identity{uid: uid, gid: gid, name: name, other: true}
		}
	}
	return identity{uid: 65534, gid: 65534, name: "uid 65534", other: true}
}

func (id identity) credential() *syscall.Credential {
	if !id.other {
		return nil
	}
	return &syscall.Credential{Uid: uint32(id.uid), Gid: uint32(id.gid)}
}

// own gives path to the user.
func (id identity) own(path string) error {
	if !id.other {
		return nil
	}
	return os.Chown(path, id.uid, id.gid)
}

// reach returns an error that names the first directory on the way to dir (itself included) that the user may not pass.
func (id identity) reach(dir string) error {
	if !id.other {
		return nil
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for at := resolved; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		bit := fs.FileMode(0o001)
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			switch {
			case int(stat.Uid) == id.uid:
				bit = 0o100
			case int(stat.Gid) == id.gid:
				bit = 0o010
			}
		}
		if info.Mode().Perm()&bit == 0 {
			return fmt.Errorf("user %s, which Postgres runs as here because it refuses to be root, may not pass %s (%s)", id.name, at, info.Mode())
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// makeDirectory is os.MkdirAll for directories that other users may pass, whatever the umask is. Those that are there
// already are left as they are.
func makeDirectory(dir string) error {
	var missing []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, at)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { // Postgres' user has to pass it; what is secret in it has its own mode
		return err
	}
	for _, made := range missing {
		if err := os.Chmod(made, 0o755); err != nil { // as above
			return err
		}
	}
	return nil
}

// directoryLock is held on a directory by one process at a time, and is free again when that process is gone,
// however it went.
type directoryLock struct{ file *os.File }

// errLocked says that somebody holds the lock.
var errLocked = errors.New("in use already")

// tryLock takes the lock that path is, or returns errLocked.
func tryLock(path string) (*directoryLock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return lockFile(path, file)
}

func lockFile(path string, file *os.File) (*directoryLock, error) {
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, errLocked)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return &directoryLock{file}, nil
}

// waitLock is tryLock until ctx is done.
func waitLock(ctx context.Context, path string) (*directoryLock, error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		lock, err := tryLock(path)
		if !errors.Is(err, errLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %w: %w", err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// free gives the lock up. The file stays: removing it would let two processes hold a lock of the same name.
func (l *directoryLock) free() error {
	if l == nil {
		return nil
	}
	// Explicitly: closing leaves it held as long as a process that is being started at this moment has not closed its copy.
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}

// setTemporary notes in the lock's file whether the directory is one that sweep may remove. The lock has to be held.
func (l *directoryLock) setTemporary(temporary bool) error {
	if err := l.file.Truncate(0); err != nil || !temporary {
		return err
	}
	_, err := l.file.WriteAt([]byte(temporaryMark), 0)
	return err
}

// isTemporary says whether setTemporary noted in the lock's file that sweep may remove the directory.
func isTemporary(file *os.File) bool {
	mark := make([]byte, len(temporaryMark))
	_, err := file.ReadAt(mark, 0)
	return err == nil && string(mark) == temporaryMark
}

// InUse says whether a bank's surroundings, in any process, run in dir.
func InUse(dir string) (bool, error) {
	path := filepath.Join(dir, lockName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil // and none is made
	}
	lock, err := tryLock(path)
	if errors.Is(err, errLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, lock.free()
}

const (
	temporaryPattern = "openbank-*"
	unlockedPrefix   = "new-"
	lockName         = "in-use"
	temporaryMark    = "temporary\n"
)

// home is the directory of one server: the caller's, locked while the server runs, or a temporary one, locked until it
// is removed.
type home struct {
	dir       string
	temporary bool
	lock      *directoryLock
}

// openHome makes the directory if it has to, and locks it.
func openHome(dir string, id identity) (*home, error) {
	if dir == "" {
		dir, lock, err := temporaryDirectory(id)
		return &home{dir: dir, temporary: true, lock: lock}, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := makeDirectory(dir); err != nil {
		return nil, err
	}
	h := &home{dir: dir}
	return h, h.acquire()
}

// acquire locks the directory, if that is not done yet.
func (h *home) acquire() error {
	if h.lock != nil {
		return nil
	}
	lock, err := tryLock(filepath.Join(h.dir, lockName))
	if err != nil {
		return err
	}
	h.lock = lock
	return lock.setTemporary(false) // what a killed process left in a temporary directory is the caller's from here on
}

// release lets others have the directory, unless it is temporary.
func (h *home) release() error {
	if h.temporary {
		return nil
	}
	err := h.lock.free()
	h.lock = nil
	return err
}

// keep makes a temporary directory the caller's, out of the reach of sweep.
func (h *home) keep() error {
	if !h.temporary {
		return nil
	}
	h.temporary = false
	return h.lock.setTemporary(false)
}

// leave is release, and the end of a temporary directory.
func (h *home) leave() error {
	if !h.temporary || h.lock == nil {
		return h.release()
	}
	err := errors.Join(os.RemoveAll(h.dir), h.lock.free())
	h.lock = nil
	return err
}

// temporaryDirectory makes a directory that Postgres' user can pass, and removes those of processes that were killed
// before they could do it themselves. The lock is held until the directory is removed.
func temporaryDirectory(id identity) (string, *directoryLock, error) {
	parent := os.TempDir()
	if id.reach(parent) != nil {
		parent = "/var/tmp"
	}
	sweep(parent)
	// Under another name until it is locked: between the making of the lock's file and its lock another process would sweep it away.
	unlocked, err := os.MkdirTemp(parent, unlockedPrefix+temporaryPattern)
	if err != nil {
		return "", nil, err
	}
	dir := filepath.Join(parent, strings.TrimPrefix(filepath.Base(unlocked), unlockedPrefix))
	lock, err := tryLock(filepath.Join(unlocked, lockName))
	if err == nil {
		err = lock.setTemporary(true)
	}
	if err == nil {
		err = os.Chmod(unlocked, 0o711) // Postgres' user has to pass it
	}
	if err == nil {
		err = os.Rename(unlocked, dir)
	}
	if err != nil {
		_ = lock.free()
		return "", nil, errors.Join(err, os.RemoveAll(unlocked))
	}
	return dir, lock, nil
}

// sweep removes temporary directories of this user that nobody holds. A directory that was given has a name of the
// caller's, which can look like theirs: only the mark tells. What sweep cannot remove is left: it is only tidying.
func sweep(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, temporaryPattern)) // the pattern is well formed
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
			continue
		}
		// No lock file: it is being removed at this moment, or is none of ours. None is made: a directory with a new file can't be removed.
		file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if !isTemporary(file) { // nor is it locked for an instant: its user would find it in use
			_ = file.Close()
			continue
		}
		lock, err := lockFile(file.Name(), file)
		if err != nil {
			continue
		}
		if isTemporary(file) { // nobody has made it theirs in between
			_ = os.RemoveAll(dir)
		}
		_ = lock.free()
	}
}
