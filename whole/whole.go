// Package whole writes files as a whole or not at all: whoever reads one, at any moment, whatever crashed, has what was there before or what
// was to be there. A crash can leave the unfinished file behind, beside the one that it was to become, under its name and a number.
package whole

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Write makes the file at path of what content writes. A file that is there keeps its mode, and is the one that is replaced when path is a
// link to it; mode is a new one's, less what the process's umask takes. What is no file, such as a pipe, is written to as it stands.
func Write(path string, mode fs.FileMode, content func(io.Writer) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	there, err := os.Stat(path)
	replaces := err == nil
	switch {
	case !replaces:
	case there.Mode().IsRegular():
		mode = there.Mode().Perm()
	default: // /dev/stdout: nothing may take its place
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(content(f), f.Close())
	}
	f, err := os.OpenFile(fmt.Sprintf("%s.%d", path, rand.Uint64()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		var why *fs.PathError
		if errors.As(err, &why) {
			why.Path = path // the one that is known to who asked
		}
		return err
	}
	if replaces {
		err = f.Chmod(mode) // the umask may have taken some of it
	}
	// Without Sync a machine that goes down may have the new name on its disk before the content.
	if err = errors.Join(err, content(f), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// WriteBytes is Write of content that is there already.
func WriteBytes(path string, mode fs.FileMode, content []byte) error {
	return Write(path, mode, func(to io.Writer) error { _, err := to.Write(content); return err })
}
