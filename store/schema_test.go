package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"openbank/bank"
)

func TestTheTablesAreTheReferencesAndMore(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	var columns []string
	if err := s.reading.SelectContext(t.Context(), &columns, `
		SELECT table_name || '.' || column_name || ' ' || data_type || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
			|| coalesce(' default ' || lower(column_default), '') || CASE is_identity WHEN 'YES' THEN ' identity ' || lower(identity_generation) ELSE '' END
		FROM information_schema.columns WHERE table_schema = 'public'`); err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, c := range columns {
		have[c] = true
	}
	for _, want := range []string{
		"balance.balance_id integer not null identity by default",
		"balance.iban text not null", "balance.token text not null", "balance.type text not null",
		"balance.amount bigint not null default 0", "balance.lmt bigint not null default '-50000'::integer",
		"balance.created_at timestamp without time zone not null default current_timestamp",
		"balance.updated_at timestamp without time zone not null default current_timestamp",
		"balance.opening bigint not null default 0", "balance.version bigint not null default 0", "balance.opening_version bigint not null default 0",
		"cac.uuid uuid not null", "cac.iban text", "cac.token text", "cac.type text", "cac.reason text",
		"cac.created_at timestamp without time zone not null default current_timestamp", "cac.seq bigint",
		"cmt.uuid uuid not null", "cmt.reason text", "cmt.created_at timestamp without time zone not null default current_timestamp",
		"cmt.seq bigint", "cmt.fingerprint bigint", "cmt.origin_topic integer", "cmt.origin_partition integer", "cmt.origin_offset bigint",
	} {
		if !have[want] {
			t.Errorf("no %s in %s", want, strings.Join(columns, "\n"))
		}
	}
	for index, want := range map[string]string{
		"balance_iban": "CREATE INDEX balance_iban ON public.balance USING btree (iban)",
		"balance_pkey": "CREATE UNIQUE INDEX balance_pkey ON public.balance USING btree (balance_id)",
		"cac_pkey":     "CREATE UNIQUE INDEX cac_pkey ON public.cac USING btree (uuid)",
		"cmt_pkey":     "CREATE UNIQUE INDEX cmt_pkey ON public.cmt USING btree (uuid)",
	} {
		var got string
		s.query(t, &got, `SELECT indexdef FROM pg_indexes WHERE indexname = $1`, index)
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	var company string
	s.query(t, &company, `SELECT balance_id || ' ' || iban || ' ' || token || ' ' || amount || ' ' || type || ' ' || lmt || ' ' || opening FROM balance`)
	if company != "0 NL66OPEN0000000000 00000000000000000000 100000000000000000 AUTO -50000 100000000000000000" {
		t.Fatal(company)
	}
	accounts(t, s, 1, 0)
	var id int
	s.query(t, &id, `SELECT max(balance_id) FROM balance`)
	if id != 1 {
		t.Fatalf("the first account's number is %d", id)
	}
}

func TestUpdatedAtMovesForTheOldHandlersStatementAndForOurs(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	a := accounts(t, s, 1, 0)[0]
	past := `UPDATE {balance} SET updated_at = '2020-01-01' WHERE iban = $1`
	moved := func() (moved bool) {
		s.query(t, &moved, `SELECT updated_at > '2021-01-01' FROM {balance} WHERE iban = $1`, a.IBAN)
		return moved
	}
	s.exec(t, past, a.IBAN)
	if moved() {
		t.Fatal("the test's own statement does not work")
	}
	s.exec(t, `UPDATE {balance} SET amount = 7 WHERE balance_id = 1`)
	if !moved() {
		t.Error("an update by an old handler")
	}
	s.exec(t, past, a.IBAN)
	execute(t, s, move(1, "cash", "", a.IBAN))
	if !moved() {
		t.Error("an update by ours")
	}
}

func TestManyMayMigrateAtOnce(t *testing.T) {
	t.Parallel()
	url := database(t)
	var done sync.WaitGroup
	for range 4 {
		s := open(t, url)
		done.Go(func() {
			for range 2 { // the second time there is nothing to do
				if err := s.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	s := open(t, url)
	var tenures int
	s.query(t, &tenures, `SELECT count(*) FROM {tenure} WHERE ready_at IS NOT NULL AND handed_back_at IS NULL`)
	if tenures != 1 {
		t.Fatalf("taken charge of %d times", tenures)
	}
	sound(t, s)
}

func TestADatabaseThatIsNotTheBanksIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	var stop *FatalError
	if _, err := s.Execute(t.Context(), Batch{Commands: []Command{move(1, "cash", "", "shop")}}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Fatal(err)
	}
	s.exec(t, `CREATE TABLE cmt (whatever text)`)
	if err := s.Migrate(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), "name an empty database") {
		t.Fatal(err)
	}
	var left int
	s.query(t, &left, `SELECT count(*) FROM pg_tables WHERE tablename IN ('balance', 'cac')`)
	if left != 0 {
		t.Fatal("half a migration is left")
	}
}

func TestProgressNeverGoesBackwards(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	one, other := [16]byte{1}, [16]byte{2}
	save := func(p ...Progress) {
		t.Helper()
		if err := s.SaveProgress(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	save()
	save(Progress{"t", one, 1, 10, -1}, Progress{"t", one, 0, 5, 5}, Progress{"t", other, 0, 1, 1}, Progress{"u", one, 0, 3, 3})
	save(Progress{"t", one, 1, -1, 7}, Progress{"t", one, 0, 4, 3})
	save(Progress{"t", one, 1, 12, 6}, Progress{"t", one, 1, 11, 9}) // twice the same partition
	if _, err := s.Execute(t.Context(), Batch{Progress: []Progress{{"t", one, 2, 1, -1}}}); err != nil {
		t.Fatal(err)
	}
	got, err := s.ReadProgress(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	want := []Progress{{"t", one, 0, 5, 5}, {"t", one, 1, 12, 9}, {"t", one, 2, 1, -1}, {"t", other, 0, 1, 1}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// Prepared while the tables are empty and kept for good, a plan that reads whole tables would be the best one.
func TestPlansMadeOnEmptyTablesStillUseTheIndexesWhenTheyAreFull(t *testing.T) {
	t.Parallel()
	url := database(t)
	s := open(t, url)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := accounts(t, s, 300, 1000)
	login := create(bank.Auto)
	for i := range 30 {
		b := []Command{login, create(bank.Auto)}
		for j := range 200 {
			from, to := a[(i+j)%300], a[(7*i+j+1)%300]
			b = append(b, move(1, from.IBAN, from.Token, to.IBAN), move(1, from.IBAN, from.Token, to.IBAN))
		}
		if _, err := s.Execute(t.Context(), Batch{Commands: b, Progress: []Progress{{Topic: "t", ExecutedTo: int64(i), PublishedTo: -1}}}); err != nil {
			t.Fatal(err)
		}
	}
	// A session reports what it counted when it ends, at the latest.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, url)
	used := func(table string) (sequential, index, inserted int64) {
		row := s.reading.QueryRowContext(t.Context(), `SELECT seq_scan, coalesce(idx_scan, 0), n_tup_ins FROM pg_stat_user_tables WHERE relname = $1`, table)
		if err := row.Scan(&sequential, &index, &inserted); err != nil {
			t.Fatal(err)
		}
		return sequential, index, inserted
	}
	await(t, "the sessions' reports", func() bool { _, _, inserted := used("cmt"); return inserted == 300+30*400 })
	for _, table := range []string{"balance", "cac", "cmt"} {
		if sequential, index, _ := used(table); sequential > 15 || index < 30 { // migrating takes a few of the first kind
			t.Errorf("%s: %d sequential scans, %d index scans", table, sequential, index)
		}
	}
}
