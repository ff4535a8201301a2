package environment

import "openbank/certs"

// TLSReason is what mostly is the reason for an error of a connection to the brokers that is about TLS, by the setting that it is about; "" of
// any other error.
func TLSReason(err error) string {
	switch {
	case certs.IsCertificateFault(err):
		return "the broker's certificate is not one that KAFKA_SSL_CA_LOCATION (or SSL_TRUSTSTORE_LOCATION) vouches for, or is another host's"
	case certs.IsRefusedCertificate(err):
		return "the brokers want another client certificate, one that they trust: set KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION (or SSL_KEYSTORE_LOCATION) to it"
	case certs.IsOtherProtocol(err):
		return "there is no TLS at this port: name another in KAFKA_BROKERS, or take the settings for TLS away (of the tools, KAFKA_SECURITY_PROTOCOL too)"
	}
	return ""
}
