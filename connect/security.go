package connect

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"openbank/certs"
	"openbank/environment"
)

// Kafka's own names for how a client is let in.
const (
	plaintext     = "PLAINTEXT"
	ssl           = "SSL"
	saslPlaintext = "SASL_PLAINTEXT"
	saslSSL       = "SASL_SSL"
)

// security is what comes of the settings: how to be let in, and all that is wrong with them. Without KAFKA_SECURITY_PROTOCOL it
// is as for the handlers: TLS when all of KAFKA_SSL_* or all of SSL_* are set, plaintext when none is.
func (k Kafka) security() ([]kgo.Opt, []error) {
	protocol := strings.ToUpper(k.SecurityProtocol)
	var files certs.Files
	var faults []error
	encrypted := protocol == ssl || protocol == saslSSL
	switch protocol {
	case "":
		files, faults = k.files()
		encrypted = files.CA != "" || files.TrustStore != ""
		if setting := k.firstSASL(); setting != "" {
			faults = append(faults, fmt.Errorf("%s is set without KAFKA_SECURITY_PROTOCOL: set that to %s, or to %s, which sends passwords without encryption", setting, saslSSL, saslPlaintext))
		}
	case ssl, saslSSL:
		files, faults = k.chosenFiles()
	case plaintext, saslPlaintext:
		if k.SSLCA+k.SSLCert+k.SSLKey+k.SSLKeyPassword+k.KeyStore+k.TrustStore+k.StorePassword != "" {
			faults = append(faults, fmt.Errorf("KAFKA_SECURITY_PROTOCOL (--kafka-security-protocol) is %s, and there are settings for TLS: set it to %s, or take those away", protocol, strings.Replace(protocol, plaintext, ssl, 1)))
		}
	default:
		return nil, []error{fmt.Errorf("KAFKA_SECURITY_PROTOCOL (--kafka-security-protocol): %q is none of %s, %s, %s, %s", k.SecurityProtocol, plaintext, ssl, saslPlaintext, saslSSL)}
	}
	faults = append(faults, environment.CheckEnds("KAFKA_SASL_USERNAME", k.SASLUsername, "KAFKA_SASL_PASSWORD", k.SASLPassword)...)
	mechanism, fault := k.mechanism(protocol)
	if fault != nil {
		faults = append(faults, fault)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	var options []kgo.Opt
	if encrypted {
		config, err := certs.ClientTLS(files)
		if err != nil {
			return nil, []error{fmt.Errorf("reading the certificates for the brokers: %w", err)}
		}
		options = append(options, kgo.DialTLSConfig(config))
	}
	if mechanism != nil {
		options = append(options, kgo.SASL(mechanism))
	}
	return options, nil
}

func (k Kafka) firstSASL() string {
	for _, s := range []struct{ name, value string }{
		{"KAFKA_SASL_MECHANISM", k.SASLMechanism}, {"KAFKA_SASL_USERNAME", k.SASLUsername}, {"KAFKA_SASL_PASSWORD", k.SASLPassword},
	} {
		if s.value != "" {
			return s.name
		}
	}
	return ""
}

// chosenFiles are the TLS files where the protocol was chosen, and nothing has to be guessed: each may be left out. Without a CA
// it is the system's.
func (k Kafka) chosenFiles() (certs.Files, []error) {
	if k.KeyStore+k.TrustStore+k.StorePassword != "" {
		if k.SSLCA+k.SSLCert+k.SSLKey != "" {
			return certs.Files{}, []error{errors.New("SSL_* and KAFKA_SSL_* both say how to be let in by the brokers: set one of them")}
		}
		files, faults := environment.Stores{KeyStore: k.KeyStore, TrustStore: k.TrustStore, Password: k.StorePassword, Directory: k.StoreDirectory}.Files()
		files.SkipHostname = !k.SSLVerifyHostname
		return files, faults
	}
	faults := environment.CheckEnds("KAFKA_SSL_KEY_PASSWORD", k.SSLKeyPassword)
	if (k.SSLCert == "") != (k.SSLKey == "") {
		faults = append(faults, errors.New("KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION belong together: set both or none"))
	}
	for _, s := range []struct{ name, flag, value string }{
		{"KAFKA_SSL_CA_LOCATION", "--kafka-ssl-ca-location", k.SSLCA},
		{"KAFKA_SSL_CERT_LOCATION", "--kafka-ssl-cert-location", k.SSLCert},
		{"KAFKA_SSL_KEY_LOCATION", "--kafka-ssl-key-location", k.SSLKey},
	} {
		if s.value == "" {
			continue
		}
		if err := certs.CheckFile(s.name+" ("+s.flag+")", s.value); err != nil {
			faults = append(faults, err)
		}
	}
	return certs.Files{CA: k.SSLCA, Cert: k.SSLCert, Key: k.SSLKey, Password: k.SSLKeyPassword, SkipHostname: !k.SSLVerifyHostname}, faults
}

// mechanism is nil when the protocol has none, or leaves it open.
func (k Kafka) mechanism(protocol string) (sasl.Mechanism, error) {
	if protocol != saslSSL && protocol != saslPlaintext {
		if setting := k.firstSASL(); setting != "" && protocol != "" {
			return nil, fmt.Errorf("%s is set, and KAFKA_SECURITY_PROTOCOL (--kafka-security-protocol) is %s: set it to SASL_%s", setting, protocol, protocol)
		}
		return nil, nil
	}
	if k.SASLUsername == "" || k.SASLPassword == "" {
		return nil, fmt.Errorf("KAFKA_SECURITY_PROTOCOL (--kafka-security-protocol) is %s: set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD", protocol)
	}
	switch strings.ToUpper(k.SASLMechanism) {
	case "", "PLAIN":
		return plain.Auth{User: k.SASLUsername, Pass: k.SASLPassword}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: k.SASLUsername, Pass: k.SASLPassword}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: k.SASLUsername, Pass: k.SASLPassword}.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("KAFKA_SASL_MECHANISM (--kafka-sasl-mechanism): %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", k.SASLMechanism)
}
