package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"openbank/topology"
	"openbank/whole"
)

type exportCommand struct {
	connection

	Dir             string   `required:"" placeholder:"DIRECTORY" help:"Where topology.yaml and the directory schemas are written. It is made if it is not there."`
	Internal        []string `placeholder:"PATTERN" help:"Topics to leave out, such as connect-* or *-changelog; the brokers' own always are."`
	WithoutRegistry bool     `help:"Leave subjects out, and ask no registry."`
	WithoutAcls     bool     `help:"Leave access control lists out."`
	Force           bool     `help:"Overwrite files that are there."`
}

func (e *exportCommand) run(ctx context.Context, c console) error {
	if err := errors.Join(e.Check(), e.checkDir()); err != nil {
		return err
	}
	target, done, err := e.open(c.err)
	if err != nil {
		return err
	}
	defer done()
	if e.WithoutRegistry {
		target.Registry = nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	exported, err := target.Export(ctx, topology.ExportOptions{Internal: e.Internal, WithoutACLs: e.WithoutAcls})
	if err != nil {
		return e.explain(err)
	}
	if err := e.write(exported.Files); err != nil {
		return fmt.Errorf("writing the topology: %w", err)
	}
	for _, note := range exported.Notes {
		target.Logger.Warn(note)
	}
	_, err = fmt.Fprintf(c.out, "%s: %s, %s, %s\n", topology.Printable(filepath.Join(e.Dir, topology.ExportedName)), count(exported.Topics, "topic"), count(exported.Subjects, "subject"), count(exported.ACLs, "ACL"))
	return err
}

// checkDir tells of a file where the directory is to be, or above it, before a cluster is asked.
func (e *exportCommand) checkDir() error {
	for at := filepath.Clean(e.Dir); ; at = filepath.Dir(at) {
		found, err := os.Stat(at)
		switch {
		case err == nil && !found.IsDir():
			return fmt.Errorf("--dir: %s is a file: name a directory, or one that can be made", at)
		case err == nil || at == filepath.Dir(at):
			return nil
		}
	}
}

// write writes all files, each as a whole, or none when one of them is there.
func (e *exportCommand) write(files map[string][]byte) error {
	names := slices.Sorted(maps.Keys(files))
	if !e.Force {
		var there []string
		for _, name := range names {
			if _, err := os.Lstat(filepath.Join(e.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
				there = append(there, name)
			}
		}
		if len(there) > 0 {
			return fmt.Errorf("%s is there already, with %d of the files (%s, …): choose another --dir, or give --force", e.Dir, len(there), strings.Join(there[:min(3, len(there))], ", "))
		}
	}
	for _, name := range names {
		path := filepath.Join(e.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := whole.WriteBytes(path, 0o644, files[name]); err != nil {
			return err
		}
	}
	return nil
}
