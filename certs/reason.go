package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
)

// IsTLSFault tells the errors of a connection for which there is no TLS, whoever is at fault: waiting does not mend them.
func IsTLSFault(err error) bool {
	return IsCertificateFault(err) || IsRefusedCertificate(err) || IsOtherProtocol(err)
}

// IsCertificateFault tells the errors that are about a server's certificate or our own CA file, librdkafka's too.
func IsCertificateFault(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || strings.Contains(saidByOpenSSL(err), "certificate verify failed")
}

// IsRefusedCertificate tells the errors by which a server ends TLS because of our certificate, or the lack of one. crypto/tls has
// no type for what the other side says, but words of its own for each alert (RFC 8446, 6.2), and OpenSSL much the same ones.
func IsRefusedCertificate(err error) bool {
	var failed *net.OpError
	_, said, alerted := strings.Cut(saidByOpenSSL(err), " alert ")
	switch {
	case errors.As(err, &failed) && failed.Op == "remote error":
		said = failed.Err.Error()
	case !alerted:
		return false
	}
	for _, alert := range []string{"certificate", "handshake failure", "access denied", "unknown ca"} {
		if strings.Contains(said, alert) {
			return true
		}
	}
	return false
}

// saidByOpenSSL is what OpenSSL says in an error of librdkafka, which has a text alone: error:CODE:SSL routines:FUNCTION:REASON.
func saidByOpenSSL(err error) string {
	if err == nil {
		return ""
	}
	_, said, _ := strings.Cut(err.Error(), ":SSL routines:")
	return said
}

// IsOtherProtocol tells the errors of a client that speaks TLS to a server that does not.
func IsOtherProtocol(err error) bool {
	var header tls.RecordHeaderError
	return errors.As(err, &header) || err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}
