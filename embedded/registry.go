package embedded

import (
	"bufio"
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr/srfake"
)

const (
	journalName    = "requests.jsonl"
	maxRequest     = 4 << 20
	headerDeadline = 10 * time.Second
)

// RegistryConfig says where the Schema Registry runs. The zero value is one without TLS in a temporary directory.
type RegistryConfig struct {
	// Dir keeps subjects and ids from run to run. Default: a temporary directory that goes at Close, or with the next
	// temporary one that is made after this process was killed.
	Dir string
	// Port on 127.0.0.1. Default: one that is free, the same one for as long as the Registry lives.
	Port int
	// TLS, when set, makes it https, see certs.ServerTLS.
	TLS *tls.Config
	// Authorization, when set, is what every request's header of that name must be.
	Authorization string
	// Logger gets the server's warnings. Default: nothing is logged.
	Logger *slog.Logger
}

// Registry is a Schema Registry in this process, on 127.0.0.1. Its methods may be called from several goroutines.
//
// It is srfake's, which keeps everything in memory: what was asked to change it is kept on disk, in order, before the
// answer goes out, and asked again at each start, which gives the same subjects, versions and ids. It finds every schema
// compatible.
type Registry struct {
	config RegistryConfig
	home   *home

	mu     sync.Mutex
	port   int
	server *http.Server // nil when stopped
	served chan error   // what Serve ended with
	book   *journal
}

// StartRegistry starts the registry with what Dir holds. It takes connections when it returns.
func StartRegistry(ctx context.Context, config RegistryConfig) (*Registry, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := openHome(config.Dir, identity{})
	if err != nil {
		return nil, fmt.Errorf("starting the registry: %w", err)
	}
	r := &Registry{config: config, home: h, port: config.Port}
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, h.leave())
	}
	return r, nil
}

// URL is the registry's base URL.
func (r *Registry) URL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.config.TLS != nil {
		return "https://" + loopback(r.port)
	}
	return "http://" + loopback(r.port)
}

// Start starts the registry again, after Stop, on the same port and with what it had.
func (r *Registry) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.start(ctx); err != nil {
		return fmt.Errorf("starting the registry: %w", err)
	}
	return nil
}

func (r *Registry) start(ctx context.Context) (err error) {
	if r.server != nil {
		return errors.New("it is running already")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.home.acquire(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.home.release())
		}
	}()
	book, err := openJournal(filepath.Join(r.home.dir, journalName), srfake.NewRegistry().Handler())
	if err != nil {
		return err
	}
	book.authorization = r.config.Authorization
	listener, err := r.listen()
	if err != nil {
		return errors.Join(err, book.file.Close())
	}
	r.port = portOf(listener)
	if r.config.TLS != nil {
		listener = tls.NewListener(listener, r.config.TLS)
	}
	server := &http.Server{Handler: book, ReadHeaderTimeout: headerDeadline, ErrorLog: slog.NewLogLogger(r.config.Logger.Handler(), slog.LevelWarn)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	r.server, r.served, r.book = server, served, book
	return nil
}

func (r *Registry) listen() (net.Listener, error) {
	if r.port == 0 {
		return listenFree()
	}
	return listen(r.port)
}

// Stop answers what has been asked, for as long as ctx allows, and breaks off every connection. Stopping a stopped
// registry does nothing.
func (r *Registry) Stop(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		return nil
	}
	err := r.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, r.server.Close())
	}
	if ended := <-r.served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	err = errors.Join(err, r.book.close(), r.home.release())
	r.server = nil
	if err != nil {
		return fmt.Errorf("stopping the registry: %w", err)
	}
	return nil
}

// Close is Stop, and the end of a temporary directory. The registry cannot be started again after it.
func (r *Registry) Close(ctx context.Context) error {
	return errors.Join(r.Stop(ctx), r.home.leave())
}

// journal has a registry's changes on disk before anybody hears of them.
type journal struct {
	registry      http.Handler
	authorization string

	mu     sync.Mutex // one change at a time, so that the file has them in the order in which they were made
	file   *os.File
	known  map[string]bool // registrations that would change nothing
	broken error           // a change that could not be kept: none is taken any more
}

// entry is a request that changed the registry. ID is what it was answered, for a registration.
type entry struct {
	Method string `json:"method"`
	URI    string `json:"uri"`
	Body   string `json:"body,omitempty"`
	ID     int    `json:"id,omitempty"`
}

// key tells whether a request is the same as an earlier one.
func (e entry) key() string { return e.Method + " " + e.URI + "\n" + e.Body }

// openJournal asks the registry everything again that the file holds.
func openJournal(path string, registry http.Handler) (_ *journal, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("reading %s: %w", path, err), file.Close())
		}
	}()
	j := &journal{registry: registry, file: file, known: make(map[string]bool)}
	reader := bufio.NewReader(file)
	var whole int64
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // what follows the last line's end was never answered: its writer was killed
		}
		if err != nil {
			return nil, err
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		answer, err := j.ask(e)
		if err != nil {
			return nil, err
		}
		if answer.Code >= http.StatusMultipleChoices || registeredID(answer.Body.Bytes()) != e.ID {
			return nil, fmt.Errorf("the registry answered %s %s with id %d, and now answers %d: %s", e.Method, e.URI, e.ID, answer.Code, strings.TrimSpace(answer.Body.String()))
		}
		j.remember(e)
		whole += int64(len(line))
	}
	if err := file.Truncate(whole); err != nil {
		return nil, err
	}
	_, err = file.Seek(whole, io.SeekStart)
	return j, err
}

func (j *journal) ask(e entry) (*httptest.ResponseRecorder, error) {
	request, err := http.NewRequestWithContext(context.Background(), e.Method, e.URI, strings.NewReader(e.Body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	answer := httptest.NewRecorder()
	j.registry.ServeHTTP(answer, request)
	return answer, nil
}

func (j *journal) remember(e entry) {
	if e.Method == http.MethodPost {
		j.known[e.key()] = true
		return
	}
	clear(j.known) // after a deletion, registering the same again is a change
}

func registeredID(body []byte) int {
	var answer struct {
		ID int `json:"id"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return 0 // deletions and configurations answer something else
	}
	return answer.ID
}

// changes says whether a request can change the registry: it registers, deletes or configures.
func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodPut, http.MethodDelete:
		return true
	case http.MethodPost:
		return strings.HasSuffix(r.URL.Path, "/versions") && !strings.Contains(r.URL.Path, "/compatibility/")
	default:
		return false
	}
}

func (j *journal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if j.authorization != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(j.authorization)) == 0 {
		w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error_code":401,"message":"Unauthorized"}`)
		return
	}
	if !changes(r) {
		j.registry.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	change := entry{Method: r.Method, URI: r.URL.RequestURI(), Body: string(body)}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		http.Error(w, j.broken.Error(), http.StatusInternalServerError)
		return
	}
	answer := httptest.NewRecorder()
	r.Body = io.NopCloser(bytes.NewReader(body))
	j.registry.ServeHTTP(answer, r)
	if answer.Code < http.StatusMultipleChoices {
		change.ID = registeredID(answer.Body.Bytes())
		if err := j.keep(change); err != nil {
			j.broken = fmt.Errorf("keeping a change: %w", err)
			http.Error(w, j.broken.Error(), http.StatusInternalServerError)
			return
		}
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // the client is gone: it asks again, and that changes nothing
}

// keep writes the change to disk, unless it is none.
func (j *journal) keep(e entry) error {
	if j.known[e.key()] {
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.remember(e)
	return nil
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = fs.ErrClosed // a request that Stop could not wait for changes nothing any more
	return j.file.Close()
}
