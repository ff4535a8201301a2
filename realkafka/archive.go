package realkafka

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

// archive is the file that a JVM keeps the classes in that it loaded (JEP 350), so that the next one finds them loaded and verified:
// a start takes a third less of a CPU. Empty: none.
type archive string

// use are the options of a JVM that has the archive. One that finds it was made by another JVM or of other jars does without.
func (a archive) use() []string { return a.option("-XX:SharedArchiveFile=") }

// make are the options of a JVM that writes the archive when it ends in order.
func (a archive) make() []string { return a.option("-XX:ArchiveClassesAtExit=") }

func (a archive) option(name string) []string {
	if a == "" {
		return nil
	}
	return []string{name + string(a)}
}

// archives are those that this process has looked for; whoever looks holds it, and the others wait.
var archives = struct {
	sync.Mutex
	found map[string]archive // by JVM and release
}{found: map[string]archive{}}

// archive returns what this JVM has for the release in dir. Where that isn't there yet, rehearse has a server that is told to make
// it do once what it will be started for. JVMs that can't make any have none.
func (j java) archive(ctx context.Context, dir string, rehearse func(archive) error) (archive, error) {
	archives.Lock()
	defer archives.Unlock()
	key := string(j) + " " + dir
	if a, found := archives.found[key]; found {
		return a, nil
	}
	version, err := exec.CommandContext(ctx, string(j), "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s -version: %w: %s", j, err, version)
	}
	sum := sha256.Sum256(version)
	path := filepath.Join(dir, "classes-"+hex.EncodeToString(sum[:8])+".jsa")
	if _, err := os.Stat(path); err != nil {
		err := whole(path, func(unfinished string) error { return rehearse(archive(unfinished)) })
		switch {
		case errors.Is(err, fs.ErrNotExist):
			path = ""
		case err != nil:
			return "", fmt.Errorf("rehearsing for %s: %w", path, err)
		}
	}
	archives.found[key] = archive(path)
	return archive(path), nil
}

// rehearsal is what all things of one are called.
const rehearsal = "rehearsal"

// rehearseBroker has a broker handle a transaction of a group's member.
func rehearseBroker(ctx context.Context, into archive) (err error) {
	c, err := launch(ctx, Config{Brief: true, making: into})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	client, err := c.Client(kgo.DefaultProduceTopic(rehearsal))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, rehearsal); err != nil {
		return err
	}
	if err := client.ProduceSync(ctx, kgo.StringRecord("in")).FirstErr(); err != nil {
		return err
	}
	options, err := c.options(kgo.DefaultProduceTopic(rehearsal), kgo.ConsumeTopics(rehearsal), kgo.ConsumerGroup(rehearsal), kgo.TransactionalID(rehearsal))
	if err != nil {
		return err
	}
	member, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return err
	}
	defer member.Close()
	if err := member.PollFetches(ctx).Err(); err != nil {
		return err
	}
	if err := member.Begin(); err != nil {
		return err
	}
	if err := member.ProduceSync(ctx, kgo.StringRecord("out")).FirstErr(); err != nil {
		return err
	}
	_, err = member.End(ctx, kgo.TryCommit)
	return err
}

// rehearseRegistry has a registry take a schema.
func rehearseRegistry(ctx context.Context, into archive) (err error) {
	r, err := startRegistry(ctx, into)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	client, err := sr.NewClient(sr.URLs(r.URL()))
	if err != nil {
		return err
	}
	if _, err := client.CreateSchema(ctx, rehearsal, sr.Schema{Schema: `"string"`}); err != nil {
		return err
	}
	r.process.Stop(ctx, syscall.SIGTERM, stopDeadline)
	return nil
}
