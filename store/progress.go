package store

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"openbank/bank"
)

// SaveProgress stores progress by itself: when partitions are assigned, when nothing is left to publish, on a stop. It
// waits like Execute. Errors: ctx's, or a *FatalError.
func (s *Store) SaveProgress(ctx context.Context, progress []Progress) error {
	return s.run(ctx, nil, progress, nil)
}

// ReadProgress returns the stored progress of a topic's partitions, under every topic id that it has had, ordered by
// topic id and partition. It waits like Execute, for a standby to be promoted too: what that one has is not the last word. Errors: ctx's, or a *FatalError.
func (s *Store) ReadProgress(ctx context.Context, topic string) ([]Progress, error) {
	var found []Progress
	err := s.retry(ctx, func(ctx context.Context) error {
		found = nil
		rows, err := s.executing.QueryContext(ctx, s.layout.sql(
			`SELECT topic, CAST(topic_id AS text), partition, executed_to, published_to FROM {progress}
			WHERE topic = $1 ORDER BY topic_id, partition`), topic)
		if err != nil {
			return fmt.Errorf("reading the progress: %w", err)
		}
		return eachRow(rows, func() error {
			var p Progress
			var id string
			if err := rows.Scan(&p.Topic, &id, &p.Partition, &p.ExecutedTo, &p.PublishedTo); err != nil {
				return fmt.Errorf("reading the progress: %w", err)
			}
			parsed, err := bank.ParseID(id)
			if err != nil {
				return fmt.Errorf("reading a topic id: %w", err)
			}
			p.TopicID = parsed
			found = append(found, p)
			return nil
		})
	})
	if err == nil {
		s.memory.keep(found)
	}
	return found, err
}

// topic is a topic as command_topic numbers it.
type topic struct {
	name string
	id   [16]byte
}

// numberTopics finds the numbers under which rows name the batch's topics, and stores new ones, before the transaction:
// a number once given stays, whether or not a row uses it.
func (s *Store) numberTopics(ctx context.Context, b *batch) error {
	var last topic
	var number int32
	for i := range b.commands {
		o := &b.commands[i].Origin
		if o.Topic == "" {
			continue
		}
		if t := (topic{o.Topic, o.TopicID}); t != last {
			var err error
			if number, err = s.numberTopic(ctx, t); err != nil {
				return fmt.Errorf("numbering topic %s: %w", o.Topic, err)
			}
			last = t
		}
		b.topics[i] = number
		if b.commands[i].BeforeIDs {
			var err error
			if b.unnamed[i], err = s.numberTopic(ctx, topic{name: o.Topic}); err != nil {
				return fmt.Errorf("numbering topic %s without an id: %w", o.Topic, err)
			}
		}
	}
	return nil
}

func (s *Store) numberTopic(ctx context.Context, t topic) (int32, error) {
	s.numbering.Lock()
	n, known := s.topics[t]
	opened := s.opened.Load()
	s.numbering.Unlock()
	if known {
		return n, nil
	}
	id := bank.ID(t.id).String()
	if _, err := s.executing.ExecContext(ctx, s.layout.sql(
		`INSERT INTO {command_topic} (topic, topic_id) SELECT CAST($1 AS text), CAST($2 AS uuid)
		WHERE NOT EXISTS (SELECT FROM {command_topic} WHERE topic = $1 AND topic_id = CAST($2 AS uuid))
		ON CONFLICT DO NOTHING`), t.name, id); err != nil {
		return 0, err
	}
	if err := sqlx.GetContext(ctx, s.executing, &n, s.layout.sql(
		`SELECT id FROM {command_topic} WHERE topic = $1 AND topic_id = CAST($2 AS uuid)`), t.name, id); err != nil {
		return 0, err
	}
	s.numbering.Lock()
	defer s.numbering.Unlock()
	if s.opened.Load() == opened { // or it may be a former server's
		s.topics[t] = n
	}
	return n, nil
}

// forgetTopics is called for every new session: it may be with another server, or with one that was restored to an
// earlier state, in which the numbers mean something else.
func (s *Store) forgetTopics() {
	s.opened.Add(1)
	s.numbering.Lock()
	defer s.numbering.Unlock()
	clear(s.topics)
}
