package environment

import "openbank/certs"

// TLSReason is what mostly is the reason for an error of a connection to the brokers that is about TLS, by the setting that it is about; "" of
// any other error.
func TLSReason(err error) string {
	switch {
	case certs.IsCertificateFault(err):
		return "the broker's certificate is not one that KAFKA_SSL_CA_LOCATION (or SSL_TRUSTSTORE_LOCATION) vouches for, is another host's, or has expired: have the broker's renewed, or set that to its authority's"
	case certs.IsRefusedCertificate(err):
		return "the brokers want another client certificate, one that they trust and that has not expired: set KAFKA_SSL_CERT_LOCATION and KAFKA_SSL_KEY_LOCATION (or SSL_KEYSTORE_LOCATION) to it"
	case certs.IsOtherProtocol(err):
		return "there is no TLS at this port: name another in KAFKA_BROKERS, or take the settings for TLS away (of the tools, KAFKA_SECURITY_PROTOCOL too)"
	}
	return ""
}

// RegistryTLSReason is the same of a connection to the schema registry.
func RegistryTLSReason(err error) string {
	switch {
	case certs.IsCertificateFault(err):
		return "the registry's certificate is not one that SCHEMA_REGISTRY_CA_LOCATION (or, without it, the system's authorities) vouches for, is another host's, or has expired: set that to the PEM file of its authority, or have it renewed"
	case certs.IsRefusedCertificate(err):
		return "the registry wants another client certificate, one that it trusts and that has not expired: set SCHEMA_REGISTRY_CERT_LOCATION and SCHEMA_REGISTRY_KEY_LOCATION to it"
	case certs.IsOtherProtocol(err):
		return "there is no TLS at this port: name another, or write http:// in SCHEMA_REGISTRY_URL"
	}
	return ""
}
