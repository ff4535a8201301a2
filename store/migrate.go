package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the advisory lock under which databases are migrated: "openbank" as a number.
const migrationLock = 0x6f70656e62616e6b

// Migrate brings the database to the version that this code needs. Of several that do it at the same time one does the
// work and the others wait for it. A migration that fails leaves nothing behind.
// Errors: ctx's, or a *FatalError, as when the database holds tables of the same names that others made.
func (s *Store) Migrate(ctx context.Context) error {
	steps, err := s.migrationSteps()
	if err != nil {
		return err
	}
	return s.retry(ctx, func(ctx context.Context) error {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, 3600))
		if err != nil {
			return fmt.Errorf("making the migration lock: %w", err)
		}
		p, err := goose.NewProvider(goose.DialectPostgres, s.reading.DB, nil,
			goose.WithGoMigrations(steps...),
			goose.WithDisableGlobalRegistry(true),
			goose.WithTableName(s.layout.migrations),
			goose.WithSessionLocker(locker),
			goose.WithSlog(slog.New(slog.DiscardHandler)),
		)
		if err != nil {
			return fmt.Errorf("reading the migrations: %w", err)
		}
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("migrating the database: %w", err)
		}
		return nil
	})
}

// migrationSteps reads the files, NUMBER_NAME.sql, in the layout's names.
func (s *Store) migrationSteps() ([]*goose.Migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("listing the migrations: %w", err)
	}
	var steps []*goose.Migration
	for _, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading migration %s: %w", name, err)
		}
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("numbering migration %s: %w", name, err)
		}
		statements := s.layout.sql(string(text))
		steps = append(steps, goose.NewGoMigration(version, &goose.GoFunc{
			RunTx: func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, statements)
				return err
			},
		}, nil))
	}
	return steps, nil
}
