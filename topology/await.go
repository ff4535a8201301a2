package topology

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"openbank/certs"
	"openbank/connect"
)

// node is a broker that is there.
type node struct {
	id   int32
	rack string
}

// awaitBrokers returns the brokers that there are, once there are enough. It logs a line each time the reason for waiting
// changes. What waiting can't mend, a certificate or a password, ends it at once.
func (t *Target) awaitBrokers(ctx context.Context) ([]node, error) {
	need := max(t.Brokers, 1)
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 2*time.Second
	state := ""
	for {
		there, err := t.listBrokers(ctx)
		switch {
		case err == nil && len(there) >= need:
			if state != "" {
				t.logger().Info("brokers are there", "brokers", len(there))
			}
			return there, nil
		case err == nil:
			err = fmt.Errorf("%d of %d brokers are there (as many are waited for as --brokers says, or KAFKA_BROKERS names)", len(there), need)
		case !mendedByWaiting(err):
			return nil, fmt.Errorf("connecting to the brokers (KAFKA_BROKERS): %w", connect.Explain(err))
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for the brokers (KAFKA_BROKERS), last seen: %s: %w", orUnknown(state), ctx.Err())
		}
		if text := connect.Explain(err).Error(); text != state {
			state = text
			t.logger().Info("waiting for the brokers", "reason", state)
		}
		if !sleep(ctx, wait.NextBackOff()) {
			return nil, fmt.Errorf("waiting for the brokers (KAFKA_BROKERS), last seen: %s: %w", orUnknown(state), ctx.Err())
		}
	}
}

// sleep returns false when ctx ended before.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func orUnknown(state string) string {
	if state == "" {
		return "no answer"
	}
	return state
}

// fresh has kadm ask the brokers: it answers from up to five seconds ago otherwise.
func fresh(ctx context.Context) context.Context { return kadm.WithAuthorizedOps(ctx) }

// metadata are the topics that there are, or those that are named.
func (t *Target) metadata(ctx context.Context, what string, names ...string) (kadm.TopicDetails, error) {
	var topics kadm.TopicDetails
	err := t.reading(ctx, what, func(ctx context.Context) (err error) {
		topics, err = kadm.NewClient(t.Kafka).ListTopicsWithInternal(fresh(ctx), names...)
		return err
	})
	return topics, err
}

func (t *Target) listBrokers(ctx context.Context) ([]node, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	brokers, err := kadm.NewClient(t.Kafka).ListBrokers(fresh(ctx))
	if err != nil {
		return nil, err
	}
	nodes := make([]node, len(brokers))
	for i, broker := range brokers {
		nodes[i] = node{id: broker.NodeID}
		if broker.Rack != nil {
			nodes[i].rack = *broker.Rack
		}
	}
	return nodes, nil
}

// mendedByWaiting tells brokers that are not there yet from what is wrong with us or them.
func mendedByWaiting(err error) bool {
	return !certs.IsTLSFault(err) && !errors.Is(err, kerr.SaslAuthenticationFailed) && !errors.Is(err, kerr.UnsupportedSaslMechanism) &&
		!errors.Is(err, kerr.IllegalSaslState)
}

func isUnknownTopic(err error) bool { return errors.Is(err, kerr.UnknownTopicOrPartition) }

func (t *Target) logger() *slog.Logger {
	if t.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Logger
}

// readTries is how often a request that changes nothing is made while the connection is at fault.
const readTries = 5

// reading makes a request that changes nothing, and makes it again when the connection or a broker that is just starting is at
// fault.
func (t *Target) reading(ctx context.Context, what string, request func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 2*time.Second
	for try := 1; ; try++ {
		err := request(ctx)
		if err == nil {
			return nil
		}
		var network net.Error
		again := kerr.IsRetriable(err) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
		if !again || !mendedByWaiting(err) || try == readTries || !sleep(ctx, wait.NextBackOff()) {
			return fmt.Errorf("%s: %w", what, connect.Explain(err))
		}
		t.logger().Info("asking the brokers again", "what", what, "because", err)
	}
}
