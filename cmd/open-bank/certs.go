package main

import (
	"fmt"
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

// Run prints where they are.
func (c *certsCommand) Run(s *session) error {
	err := certs.Generate(certs.Options{
		Dir: c.Dir, Servers: c.Server, Clients: c.Client, Hosts: c.Host, Password: c.Password, ValidFor: c.ValidFor,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "certificates are in %s\n", c.Dir)
	return err
}
