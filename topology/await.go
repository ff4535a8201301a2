package topology

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// awaitBrokers returns how many brokers there are, once there are enough. It logs a line each time the reason for waiting
// changes.
func (t *Target) awaitBrokers(ctx context.Context) (int, error) {
	need := max(t.Brokers, 1)
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 2*time.Second
	state := ""
	for {
		there, err := t.countBrokers(ctx)
		switch {
		case err == nil && there >= need:
			if state != "" {
				t.logger().Info("brokers are there", "brokers", there)
			}
			return there, nil
		case err == nil:
			err = fmt.Errorf("%d of %d brokers are there", there, need)
		case isCertificateFault(err):
			return 0, fmt.Errorf("connecting to the brokers (KAFKA_BROKERS): %w", err)
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("waiting for the brokers (KAFKA_BROKERS), last seen: %s: %w", orUnknown(state), ctx.Err())
		}
		if text := err.Error(); text != state {
			state = text
			t.logger().Info("waiting for the brokers", "reason", state)
		}
		timer := time.NewTimer(wait.NextBackOff())
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, fmt.Errorf("waiting for the brokers (KAFKA_BROKERS), last seen: %s: %w", orUnknown(state), ctx.Err())
		case <-timer.C:
		}
	}
}

func orUnknown(state string) string {
	if state == "" {
		return "no answer"
	}
	return state
}

func (t *Target) countBrokers(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	brokers, err := kadm.NewClient(t.Kafka).ListBrokers(ctx)
	if err != nil {
		return 0, err
	}
	return len(brokers), nil
}

// isCertificateFault tells the errors that waiting does not mend: it is the broker's certificate or our own CA file.
func isCertificateFault(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

func isUnknownTopic(err error) bool { return errors.Is(err, kerr.UnknownTopicOrPartition) }

func (t *Target) logger() *slog.Logger {
	if t.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Logger
}
