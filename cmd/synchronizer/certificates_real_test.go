//go:build realkafka

package main

import (
	"testing"
	"time"
)

// The JVM's TLS has words of its own for a client without a certificate.
func TestAMissingClientCertificateIsToldAtOnce(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	getenv := func(name string) string {
		switch name {
		case "KAFKA_SECURITY_PROTOCOL":
			return "SSL"
		case "KAFKA_SSL_CERT_LOCATION", "KAFKA_SSL_KEY_LOCATION", "KAFKA_SSL_KEY_PASSWORD":
			return ""
		}
		return s.getenv(name)
	}
	began := time.Now()
	synchronize(t, getenv, "plan").check(t, 1, "set KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION")
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}
