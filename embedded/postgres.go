package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lib/pq"

	"openbank/process"
)

const (
	postgresUser    = "openbank" // a superuser
	defaultDatabase = "balancedb"

	startDeadline = 2 * time.Minute // crash recovery of a large database included
	retryInterval = 50 * time.Millisecond
	clashDeadline = 10 * time.Second // for a port or shared memory that another process is about to give up
	fastDeadline  = 30 * time.Second // for a fast shutdown
	quitDeadline  = 10 * time.Second // for an immediate one
	maxLogBytes   = 8 << 20
)

// PostgresConfig says which server runs where. The zero value is a server in a temporary directory of its own.
type PostgresConfig struct {
	// Dir keeps the data (in data), the password and the server's log from run to run. Default: a temporary directory
	// that goes at Close, and else, when this process was killed, with the next temporary one that is made.
	Dir string
	// Port on 127.0.0.1. Default: one that is free, the same one for as long as the Postgres lives.
	Port int
	// Binaries is the directory that holds initdb and postgres. Default: the newest local ones that fit Dir's data, and
	// fetched ones when there are none.
	Binaries string
	// Version, when set and Binaries is not, is fetched even if there are local binaries: 17 or 17.5.0, as published.
	Version string
	// Cache is where fetched binaries stay. Default: openbank in the user's cache directory; /var/cache/openbank for
	// root, whose own cache no other user may read.
	Cache string
	// Settings are for the server's command line, and win over its configuration. fsync is on unless it is in here.
	Settings map[string]string
	// Logger. Default: nothing is logged.
	Logger *slog.Logger
}

// Postgres is a server of its own on 127.0.0.1, a child process that does not outlive this one. Root lends it another
// user. Its methods may be called from several goroutines.
type Postgres struct {
	config   PostgresConfig
	identity identity
	binaries binaries
	home     *home
	dir      string // the home's, as the server reaches it
	password string

	mu     sync.Mutex
	port   int
	server *process.Process // nil when stopped
}

