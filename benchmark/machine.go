package benchmark

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"openbank/embedded"
	"openbank/result"
	"openbank/surroundings"
)

// Describe notes where all of it runs.
func Describe(ctx context.Context, w *World, r *result.Run) {
	r.Machine = machine()
	r.Versions = map[string]string{"go": runtime.Version()}
	if w.Own != nil {
		for name, version := range w.Own.Versions {
			r.Versions[name] = version
		}
	} else {
		_ = w.withAdmin(func(admin *kadm.Client) error { // its version is not needed
			version, err := brokersVersion(ctx, admin)
			if version != "" {
				r.Versions["kafka"] = version
			}
			return err
		})
	}
	r.Postgres = map[string]string{}
	if err := describePostgres(ctx, w, r); err != nil {
		r.Postgres = map[string]string{"unknown": err.Error()}
		w.Logger.Warn("version and settings of Postgres will be missing from the result", "reason", err)
	}
}

// answerOfPostgres is how long the database may take to tell of itself.
const answerOfPostgres = 10 * time.Second

// describePostgres notes what the database is. Error: why it is not known, without a password.
func describePostgres(ctx context.Context, w *World, r *result.Run) error {
	url := ""
	if w.Own != nil {
		url = w.Own.Postgres.URL("")
	} else if err := w.Connection.Database.Check(); err != nil {
		return err
	} else {
		url = w.DatabaseURL()
	}
	ctx, cancel := context.WithTimeout(ctx, answerOfPostgres)
	defer cancel()
	if err := withDatabase(url, func(db *sql.DB) error { return settings(ctx, db, r) }); err != nil {
		return fmt.Errorf("the database could not be asked (%s): %w", w.Connection.Database.Setting(), err)
	}
	return nil
}

// brokersVersion says what the brokers of somebody else's stack are. Kafka tells not its own version but those of its requests, by which a
// release can be known. Brokers of another make have requests of several releases: to name two that they lie between would be untrue.
func brokersVersion(ctx context.Context, admin *kadm.Client) (string, error) {
	metadata, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return "", err
	}
	if metadata.Cluster == embedded.ClusterID {
		return surroundings.EmbeddedKafka, nil
	}
	brokers, err := admin.ApiVersions(ctx)
	if err != nil || len(brokers) == 0 {
		return "", err
	}
	guess := brokers.Sorted()[0].VersionGuess()
	if strings.HasPrefix(guess, "v") || strings.HasPrefix(guess, "at least v") {
		return guess, nil
	}
	return "none of Apache Kafka's releases, by their API versions", nil
}

// deciding are the settings that decide Postgres' speed.
var deciding = []string{
	"fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "wal_level", "wal_compression", "shared_buffers", "max_wal_size",
	"checkpoint_timeout", "autovacuum", "max_connections", "commit_delay",
}

func settings(ctx context.Context, db *sql.DB, r *result.Run) error {
	var version string
	if err := db.QueryRowContext(ctx, `SHOW server_version`).Scan(&version); err != nil {
		return err
	}
	r.Versions["postgres"] = version
	for _, name := range deciding {
		var value sql.NullString
		if err := db.QueryRowContext(ctx, `SELECT current_setting($1, true)`, name).Scan(&value); err != nil {
			return err
		}
		if value.Valid {
			r.Postgres[name] = value.String
		}
	}
	return nil
}

func machine() result.Machine {
	m := result.Machine{Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH}
	m.CPU = field("/proc/cpuinfo", "model name")
	if kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.Memory = kib << 10
	}
	var parts []string
	for line := range strings.Lines(text("/etc/os-release")) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			parts = append(parts, strings.Trim(strings.TrimSpace(name), `"`))
		}
	}
	if kernel := strings.TrimSpace(text("/proc/sys/kernel/osrelease")); kernel != "" {
		parts = append(parts, "Linux "+kernel)
	}
	if len(parts) > 0 {
		m.System = strings.Join(parts, ", ")
	}
	return m
}

// text is a file of the system's, "" when there is none.
func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// field is the value of the first line NAME: VALUE.
func field(path, name string) string {
	for line := range strings.Lines(text(path)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
