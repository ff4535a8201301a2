package store

import (
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
	"testing"

	"openbank/embedded/embeddedtest"
	"openbank/predecessor"
)

// somebody makes a user without privileges, and returns its name and how it reaches a database of at's server.
func somebody(t *testing.T, at string) (name, reach string) {
	t.Helper()
	var b [6]byte
	_, _ = rand.Read(b[:])
	name = "user_" + hex.EncodeToString(b[:])
	superuser := embeddedtest.Database(t, at)
	if _, err := superuser.ExecContext(t.Context(), `CREATE USER `+name+` PASSWORD 'secret'`); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "secret")
	return name, u.String()
}

// asSuperuser is the URL of o's database for the server's superuser.
func (o *old) asSuperuser(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(o.url)
	if err != nil {
		t.Fatal(err)
	}
	return server.URL(strings.TrimPrefix(u.Path, "/"))
}

func TestMissingPrivilegesAreToldTogetherBeforeAnythingIsChanged(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Clojure)[0]
	at := o.asSuperuser(t)
	superuser := embeddedtest.Database(t, at)
	name, reach := somebody(t, at)
	must(t, superuser, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	must(t, superuser, `GRANT SELECT ON balance TO `+name)

	s := open(t, reach)
	err := s.Migrate(t.Context())
	var stop *FatalError
	if !errors.As(err, &stop) {
		t.Fatal(err)
	}
	for _, want := range []string{
		"DATABASE_URL (postgres://" + name + ":***@",
		"GRANT CREATE ON SCHEMA \"public\" TO \"" + name + "\"",
		"may not change table balance, which is clojure_ch's\n", "ALTER TABLE \"balance\" OWNER TO \"" + name + "\";\n",
		"ALTER TABLE \"cac\" OWNER TO", "ALTER TABLE \"cmt\" OWNER TO",
		"GRANT INSERT, UPDATE ON TABLE balance TO", "GRANT SELECT, INSERT ON TABLE cac TO", "GRANT SELECT, INSERT ON TABLE cmt TO",
		"command-handler migrate, with MIGRATE_DATABASE_URL",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	var columns int
	if err := superuser.QueryRowContext(t.Context(), `SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public'`).Scan(&columns); err != nil || columns != 8+6+3 {
		t.Errorf("%d columns, %v", columns, err)
	}

	// What it says mends it.
	_, statements, _ := strings.Cut(err.Error(), "superuser execute\n")
	must(t, superuser, statements)
	for line := range strings.Lines(err.Error()) {
		if len(line) > 300 {
			t.Errorf("a line of %d characters: %s", len(line), line)
		}
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.answered(t, s)
	sound(t, s)
}

func must(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestTheOwnerOrASuperuserMigratesForAHandlerThatMayOnlyExecute(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]predecessor.Layout{"owner": predecessor.Rust, "superuser": predecessor.Clojure} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := predecessorsBank(t, l)[0]
			at := o.asSuperuser(t)
			grantee, reach := somebody(t, at)
			must(t, embeddedtest.Database(t, at), `REVOKE CREATE ON SCHEMA public FROM `+grantee)
			migrating := o.url
			if name == "superuser" {
				migrating = at
			}
			owner, err := Open(t.Context(), Config{URL: migrating, Setting: "MIGRATE_DATABASE_URL", Logger: new(journal).logger(), Grantee: grantee})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time there is nothing to do
				if err := owner.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			closed(t, owner)

			var owners string
			if err := embeddedtest.Database(t, at).QueryRowContext(t.Context(), `SELECT string_agg(DISTINCT pg_get_userbyid(owner), ' ') FROM (
				SELECT relowner FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
				UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'public'::regnamespace) o (owner)`).Scan(&owners); err != nil || owners != l.User {
				t.Errorf("all belongs to %s, %v", owners, err)
			}
			s := open(t, reach)
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if out := execute(t, s, create("AUTO"), move(3, o.rich.IBAN, o.rich.Token, "shop"))[1]; out.Reason != "" {
				t.Errorf("%+v", out)
			}
			if err := s.SaveProgress(t.Context(), []Progress{{Topic: "t", ExecutedTo: 1, PublishedTo: -1}}); err != nil {
				t.Error(err)
			}
			o.answered(t, s)
			sound(t, s)
			closed(t, s)

			// Handing back and taking over again are the owner's.
			s = open(t, reach)
			var stop *FatalError
			if err := s.HandBack(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), "table "+l.Balance+" is "+l.User+"'s, not") {
				t.Error(err)
			}
			owner = open(t, migrating)
			if err := owner.HandBack(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.Migrate(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), "may not change table "+l.Balance) {
				t.Error(err)
			}
		})
	}
}

func TestAnUnknownUserToGrantToIsASentence(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Clojure)[0]
	for grantee, told := range map[string]string{"nobody_here": "no user nobody_here", "nobody:hunter2": "no user ***"} {
		s, err := Open(t.Context(), Config{URL: o.url, Logger: new(journal).logger(), Grantee: grantee})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		var stop *FatalError
		if err := s.Migrate(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), told) || strings.Contains(err.Error(), "hunter2") {
			t.Error(err)
		}
	}
}
