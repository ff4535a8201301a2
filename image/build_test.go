//go:build docker

package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	version = "v0.0.0-test"
	// published is the image that the Dockerfile builds in.
	published = "golang:1.26-bookworm"
	// substitute is the same, made here.
	substitute = "openbank-test/golang:bookworm"
)

// tag is the image of a command that these tests build.
func tag(command string) string { return "openbank-test/" + command }

var buildImage string

// build builds the images that the tests run.
func build() (err error) {
	if buildImage, err = findBuildImage(); err != nil {
		return err
	}
	for _, command := range []string{"command-handler", "synchronizer"} {
		if err := buildTarget(command, tag(command)); err != nil {
			return err
		}
	}
	return nil
}

func buildTarget(target, tag string, more ...string) error {
	args := []string{
		"build", "--target", target, "--tag", tag, "--build-arg", "BUILD_IMAGE=" + buildImage, "--build-arg", "VERSION=" + version,
		"--build-arg", "BUILDPLATFORM=linux/" + runtime.GOARCH,
	}
	_, err := docker(append(append(args, more...), "..")...)
	return err
}

// findBuildImage is the published one where it is or can be pulled, and else one made of Debian's packages and the Go that runs
// this test.
func findBuildImage() (string, error) {
	for _, name := range []string{published, substitute} {
		if _, err := docker("image", "inspect", name); err == nil {
			return name, nil
		}
	}
	_, err := docker("pull", published)
	if err == nil {
		return published, nil
	}
	if made := makeBuildImage(); made != nil {
		return "", fmt.Errorf("there is no image to build in: %w; nor can one be made: %w", err, made)
	}
	return substitute, nil
}

func makeBuildImage() error {
	root, err := os.MkdirTemp("", "openbank-debian-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(root) }() // it is only tidying
	goRoot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	output, err := exec.Command("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", root).CombinedOutput()
	if err != nil {
		return fmt.Errorf("debootstrap, which wants root: %w: %s", err, output)
	}
	// The engine may be behind a proxy with a certificate of its own, which this machine trusts.
	if bundle, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt"); err == nil {
		if err := os.WriteFile(filepath.Join(root, "etc/ssl/certs/ca-certificates.crt"), bundle, 0o644); err != nil { // public
			return err
		}
	}
	if err := os.CopyFS(filepath.Join(root, "usr/local/go"), os.DirFS(strings.TrimSpace(string(goRoot)))); err != nil {
		return err
	}
	tar := exec.Command("tar", "-C", root, "-c", ".")
	load := exec.Command("docker", "import", "--change", "ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOTOOLCHAIN=local", "-", substitute)
	if load.Stdin, err = tar.StdoutPipe(); err != nil {
		return err
	}
	if err := tar.Start(); err != nil {
		return err
	}
	if output, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("docker import: %w: %s", err, output)
	}
	return tar.Wait()
}
