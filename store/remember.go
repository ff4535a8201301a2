package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
)

// partition is one of a topic, which is another one when it was made anew.
type partition struct {
	topic  string
	id     [16]byte
	number int32
}

// memory is how far partitions are executed, as this process has read or written it. Postgres never has less, unless it has lost what it
// acknowledged.
type memory struct {
	mu         sync.Mutex
	executedTo map[partition]int64
}

// keep notes what Postgres has.
func (m *memory) keep(list []Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range list {
		at := partition{p.Topic, p.TopicID, p.Partition}
		m.executedTo[at] = max(m.executedTo[at], p.ExecutedTo)
	}
}

// kept is all that was noted so far.
func (m *memory) kept() map[partition]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.executedTo)
}

// remembers refuses a server that has not all that this process knows to be executed: it was restored to an earlier state, or is another one.
// That is noticed in a new session, before the first batch covers it up: none outlives its server. Error: also a *FatalError.
func (s *Store) remembers(ctx context.Context, conn connection) (err error) {
	known := s.memory.kept()
	if len(known) == 0 {
		return nil
	}
	rows, err := conn.QueryContext(ctx, s.layout.sql(`SELECT topic, CAST(topic_id AS text), partition, executed_to FROM {progress}`), nil)
	if err != nil {
		return fmt.Errorf("reading the progress: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	there := map[partition]int64{}
	var c cells
	for {
		if err := c.next(rows, 4); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("reading the progress: %w", err)
		}
		id, err := c.id(1)
		if err != nil {
			return err
		}
		there[partition{c.text(0), id, int32(c.int(2))}] = c.int(3)
	}
	for p, executedTo := range known {
		if has := there[p]; has < executedTo {
			return &FatalError{Sentence: fmt.Sprintf("%s: partition %d of %s was executed up to offset %d, and Postgres has executed it up to %d only: it was restored to an earlier state, or a server that had not everything has taken its place, "+
				"and answers may be out that it knows nothing of. Start with --rewind to execute again what Postgres does not have", s.at(), p.number, p.topic, executedTo, has)}
		}
	}
	return nil
}

// takesWrites is errStandby for a server that still replays what another one writes: it will have all of that before it takes writes, and its
// sessions go on then. A server becomes a standby only by a start, which no session outlives: so a session is asked once.
func takesWrites(ctx context.Context, conn connection) (err error) {
	rows, err := conn.QueryContext(ctx, `SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'`, nil)
	if err != nil {
		return fmt.Errorf("asking whether the server takes writes: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var c cells
	if err := c.next(rows, 2); err != nil {
		return fmt.Errorf("asking whether the server takes writes: %w", err)
	}
	switch {
	case c.values[0] == true:
		return errStandby
	case c.values[1] == true:
		return errReadOnly
	}
	return nil
}
