package realkafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"openbank/process"
)

// Registry is a running Apicurio with Confluent's API, over plain HTTP, its schemas in memory.
type Registry struct {
	server
	url string
	dir string
}

// StartRegistry fetches what is not in the cache yet, starts a registry and returns when it answers. ctx bounds the start
// alone.
func StartRegistry(ctx context.Context) (_ *Registry, err error) {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	r := &Registry{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting the registry: %w", err), r.Stop())
		}
	}()
	if r.java, err = findJava(); err != nil {
		return nil, err
	}
	home, err := registryHome(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "openbank-registry-"); err != nil {
		return nil, err
	}
	r.name, r.log = "the registry", filepath.Join(r.dir, "registry.log")
	r.url = fmt.Sprintf("http://%s:%d/apis/ccompat/v7", Host, ports[0])
	r.args = []string{
		"-Xmx256m", "-XX:+UseSerialGC", "-Dquarkus.http.host=" + Host, "-Dquarkus.http.port=" + strconv.Itoa(ports[0]),
		"-Dregistry.rest.artifact.deletion.enabled=true",
		"-jar", filepath.Join(home, apicurioJar),
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	return r, r.await(ctx, func() error { return answers(ctx, r.url+"/subjects") })
}

// URL is what SCHEMA_REGISTRY_URL has to be. It has a path.
func (r *Registry) URL() string { return r.url }

// PID is the registry's process id.
func (r *Registry) PID() int { return r.process.PID() }

// Stop stops the registry and removes what it left.
func (r *Registry) Stop() error {
	if r.process != nil {
		stopAll([]*process.Process{r.process})
	}
	if r.dir == "" {
		return nil
	}
	return os.RemoveAll(r.dir)
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
