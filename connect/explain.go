package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"

	"openbank/environment"
)

// Explain adds to an error of a connection to the brokers what mostly is the reason for it, by the setting that it is about. Others it leaves as
// they are.
func Explain(err error) error {
	var dns *net.DNSError
	var failed *net.OpError
	if reason := environment.TLSReason(err); reason != "" {
		return fmt.Errorf("%w: %s", err, reason)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return fmt.Errorf("%w: the brokers refuse KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD", err)
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return fmt.Errorf("%w: set KAFKA_SASL_MECHANISM to one that the brokers offer", err)
	case errors.As(err, &dns):
		return fmt.Errorf("%w: no such host is known here (named in KAFKA_BROKERS, or by a broker)", err)
	case errors.As(err, &failed) && failed.Op == "dial":
		return fmt.Errorf("%w: nothing answers there (named in KAFKA_BROKERS, or by a broker)", err)
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: the broker ended the connection, as it does when one side speaks TLS and the other does not, when it wants a certificate or SASL (KAFKA_SECURITY_PROTOCOL), or when it refuses what it got", err)
	case errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), "dial"):
		return fmt.Errorf("%w: what is there does not answer, or does not speak TLS and is asked for it", err)
	case IsUnauthorised(err):
		return fmt.Errorf("%w: the principal that connects lacks the right to do this", err)
	}
	return err
}

// IsUnauthorised says whether the brokers refuse the principal that connects a right.
func IsUnauthorised(err error) bool {
	return errors.Is(err, kerr.ClusterAuthorizationFailed) || errors.Is(err, kerr.TopicAuthorizationFailed)
}
