package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// oldestPostgres is the oldest major version that the bank supports; older local ones are passed over.
const oldestPostgres = 11

// fetchable are the versions that are fetched when only a major version is known, by that.
var fetchable = map[int]string{
	11: string(embeddedpostgres.V11), 12: string(embeddedpostgres.V12), 13: string(embeddedpostgres.V13), 14: string(embeddedpostgres.V14),
	15: string(embeddedpostgres.V15), 16: string(embeddedpostgres.V16), 17: string(embeddedpostgres.V17), 18: string(embeddedpostgres.V18),
}

// fetchedByDefault is the major version that is fetched when there is no local one and no data that wants another.
const fetchedByDefault = 17

// binaries is a directory with initdb and postgres in it.
type binaries struct {
	dir   string
	major int
}

// findBinaries follows PostgresConfig: Binaries, or Version (fetched), or the newest local ones of the major version
// that made the data (any, when there is none yet: 0), or fetched ones.
func findBinaries(ctx context.Context, c PostgresConfig, id identity, major int) (binaries, error) {
	if c.Binaries != "" {
		return inspect(ctx, c.Binaries)
	}
	if c.Version != "" {
		return fetch(ctx, c, id, c.Version)
	}
	var newest binaries
	for _, dir := range localDirectories() {
		b, err := inspect(ctx, dir)
		if err != nil || b.major < oldestPostgres || major != 0 && b.major != major || id.reach(dir) != nil {
			continue // not usable here is the same as not there
		}
		if b.major > newest.major {
			newest = b
		}
	}
	if newest.dir != "" {
		return newest, nil
	}
	if major == 0 {
		major = fetchedByDefault
	}
	return fetch(ctx, c, id, strconv.Itoa(major))
}

