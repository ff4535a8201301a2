package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"software.sslmate.com/src/go-pkcs12"
)

// ErrPassword is in an error's chain when a PKCS#12 store is sound as far as can be seen, and its password another one.
var ErrPassword = errors.New("the password is wrong")

// readStore reads a file that must be PKCS#12, by whatever Java or OpenSSL it was made. The stack calls its stores .jks;
// old JDKs made real JKS, which nothing but Java reads.
func readStore(what, path string) ([]byte, error) {
	if err := CheckPath("what should name the "+what, path); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", what, err)
	}
	var fault string
	switch {
	case len(content) == 0:
		fault = "it is empty"
	case bytes.HasPrefix(content, []byte{0xfe, 0xed, 0xfe, 0xed}), bytes.HasPrefix(content, []byte{0xce, 0xce, 0xce, 0xce}): // JKS, JCEKS
		fault = fmt.Sprintf("it is in Java's own format, and only PKCS#12 is read here; this makes it PKCS#12 and keeps the old one as %[1]s.old: keytool -importkeystore -srckeystore %[1]s -destkeystore %[1]s -deststoretype PKCS12", path)
	case bytes.Contains(content, []byte("-----BEGIN ")):
		fault = "it is PEM, and this has to be a PKCS#12 store"
	case content[0] != 0x30: // an ASN.1 sequence, as every PKCS#12 file begins
		fault = "it is not a PKCS#12 store"
	default:
		return content, nil
	}
	return nil, fmt.Errorf("reading the %s %s: %s", what, path, fault)
}

// readTrustStore reads the certificates that Java would trust.
func readTrustStore(path, password string) ([]*x509.Certificate, error) {
	content, err := readStore("trust store", path)
	if err != nil {
		return nil, err
	}
	trusted, err := pkcs12.DecodeTrustStore(content, password)
	if err == nil && len(trusted) > 0 {
		return trusted, nil
	}
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		err = ErrPassword
	case err == nil:
		err = errors.New("there is no certificate in it")
	default:
		if _, _, _, keyErr := pkcs12.DecodeChain(content, password); keyErr == nil {
			return nil, fmt.Errorf("reading the trust store %s: there is a private key in it; a trust store holds trusted certificates alone", path)
		}
		// OpenSSL before 3.2 marks none, and Java passes over such certificates without a word.
		err = fmt.Errorf("a trust store holds certificates that are marked as trusted, as keytool -importcert makes them: %w", err)
	}
	return nil, fmt.Errorf("reading the trust store %s: %w", path, err)
}

// readKeyStore reads the one private key of the store and the certificates that lead from its own towards the CA. Others
// may be there, in any order: the stack's stores have the CA's besides.
func readKeyStore(path, password string) (tls.Certificate, error) {
	content, err := readStore("key store", path)
	if err != nil {
		return tls.Certificate{}, err
	}
	fail := func(err error) (tls.Certificate, error) {
		return tls.Certificate{}, fmt.Errorf("reading the key store %s: %w", path, err)
	}
	key, first, others, err := pkcs12.DecodeChain(content, password)
	if errors.Is(err, pkcs12.ErrIncorrectPassword) {
		return fail(ErrPassword)
	}
	if err != nil {
		if trusted, trustErr := pkcs12.DecodeTrustStore(content, password); trustErr == nil {
			return fail(fmt.Errorf("there is no private key in it, only %d trusted certificates: is it a trust store?", len(trusted)))
		}
		return fail(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return fail(fmt.Errorf("a %T cannot sign", key))
	}
	all := append([]*x509.Certificate{first}, others...)
	for _, certificate := range all {
		if isKeyOf(signer, certificate) {
			own := tls.Certificate{PrivateKey: signer, Leaf: certificate}
			for _, link := range chainOf(certificate, all) {
				own.Certificate = append(own.Certificate, link.Raw)
			}
			return own, nil
		}
	}
	return fail(errors.New("none of its certificates is the private key's"))
}

// chainOf is leaf and the intermediates among all that lead from it towards a root. The root itself is left out: whoever
// trusts it has it.
func chainOf(leaf *x509.Certificate, all []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for len(chain) <= len(all) {
		last := chain[len(chain)-1]
		var issuer *x509.Certificate
		for _, candidate := range all {
			if last.CheckSignatureFrom(candidate) == nil {
				issuer = candidate
				break
			}
		}
		if issuer == nil || issuer.CheckSignatureFrom(issuer) == nil {
			break
		}
		chain = append(chain, issuer)
	}
	return chain
}

// isKeyOf says whether the certificate is for the key.
func isKeyOf(key crypto.Signer, certificate *x509.Certificate) bool {
	public, ok := key.Public().(interface {
		Equal(other crypto.PublicKey) bool
	})
	return ok && public.Equal(certificate.PublicKey)
}
