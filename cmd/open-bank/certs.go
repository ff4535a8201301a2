package main

import (
	"errors"
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
	CNOnly   bool          `name:"cn-only" help:"Name a server in its CN alone, without alternative names, as in the stack of 2019."`
	Password *string       `environment:"KAFKA_SSL_KEY_PASSWORD" help:"Password for keys and stores; the stack's when not given."`
	ValidFor time.Duration `default:"19800h" help:"How long they are valid."`
	Readable bool          `help:"Let every user of this machine read them, keys too, as containers with users of their own must."`
}

// Run prints what was written, and what a client of the brokers has to be told. A password that was chosen is not repeated.
func (c *certsCommand) Run(s *session) error {
	options := certs.Options{
		Dir: c.Dir, Servers: c.Server, Clients: c.Client, Hosts: c.Host, CNOnly: c.CNOnly, ValidFor: c.ValidFor, Readable: c.Readable,
	}
	if err := checkDir(c.Dir); err != nil {
		return err
	}
	if c.Password != nil {
		if options.Password = *c.Password; options.Password == "" {
			return errors.New("--password is empty, and keys are written encrypted: give one, or leave the flag out for the stack's")
		}
	}
	if c.ValidFor <= 0 {
		return errors.New("--valid-for must be more than nothing, such as 8760h")
	}
	if err := certs.Generate(options); err != nil {
		return err
	}
	for _, name := range options.Names() {
		fmt.Fprintln(s.stdout, filepath.Join(c.Dir, name))
	}
	client := "command-handler"
	if len(c.Client) > 0 {
		client = c.Client[0]
	}
	dir := c.Dir
	if absolute, err := filepath.Abs(dir); err == nil {
		dir = absolute
	}
	options.Dir = dir
	files, stores := options.Files(client), options.Stores(client)
	password := func(variable string) string {
		if files.Password == certs.DefaultPassword {
			return variable + "=" + quote(files.Password)
		}
		return "# " + variable + " is the one that was given"
	}
	_, err := fmt.Fprintf(s.stdout, `
# for the client %s, as the Rust handler is told:
KAFKA_SSL_CA_LOCATION=%s
KAFKA_SSL_CERT_LOCATION=%s
KAFKA_SSL_KEY_LOCATION=%s
%s
# or as the Clojure handler is:
SSL_KEYSTORE_LOCATION=%s
SSL_TRUSTSTORE_LOCATION=%s
%s
`, client, quote(files.CA), quote(files.Cert), quote(files.Key), password("KAFKA_SSL_KEY_PASSWORD"), quote(stores.KeyStore), quote(stores.TrustStore), password("SSL_PASSWORD"))
	return err
}