// StartPostgres starts a server and returns when it takes connections; a first start makes its data directory and the
// database balancedb. ctx bounds the start alone.
func StartPostgres(ctx context.Context, config PostgresConfig) (_ *Postgres, err error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Postgres{config: config, identity: serverIdentity(), port: config.Port}
	defer func() {
		if err != nil {
			err = fmt.Errorf("starting Postgres: %w", err)
			if p.home != nil {
				err = errors.Join(err, p.home.leave())
			}
		}
	}()
	if err := p.prepareDirectory(); err != nil {
		return nil, err
	}
	major, err := p.dataVersion()
	if err != nil {
		return nil, err
	}
	if p.binaries, err = findBinaries(ctx, config, p.identity, major); err != nil {
		return nil, err
	}
	if major != 0 && major != p.binaries.major {
		return nil, fmt.Errorf("the data in %s is PostgreSQL %d's, and %s is PostgreSQL %d", p.dir, major, p.binaries.dir, p.binaries.major)
	}
	if err := p.identity.reach(p.binaries.dir); err != nil {
		return nil, err
	}
	if p.password, err = p.makePassword(); err != nil {
		return nil, err
	}
	if major == 0 {
		if err := p.initialise(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	if err := p.CreateDatabase(ctx, defaultDatabase); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// URL is how to reach a database of the server as its superuser; "" is balancedb.
func (p *Postgres) URL(database string) string {
	if database == "" {
		database = defaultDatabase
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(postgresUser, p.password), Host: loopback(p.port), Path: database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Binaries is the directory that the server's programs are in.
func (p *Postgres) Binaries() string { return p.binaries.dir }

// Version is the server's major version.
func (p *Postgres) Version() int { return p.binaries.major }

// PID is the process id of the server, whose sessions are its children; 0 when it does not run.
func (p *Postgres) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return 0
	}
	return p.server.PID()
}

// CreateDatabase makes an empty database, unless it is there already.
func (p *Postgres) CreateDatabase(ctx context.Context, name string) (err error) {
	db, err := sql.Open("postgres", p.URL("postgres"))
	if err != nil {
		return fmt.Errorf("creating database %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// template0, because template1 can't be copied while anybody is connected to it.
	_, err = db.ExecContext(ctx, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE template0")
	if refused := (*pq.Error)(nil); errors.As(err, &refused) && refused.Code == "42P04" { // duplicate_database
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating database %s: %w", name, err)
	}
	return nil
}

// Start starts the server again, after Stop or Kill, on the same port and directory, and returns when it takes
// connections.
func (p *Postgres) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil && p.server.Running() {
		return errors.New("starting Postgres: it is running already")
	}
	if err := p.home.acquire(); err != nil {
		return fmt.Errorf("starting Postgres: %w", err)
	}
	if err := p.start(ctx); err != nil {
		return errors.Join(fmt.Errorf("starting Postgres: %w", err), p.home.release())
	}
	return nil
}

func (p *Postgres) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	clash := time.Now().Add(clashDeadline)
	choose := p.port == 0
	for {
		if choose {
			port, err := FreePort()
			if err != nil {
				return err
			}
			p.port = port
		}
		said, err := p.launch(ctx)
		if err == nil {
			p.config.Logger.Info("Postgres takes connections", "address", loopback(p.port), "version", p.binaries.major, "binaries", p.binaries.dir, "user", p.identity.name)
			return nil
		}
		// Another process took the port first, or processes of a server that was killed are still on their way out.
		passing := strings.Contains(said, "could not bind") || strings.Contains(said, "pre-existing shared memory block") ||
			strings.Contains(said, `lock file "postmaster.pid" already exists`)
		if !passing || ctx.Err() != nil || time.Now().After(clash) {
			return err
		}
		pause(ctx, retryInterval)
	}
}

// launch starts the server and waits until it takes connections. When it does not, the server is gone again, and what
// it wrote to its log is returned with the error.
func (p *Postgres) launch(ctx context.Context) (said string, err error) {
	data := filepath.Join(p.dir, "data")
	if err := clearStale(ctx, data); err != nil {
		return "", err
	}
	log, err := openLog(filepath.Join(p.dir, "postgres.log"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}

	settings := map[string]string{
		"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "logging_collector": "off", "log_destination": "stderr", "fsync": "on",
	}
	for name, value := range p.config.Settings {
		settings[name] = value
	}
	args := []string{"-D", data, "-p", strconv.Itoa(p.port)}
	for name, value := range settings {
		args = append(args, "--"+name+"="+value)
	}
	slices.Sort(args[4:])
	cmd := p.command("postgres", args...)
	// As after Kill: it ends at once, and recovers at the next start.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.identity.credential()}
	cmd.Stdout, cmd.Stderr = log, log
	if p.server, err = process.Start(cmd, syscall.SIGQUIT); err != nil {
		return "", err
	}
	if err := p.awaitReady(ctx); err != nil {
		p.kill()
		written, _ := io.ReadAll(io.NewSectionReader(log, before, maxLogBytes))
		return string(written), fmt.Errorf("%w: its log says: %s", err, lastLines(written, 12))
	}
	return "", nil
}

// awaitReady returns when the server takes connections.
func (p *Postgres) awaitReady(ctx context.Context) (err error) {
	address := url.URL{Scheme: "postgres", User: url.UserPassword(postgresUser, p.password), Host: loopback(p.port), Path: "postgres", RawQuery: "sslmode=disable&connect_timeout=5"}
	db, err := sql.Open("postgres", address.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for {
		last := db.PingContext(ctx)
		if last == nil && p.server.Running() { // running: the answer is not another server's on the same port
			return nil
		}
		select {
		case <-p.server.Exited():
			return fmt.Errorf("the server ended while starting: %w", p.server.Err())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the server to take connections (last: %w): %w", last, ctx.Err())
		case <-time.After(retryInterval):
		}
	}
}

// Stop ends the server in order: sessions are broken off, everything is on disk. One that does not end within 30 s, or
// before ctx is done, is ended as by Kill, and that is an error. Stopping a stopped server does nothing.
func (p *Postgres) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	if !p.server.Running() {
		ended := p.server.Err()
		if ended == nil {
			ended = errors.New("exit status 0")
		}
		err := fmt.Errorf("stopping Postgres: it had ended by itself, see %s: %w", filepath.Join(p.dir, "postgres.log"), ended)
		p.server = nil
		return errors.Join(err, p.home.release())
	}
	if p.server.Stop(ctx, syscall.SIGINT, fastDeadline) {
		p.server = nil
		return p.home.release()
	}
	p.kill()
	return errors.Join(errors.New("stopping Postgres: it did not end in time and was ended at once; it will recover at its next start"), p.home.release())
}

// Ended is closed when the server that runs now has ended, by itself or because it was stopped. It is nil when none runs.
func (p *Postgres) Ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	return p.server.Exited()
}

// Kill ends the server at once, as by a crash: nothing is finished, and the next start recovers what was acknowledged.
func (p *Postgres) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		p.kill()
		_ = p.home.release() // closing a file that nothing was written to
	}
}

func (p *Postgres) kill() {
	ctx := context.Background()
	// SIGQUIT before SIGKILL: the first makes the server take its children along, without finishing anything either.
	if !p.server.Stop(ctx, syscall.SIGQUIT, quitDeadline) {
		p.server.Stop(ctx, syscall.SIGKILL, quitDeadline)
	}
	p.server = nil
}

// Close is Stop, and the end of a temporary directory. The server cannot be started again after it.
func (p *Postgres) Close(ctx context.Context) error {
	return errors.Join(p.Stop(ctx), p.home.leave())
}

// command prepares one of the server's programs. Nothing of our environment reaches it: a PGDATA, PGOPTIONS or TMPDIR
// of ours is not meant for this server.
func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.binaries.dir, name), args...) //nolint:noctx // the chosen server; its life is Start to Stop
	cmd.Dir = p.dir
	cmd.Env = []string{"LC_ALL=C", "PATH=" + p.binaries.dir + ":/usr/bin:/bin", "HOME=" + p.dir}
	return cmd
}

// openLog opens the server's log for appending, empty when it has become large.
func openLog(path string) (*os.File, error) {
	flags := os.O_CREATE | os.O_RDWR | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > maxLogBytes {
		flags |= os.O_TRUNC
	}
	return os.OpenFile(path, flags, 0o600)
}

func lastLines(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// pause waits, but not longer than ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
