package benchmark

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"openbank/connect"
	"openbank/surroundings"
	"openbank/topology"
)

// World is where handlers are measured.
type World struct {
	Connection surroundings.Connection
	Topics     connect.Topics
	// Own is nil on somebody else's stack.
	Own    *surroundings.Surroundings
	Dir    string // for logs
	Logger *slog.Logger

	banks       int    // that were made
	database    string // of the latest one
	environment []string
}

// Environment is what leads a handler to the bank, besides this process's own environment.
func (w *World) Environment() []string {
	if w.environment == nil && w.Own != nil { // no bank was made yet
		return w.Own.Environment()
	}
	return w.environment
}

// DatabaseURL is where the bank's database is, "" when that is not known.
func (w *World) DatabaseURL() string {
	if w.Own == nil && w.Connection.Database.Check() != nil {
		return ""
	}
	return w.Connection.Database.URL()
}

// fresh makes a bank that nobody used, in surroundings of ours.
func (w *World) fresh(ctx context.Context) error {
	if w.Own == nil {
		return nil
	}
	previous := w.database
	w.banks++
	w.database = fmt.Sprintf("benchmark_%d", w.banks)
	if err := w.Own.Postgres.CreateDatabase(ctx, w.database); err != nil {
		return err
	}
	url := w.Own.Postgres.URL(w.database)
	w.Connection.Database.Location = url
	w.environment = append(slices.Clone(w.Own.Environment()), "DATABASE_URL="+url)
	if previous == "" {
		return nil
	}
	if err := withDatabase(w.Own.Postgres.URL("postgres"), func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(previous))
		return err
	}); err != nil {
		return fmt.Errorf("removing the last bank: %w", err)
	}
	return w.freshTopics(ctx)
}

func withDatabase(url string, do func(*sql.DB) error) (err error) {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

// vanish is how long topics and groups may take to be gone.
const vanish = 30 * time.Second

// freshTopics deletes topics and groups and makes the topics again.
func (w *World) freshTopics(ctx context.Context) error {
	want, err := topology.Default()
	if err != nil {
		return err
	}
	kafka, err := w.Connection.Kafka.Client("latency-benchmark")
	if err != nil {
		return err
	}
	defer kafka.Close()
	admin := kadm.NewClient(kafka)
	names := make([]string, 0, len(want.Topics))
	for _, t := range want.Topics {
		names = append(names, t.Name)
	}
	if err := deleteTopics(ctx, admin, names...); err != nil {
		return err
	}
	if err := w.forgetGroups(ctx, admin); err != nil {
		return err
	}
	return w.until(ctx, vanish, "making the topics again", func() error { return w.Connection.MakeTopics(ctx, w.Logger) })
}

func deleteTopics(ctx context.Context, admin *kadm.Client, names ...string) error {
	deleted, err := admin.DeleteTopics(ctx, names...)
	if err == nil {
		for _, d := range deleted {
			if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
				err = d.Err
			}
		}
	}
	if err != nil {
		return fmt.Errorf("deleting topics: %w", err)
	}
	return nil
}

// forgetGroups deletes all groups: of the handler before, whose places in them may take a while to end.
func (w *World) forgetGroups(ctx context.Context, admin *kadm.Client) error {
	return w.until(ctx, vanish, "deleting the groups of the last turn", func() error {
		groups, err := admin.ListGroups(ctx)
		if err != nil || len(groups) == 0 {
			return err
		}
		deleted, err := admin.DeleteGroups(ctx, groups.Groups()...)
		if err == nil {
			err = deleted.Error()
		}
		if errors.Is(err, kerr.GroupIDNotFound) {
			return nil
		}
		return err
	})
}

