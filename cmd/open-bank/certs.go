package main

import (
	"fmt"
	"path/filepath"
	"time"

	"openbank/certs"
)

type certsCommand struct {
	Dir      string        `default:"dev-certs" help:"Where to put them."`
	Server   []string      `placeholder:"NAME" help:"A broker or registry to make a certificate for; the stack's when not given. May be repeated."`
	Client   []string      `placeholder:"NAME" help:"A client to make a certificate for; the stack's services when not given. May be repeated."`
	Host     []string      `placeholder:"NAME" help:"A further name or address that all servers are reached at. May be repeated."`
	Password string        `environment:"KAFKA_SSL_KEY_PASSWORD" help:"Password for the keys; the stack's when not given."`
	ValidFor time.Duration `default:"19800h" help:"How long they are valid."`
}

// Run prints where they are, and what a client of the brokers has to be told. A password that was chosen is not repeated.
func (c *certsCommand) Run(s *session) error {
	options := certs.Options{
		Dir: c.Dir, Servers: c.Server, Clients: c.Client, Hosts: c.Host, Password: c.Password, ValidFor: c.ValidFor,
	}
	if err := certs.Generate(options); err != nil {
		return err
	}
	client := "command-handler"
	if len(c.Client) > 0 {
		client = c.Client[0]
	}
	files := options.Files(client)
	for _, path := range []*string{&files.CA, &files.Cert, &files.Key} {
		if absolute, err := filepath.Abs(*path); err == nil {
			*path = absolute
		}
	}
	password := "# KAFKA_SSL_KEY_PASSWORD is the one that was given"
	if files.Password == certs.DefaultPassword {
		password = "KAFKA_SSL_KEY_PASSWORD=" + quote(files.Password)
	}
	_, err := fmt.Fprintf(s.stdout, `certificates are in %s
# for the client %s:
KAFKA_SSL_CA_LOCATION=%s
KAFKA_SSL_CERT_LOCATION=%s
KAFKA_SSL_KEY_LOCATION=%s
%s
`, c.Dir, client, quote(files.CA), quote(files.Cert), quote(files.Key), password)
	return err
}
