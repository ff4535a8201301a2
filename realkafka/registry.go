package realkafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Registry is a running Apicurio with Confluent's API, over plain HTTP, its schemas in memory.
type Registry struct {
	server
	gate *gate
	dir  string
}

const registryPath = "/apis/ccompat/v7"

// StartRegistry fetches what is not in the cache yet, starts a registry and returns when it answers. ctx bounds the start
// alone.
func StartRegistry(ctx context.Context) (*Registry, error) { return startRegistry(ctx, "") }

// startRegistry starts one that rehearses if making is an archive.
func startRegistry(ctx context.Context, making archive) (_ *Registry, err error) {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	r := &Registry{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting the registry: %w", err), r.Close())
		}
	}()
	if r.java, err = findJava(); err != nil {
		return nil, err
	}
	home, err := registryHome(ctx)
	if err != nil {
		return nil, err
	}
	var classes archive
	if making == "" {
		if classes, err = r.java.archive(ctx, home, func(into archive) error { return rehearseRegistry(ctx, into) }); err != nil {
			return nil, err
		}
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "openbank-registry-"); err != nil {
		return nil, err
	}
	r.name, r.log = "the registry", filepath.Join(r.dir, "registry.log")
	address := net.JoinHostPort(Host, strconv.Itoa(ports[0]))
	if r.gate, err = newGate(address); err != nil {
		return nil, err
	}
	r.args = slices.Concat(classes.use(), making.make(), []string{
		"-Xmx256m", "-XX:+UseSerialGC", quickStart, "-Dquarkus.http.host=" + Host, "-Dquarkus.http.port=" + strconv.Itoa(ports[0]),
		"-Dregistry.rest.artifact.deletion.enabled=true",
		"-jar", filepath.Join(home, apicurioJar),
	})
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	if err := r.await(ctx, func() error { return answers(ctx, "http://"+address+registryPath+"/subjects") }); err != nil {
		return nil, err
	}
	return r, r.Start(ctx)
}

// URL is what SCHEMA_REGISTRY_URL has to be. It has a path.
func (r *Registry) URL() string { return "http://" + r.gate.address + registryPath }

// PID is the registry's process id.
func (r *Registry) PID() int { return r.process.PID() }

// Stop breaks off every connection and takes no more. What the registry has is in its memory, so it goes on behind that.
func (r *Registry) Stop(context.Context) error { return r.gate.stop() }

// Start takes connections again, after Stop, on the same port.
func (r *Registry) Start(ctx context.Context) error { return r.gate.start(ctx) }

// Close stops the registry and removes what it left.
func (r *Registry) Close() error {
	var err error
	if r.gate != nil {
		err = r.gate.stop()
	}
	if r.process != nil {
		r.process.Kill()
	}
	if r.dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

func answers(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}