// localDirectories are the places where packages for Debian, Fedora, Alpine and macOS put the server, and PATH.
func localDirectories() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin", "/Library/PostgreSQL/*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		dirs = append(dirs, found...)
	}
	return dirs
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect checks that dir holds what is needed, and asks for the version.
func inspect(ctx context.Context, dir string) (binaries, error) {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return binaries{}, fmt.Errorf("looking for PostgreSQL's %s: %w", name, err)
		}
	}
	path := filepath.Join(dir, "postgres")
	output, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return binaries{}, fmt.Errorf("running %s --version: %w: %s", path, err, strings.TrimSpace(string(output)))
	}
	match := versionPattern.FindSubmatch(output)
	if match == nil {
		return binaries{}, fmt.Errorf("running %s --version: it says %q, which names no version of PostgreSQL", path, strings.TrimSpace(string(output)))
	}
	major, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return binaries{}, err
	}
	return binaries{dir: dir, major: major}, nil
}

// cacheDirectory is where fetched binaries stay. Root's own cache lies in a home directory that no other user may pass.
func cacheDirectory(id identity) (string, error) {
	if id.other {
		return "/var/cache/openbank", nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a place for PostgreSQL: %w (set HOME, or install PostgreSQL)", err)
	}
	return filepath.Join(base, "openbank"), nil
}

// fetch returns the binaries of a version ("17" or, as published, "17.5.0"), from the cache or from Maven Central.
func fetch(ctx context.Context, c PostgresConfig, id identity, version string) (binaries, error) {
	if major, err := strconv.Atoi(version); err == nil {
		if version = fetchable[major]; version == "" {
			return binaries{}, fmt.Errorf("PostgreSQL %d is not installed here, and there is none to fetch: install it, or name a version such as 17.5.0", major)
		}
	}
	cache := c.Cache
	if cache == "" {
		var err error
		if cache, err = cacheDirectory(id); err != nil {
			return binaries{}, err
		}
	}
	cache = filepath.Join(cache, "postgres")
	if err := makeDirectory(cache); err != nil {
		return binaries{}, fmt.Errorf("making a place for PostgreSQL: %w", err)
	}
	if err := id.reach(cache); err != nil {
		return binaries{}, fmt.Errorf("making a place for PostgreSQL: %w", err)
	}
	home := filepath.Join(cache, fmt.Sprintf("%s-%s-%s", version, runtime.GOOS, runtime.GOARCH))
	bin := filepath.Join(home, "bin")
	if _, err := os.Stat(home); err == nil {
		return inspect(ctx, bin)
	}
	c.Logger.Info("fetching PostgreSQL: none is installed here, or another version is wanted", "version", version, "into", home)
	// What fetches cannot be cancelled: when ctx is done first it goes on to its end, which leaves a good cache or none.
	fetched := make(chan error, 1)
	go func() { fetched <- fetchInto(ctx, cache, home, version) }()
	select {
	case err := <-fetched:
		if err != nil {
			return binaries{}, fmt.Errorf("fetching PostgreSQL %s from Maven Central (or install PostgreSQL %d or newer): %w", version, oldestPostgres, err)
		}
		return inspect(ctx, bin)
	case <-ctx.Done():
		return binaries{}, fmt.Errorf("fetching PostgreSQL %s: %w", version, ctx.Err())
	}
}

// fetchInto fetches and unpacks beside home and renames, so that home is there whole or not at all, with one process
// at a time.
func fetchInto(ctx context.Context, cache, home, version string) (err error) {
	lock, err := waitLock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.free()) }()
	if _, err := os.Stat(home); err == nil {
		return nil // another process was faster
	}
	left, _ := filepath.Glob(filepath.Join(cache, "unfinished-*")) // the pattern is well formed
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	unfinished, err := os.MkdirTemp(cache, "unfinished-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(unfinished)) }()

	unpacked := filepath.Join(unfinished, "files")
	if err := unpack(filepath.Join(unfinished, "archive"), unpacked, version); err != nil {
		return err
	}
	if err := openToAll(unpacked); err != nil {
		return err
	}
	return os.Rename(unpacked, home)
}

// unpack has the library fetch and unpack the archive, which it does only as the first step of starting a server. The
// server is not wanted (it could not be run as another user), so that step is followed by one that must fail: making
// a directory below a file that has just been unpacked.
func unpack(archive, into, version string) error {
	server := filepath.Join(into, "bin", "postgres")
	impossible := filepath.Join(server, "runtime")
	database := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.PostgresVersion(version)).
		Port(0). // it checks that the port is free; 0 always is
		CachePath(archive).
		BinariesPath(into).
		RuntimePath(impossible).
		Logger(io.Discard))
	err := database.Start()
	removeLibraryLogs()
	runtime.KeepAlive(database) // until here: with it goes the open log, which tells that the log is ours
	http.DefaultClient.CloseIdleConnections()
	if err == nil || !strings.Contains(err.Error(), impossible) {
		return fmt.Errorf("unpacking the archive: %w", err)
	}
	for _, path := range []string{server, filepath.Join(into, "bin", "initdb")} {
		if _, err := exec.LookPath(path); err != nil {
			return fmt.Errorf("unpacking the archive: %w", err)
		}
	}
	return nil
}

// removeLibraryLogs removes the logs that the library makes in the directory for temporary files and leaves there. Those of this
// process are known by its having them open, which only Linux tells; elsewhere an empty file stays.
func removeLibraryLogs() {
	open, _ := filepath.Glob("/proc/self/fd/*") // the pattern is well formed
	for _, link := range open {
		path, err := os.Readlink(link)
		if err == nil && filepath.Dir(path) == filepath.Clean(os.TempDir()) && strings.HasPrefix(filepath.Base(path), "embedded_postgres_log") {
			_ = os.Remove(path) // it is only tidying
		}
	}
}

// openToAll lets every user read what is in dir, and run what its owner may run, whatever the umask was.
func openToAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if mode&0o100 != 0 || entry.IsDir() {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}
