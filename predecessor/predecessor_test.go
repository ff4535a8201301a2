package predecessor

import (
	"database/sql"
	"os"
	"slices"
	"strings"
	"testing"

	"openbank/embedded"
	"openbank/embedded/embeddedtest"
)

// server is the one Postgres of this test binary; every test has a database of its own in it.
var server *embedded.Postgres

func TestMain(m *testing.M) {
	os.Exit(embeddedtest.Main(m, embedded.PostgresConfig{}, func(s *embedded.Postgres) error {
		server = s
		return nil
	}))
}

// created makes a database with layouts, and returns the superuser's URL of it.
func created(t *testing.T, name string, layouts ...Layout) string {
	t.Helper()
	if err := server.CreateDatabase(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	url := server.URL(name)
	for _, l := range layouts {
		if err := l.Create(t.Context(), embeddedtest.Database(t, url)); err != nil {
			t.Fatal(err)
		}
	}
	return url
}

// asUser connects as a layout's own user.
func asUser(t *testing.T, l Layout, url string) *sql.DB {
	t.Helper()
	own, err := l.URL(url)
	if err != nil {
		t.Fatal(err)
	}
	return embeddedtest.Database(t, own)
}

func texts(t *testing.T, db *sql.DB, query string, args ...any) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBothLayoutsStandBesideEachOtherEachItsOwnUsers(t *testing.T) {
	t.Parallel()
	url := created(t, "layouts", Layouts()...)
	db := embeddedtest.Database(t, url)
	for _, l := range Layouts() {
		own := asUser(t, l, url)
		owned := texts(t, own, `SELECT relname FROM pg_class JOIN pg_roles r ON r.oid = relowner WHERE rolname = current_user AND relnamespace = 'public'::regnamespace
			UNION ALL SELECT proname FROM pg_proc JOIN pg_roles r ON r.oid = proowner WHERE rolname = current_user AND pronamespace = 'public'::regnamespace ORDER BY 1`)
		want := []string{
			l.Balance, l.Balance + "_balance_id_seq", l.Balance + "_iban", l.Balance + "_pkey", l.Creations, l.Creations + "_pkey",
			l.Transfers, l.Transfers + "_pkey", l.UpdatedAt,
		}
		if l.Name == Rust.Name {
			want = append(want, "uuid_cacr", "uuid_cmtr")
		}
		slices.Sort(want)
		if !slices.Equal(owned, want) {
			t.Errorf("%s owns %v, want %v", l.User, owned, want)
		}
		unique := texts(t, db, `SELECT CAST(indisunique AS text) FROM pg_index WHERE indexrelid = CAST($1 AS regclass)`, l.Balance+"_iban")
		if unique[0] != "false" {
			t.Errorf("%s_iban is unique", l.Balance)
		}
		company := texts(t, own, `SELECT concat_ws(' ', balance_id, iban, token, amount, `+l.AccountType+`, lmt) FROM `+l.Balance)
		if len(company) != 1 || company[0] != "0 NL66OPEN0000000000 00000000000000000000 100000000000000000 AUTO -50000" {
			t.Errorf("%s holds %v", l.Balance, company)
		}
	}
	if _, err := asUser(t, Rust, url).ExecContext(t.Context(), `UPDATE balance SET amount = 0`); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("one may write the other's tables: %v", err)
	}
}

func TestTheStatementsOfEachHandlerWorkOnItsTables(t *testing.T) {
	t.Parallel()
	url := created(t, "statements", Layouts()...)
	for _, l := range Layouts() {
		db := asUser(t, l, url)
		id := "00000000-0000-0000-0000-000000000001"
		for _, s := range []struct {
			sql  string
			args []any
		}{
			{l.InsertAccount(), []any{"NL03OPEN0000000002", "12345678901234567890", "MANUAL"}},
			{l.InsertCreation(), []any{id, "NL03OPEN0000000002", "12345678901234567890", "MANUAL", nil}},
			{l.InsertTransfer(), []any{id, "invalid token"}},
			{l.UpdateAmount(), []any{int64(77), 1}}, // the first account's number is 1
		} {
			result, err := db.ExecContext(t.Context(), s.sql, s.args...)
			if err != nil {
				t.Fatalf("%s: %v", s.sql, err)
			}
			if n, err := result.RowsAffected(); n != 1 || err != nil {
				t.Errorf("%s: %d rows, %v", s.sql, n, err)
			}
		}
		var iban, token, kind, reason sql.NullString
		if err := db.QueryRowContext(t.Context(), l.SelectCreation(), id).Scan(&iban, &token, &kind, &reason); err != nil || kind.String != "MANUAL" || reason.Valid {
			t.Errorf("%+v %+v, %v", kind, reason, err)
		}
		if err := db.QueryRowContext(t.Context(), l.SelectTransfer(), id).Scan(&reason); err != nil || reason.String != "invalid token" {
			t.Errorf("%+v, %v", reason, err)
		}
		if moved := texts(t, db, `SELECT amount || ' ' || (updated_at > created_at) FROM `+l.Balance+` WHERE balance_id = 1`); moved[0] != "77 true" {
			t.Errorf("%v", moved)
		}
	}
}