// until tries until it succeeds, for a bounded time.
func (w *World) until(ctx context.Context, patience time.Duration, what string, try func() error) error {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// The topics of an echo, which answers none of the bank's commands.
var echoTopics = connect.Topics{
	Creations: "latency-benchmark.echo.commands", CreationAnswers: "latency-benchmark.echo.answers",
	Transfers: "latency-benchmark.echo.commands", TransferAnswers: "latency-benchmark.echo.answers", Events: "latency-benchmark.echo.events",
}

// echoTopicsAnew makes the echo's topics, with as many partitions and replicas as the bank's.
func (w *World) echoTopicsAnew(ctx context.Context) error {
	return w.withAdmin(func(admin *kadm.Client) error {
		if err := deleteTopics(ctx, admin, echoTopics.Transfers, echoTopics.TransferAnswers, echoTopics.Events); err != nil {
			return err
		}
		like := map[string]string{
			echoTopics.Transfers: w.Topics.Transfers, echoTopics.TransferAnswers: w.Topics.TransferAnswers, echoTopics.Events: w.Topics.Events,
		}
		for name, source := range like {
			details, err := admin.ListTopics(ctx, source)
			if err == nil {
				err = details.Error()
			}
			if err != nil {
				return fmt.Errorf("looking at topic %s: %w", source, err)
			}
			partitions, replicas := int32(len(details[source].Partitions)), int16(details[source].Partitions.NumReplicas())
			err = w.until(ctx, vanish, "making topic "+name, func() error {
				created, err := admin.CreateTopic(ctx, partitions, replicas, nil, name)
				if err == nil {
					err = created.Err
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// withoutEchoTopics removes them.
func (w *World) withoutEchoTopics(ctx context.Context) error {
	return w.withAdmin(func(admin *kadm.Client) error {
		return deleteTopics(ctx, admin, echoTopics.Transfers, echoTopics.TransferAnswers, echoTopics.Events)
	})
}

func (w *World) withAdmin(do func(*kadm.Client) error) error {
	kafka, err := w.Connection.Kafka.Client("latency-benchmark")
	if err != nil {
		return err
	}
	defer kafka.Close()
	return do(kadm.NewClient(kafka))
}

// keptPlace is how long a group may keep the partitions of a handler that has stopped.
const keptPlace = 10 * time.Second

// Unattended refuses a bank whose commands somebody handles already: what that one does would count as the work of whoever is measured. One
// that has just been stopped is waited for.
func (w *World) Unattended(ctx context.Context) error {
	return w.withAdmin(func(admin *kadm.Client) error {
		return w.until(ctx, keptPlace, "looking who handles the commands", func() error {
			groups, err := admin.DescribeGroups(ctx)
			if err != nil {
				return connect.Explain(err)
			}
			for _, g := range groups {
				for _, m := range g.Members {
					if topic := assigned(m, w.Topics.Transfers, w.Topics.Creations); topic != "" {
						return fmt.Errorf("%s is handled already, by %s at %s in group %s: stop it to measure --handler, or leave --handler out to measure it", topic, m.ClientID, m.ClientHost, g.Group)
					}
				}
			}
			return nil
		})
	})
}

// assigned is one of the topics of which the member has partitions; "" when it has none of any.
func assigned(m kadm.DescribedGroupMember, topics ...string) string {
	has, ok := m.Assigned.AsConsumer()
	if !ok {
		return ""
	}
	for _, t := range has.Topics {
		if len(t.Partitions) > 0 && slices.Contains(topics, t.Topic) {
			return t.Topic
		}
	}
	return ""
}

// shared waits until the group has given each of so many handlers a share of the transfers.
func (w *World) shared(ctx context.Context, handlers int) error {
	return w.withAdmin(func(admin *kadm.Client) error {
		return w.until(ctx, vanish, fmt.Sprintf("waiting for %d handlers to share the partitions", handlers), func() error {
			groups, err := admin.DescribeGroups(ctx)
			if err != nil {
				return err
			}
			have, states := 0, []string{}
			for _, g := range groups {
				states = append(states, g.Group+" "+g.State)
				if g.State != "Stable" {
					continue
				}
				for _, m := range g.Members {
					if assigned(m, w.Topics.Transfers) != "" {
						have++
					}
				}
			}
			if have < handlers {
				return fmt.Errorf("%d have some; groups: %s", have, strings.Join(states, ", "))
			}
			return nil
		})
	})
}

// checkpoint has Postgres write everything out, so that a turn does not pay for the one before. Where that is not allowed it is
// left out.
func (w *World) checkpoint(ctx context.Context) error {
	if w.Own == nil {
		return nil
	}
	return withDatabase(w.DatabaseURL(), func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, `CHECKPOINT`)
		return err
	})
}
