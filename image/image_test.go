//go:build docker

package image

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// What people pull, in bytes.
const (
	mostBytes      = 20_000_000
	mostCompressed = 8_000_000
)

func TestTheHandlersImageIsSmall(t *testing.T) {
	t.Parallel()
	save := exec.Command("docker", "save", tag("command-handler"))
	image, err := save.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := save.Start(); err != nil {
		t.Fatal(err)
	}
	var packed count
	zip := gzip.NewWriter(&packed)
	size, err := io.Copy(zip, image)
	if err = errors.Join(err, zip.Close(), save.Wait()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, compressed %d", size, packed)
	if size > mostBytes || packed > mostCompressed {
		t.Errorf("%d bytes, compressed %d; at most %d and %d", size, packed, mostBytes, mostCompressed)
	}
}

func TestAnImageIsACommandAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"command-handler", "synchronizer"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			container := mustDocker(t, "create", tag(command))
			t.Cleanup(func() { mustDocker(t, "rm", container) })
			export := exec.Command("docker", "export", container)
			files, err := export.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := export.Start(); err != nil {
				t.Fatal(err)
			}
			var found []string
			for archive := tar.NewReader(files); ; {
				header, err := archive.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if header.Typeflag == tar.TypeReg && header.Size > 0 { // Docker mounts over empty files
					found = append(found, header.Name)
				}
			}
			if err := export.Wait(); err != nil {
				t.Fatal(err)
			}
			want := []string{command, "etc/ssl/certs/ca-certificates.crt"}
			slices.Sort(want)
			if slices.Sort(found); !slices.Equal(found, want) {
				t.Errorf("files %q, want %q", found, want)
			}
			if _, err := docker("run", "--rm", "--entrypoint", "/bin/sh", tag(command), "-c", "true"); err == nil {
				t.Error("there is a shell")
			}
			for what, want := range map[string]string{
				"{{.Config.User}}":  "65532:65532", // without rights, and by number: there is no list of names
				"{{.Os}}":           "linux",
				"{{.Architecture}}": runtime.GOARCH,
				`{{index .Config.Labels "org.opencontainers.image.version"}}`:  version,
				`{{index .Config.Labels "org.opencontainers.image.licenses"}}`: "Apache-2.0",
			} {
				if got := mustDocker(t, "inspect", "--format", what, tag(command)); got != want {
					t.Errorf("%s is %q, want %q", what, got, want)
				}
			}
			for _, label := range []string{"title", "description"} {
				if mustDocker(t, "inspect", "--format", `{{index .Config.Labels "org.opencontainers.image.`+label+`"}}`, tag(command)) == "" {
					t.Errorf("there is no label %s", label)
				}
			}
			if said := mustDocker(t, "run", "--rm", "--network", "none", "--read-only", tag(command), "--version"); !strings.Contains(said, version) {
				t.Errorf("--version says %q, which lacks %s", said, version)
			}
		})
	}
}

// TestTheOtherArchitectureIsBuiltHere has the build stage cross-compile, and looks at what comes of it.
func TestTheOtherArchitectureIsBuiltHere(t *testing.T) {
	t.Parallel()
	other, machine := "arm64", elf.EM_AARCH64
	if runtime.GOARCH == other {
		other, machine = "amd64", elf.EM_X86_64
	}
	image := tag("build-" + other)
	if err := buildTarget("build", image, "--build-arg", "TARGETARCH="+other); err != nil {
		t.Fatal(err)
	}
	container := mustDocker(t, "create", image, "nothing") // it is never started
	t.Cleanup(func() { mustDocker(t, "rm", container) })
	for _, command := range []string{"command-handler", "synchronizer", "open-bank"} {
		path := filepath.Join(t.TempDir(), command)
		mustDocker(t, "cp", container+":/out/"+command, path)
		binary, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if binary.Machine != machine {
			t.Errorf("%s is for %v, want %v", command, binary.Machine, machine)
		}
		for _, part := range binary.Progs {
			if part.Type == elf.PT_INTERP {
				t.Errorf("%s is linked to libraries, which are not in the image", command)
			}
		}
		if err := binary.Close(); err != nil {
			t.Error(err)
		}
	}
}

// count is how many bytes were written to it.
type count int64

func (c *count) Write(p []byte) (int, error) {
	*c += count(len(p))
	return len(p), nil
}
