package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"openbank/store"
)

// asOwner derives how migrate and hand-back connect: as the user of MIGRATE_DATABASE_URL, who grants the handler's user
// what that one needs, or as the handler does.
func (c *config) asOwner(url string) []error {
	c.owner = c.store
	if url == "" {
		return nil
	}
	c.owner.URL, c.owner.Setting = url, "MIGRATE_DATABASE_URL"
	var err error
	if c.owner.Grantee, err = store.User(c.store.URL); err != nil {
		return nil // it is told where that URL is checked
	}
	if err := store.CheckURL(url, named("migrate-database-url")); err != nil {
		return []error{err}
	}
	return nil
}

// onDatabase runs one of the commands that concern the database alone.
func onDatabase(ctx context.Context, command string, c config, log *slog.Logger, stdout io.Writer) (err error) {
	c.owner.Logger = log
	db, err := store.Open(ctx, c.owner)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	defer context.AfterFunc(ctx, func() { _ = db.Close() })() // what waits for a server that stands still does not see that ctx ends
	said := "the database is ready for this handler"
	if command == migrate {
		err = db.Migrate(ctx)
	} else {
		err = db.HandBack(ctx)
		said = "the database is handed back: start the earlier handler, and none of these"
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, said)
	return err
}
