package realkafka

import (
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What is fetched: for each release a project file that names it, and the SHA-256 of all files that come of it.
//
//go:embed artefacts
var artefacts embed.FS

// plugin is pinned: another one could name the files in another way.
const plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:"

// kafkaJars is the directory with the jars of a version.
func kafkaJars(ctx context.Context, version Version) (string, error) {
	name := "kafka-" + string(version)
	return fetch(ctx, name, func(into string) error {
		pom, err := artefacts.ReadFile("artefacts/" + name + ".pom.xml")
		if err != nil {
			return fmt.Errorf("there is no version %s of Kafka to fetch: choose %s or %s", version, Current, Old)
		}
		path := into + ".pom.xml"
		if err := os.WriteFile(path, pom, 0o600); err != nil {
			return err
		}
		return maven(ctx, "-f", path, plugin+"copy-dependencies", "-DoutputDirectory="+into, "-DincludeScope=runtime")
	})
}

const (
	apicurio        = "apicurio-2.6.13"
	apicurioJar     = "apicurio-registry-app-2.6.13.Final-runner.jar"
	apicurioArchive = "apicurio-registry-app-2.6.13.Final-all.tar.gz"
)

// registryHome is the directory with the registry, unpacked.
func registryHome(ctx context.Context) (string, error) {
	dir, err := fetch(ctx, apicurio, func(into string) error {
		return maven(ctx, plugin+"copy", "-Dartifact=io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all", "-DoutputDirectory="+into)
	})
	if err != nil {
		return "", err
	}
	home := filepath.Join(dir, "unpacked")
	if _, err := os.Stat(home); err == nil {
		return home, nil
	}
	return home, whole(home, func(unfinished string) error {
		if err := os.Mkdir(unfinished, 0o755); err != nil { // it holds nothing that is secret
			return err
		}
		output, err := exec.CommandContext(ctx, "tar", "-xzf", filepath.Join(dir, apicurioArchive), "-C", unfinished).CombinedOutput()
		if err != nil {
			return fmt.Errorf("unpacking %s: %w: %s", apicurioArchive, err, output)
		}
		return nil
	})
}

// fetch returns the directory of a release in the user's cache, with just the files that its list has, checked when they came.
func fetch(ctx context.Context, name string, get func(into string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a place for %s: %w (set HOME)", name, err)
	}
	dir := filepath.Join(cache, "openbank", name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { // as above
		return "", err
	}
	err = whole(dir, func(unfinished string) error {
		if err := get(unfinished); err != nil {
			return err
		}
		if err := check(unfinished, name); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err != nil {
		return "", fmt.Errorf("fetching %s: %w", name, err)
	}
	return dir, nil
}

// whole has a directory made beside its place, so that it is there whole or not at all. When another process is faster, its
// directory is as good.
func whole(dir string, make func(unfinished string) error) (err error) {
	room, err := os.MkdirTemp(filepath.Dir(dir), "unfinished-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(room)) }()
	unfinished := filepath.Join(room, "files")
	if err := make(unfinished); err != nil {
		return err
	}
	if err := os.Rename(unfinished, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// check compares the directory with the release's list, which is as sha256sum writes it.
func check(dir, name string) error {
	list, err := artefacts.Open("artefacts/" + name + ".sha256")
	if err != nil {
		return err
	}
	defer func() { _ = list.Close() }() // it is in memory
	wanted := map[string]string{}
	for lines := bufio.NewScanner(list); lines.Scan(); {
		sum, file, _ := strings.Cut(lines.Text(), "  ")
		wanted[file] = sum
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		sum, err := sum(filepath.Join(dir, file.Name()))
		if err != nil {
			return err
		}
		if wanted[file.Name()] != sum {
			return fmt.Errorf("%s has the SHA-256 %s, and it should be %q: a mirror has something else", file.Name(), sum, wanted[file.Name()])
		}
		delete(wanted, file.Name())
	}
	for file := range wanted {
		return fmt.Errorf("%s has not come", file)
	}
	return nil
}

func sum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // it is only read
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// maven runs a goal of Maven, which takes repositories and mirrors from its own settings.
func maven(ctx context.Context, args ...string) error {
	path, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("mvn is missing: install Maven (Debian: apt-get install maven)")
	}
	output, err := exec.CommandContext(ctx, path, append([]string{"-B", "-q", "-ntp"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mvn: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}
