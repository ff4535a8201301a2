package store

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"openbank/bank"
	"openbank/embedded/embeddedtest"
	"openbank/predecessor"
)

func TestATakeOverThatIsCutShortAnywhereIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(t *testing.T) (*old, []string){
		"a predecessor's": func(t *testing.T) (*old, []string) {
			return predecessorsBank(t, predecessor.Rust)[0], []string{"columns", "index", "guard", "some openings", "openings", "ready"}
		},
		"one that was handed back": func(t *testing.T) (*old, []string) {
			o := predecessorsBank(t, predecessor.Clojure)[0]
			s := takeOver(t, o)
			execute(t, s, move(100, o.rich.IBAN, o.rich.Token, o.poor.IBAN), move(100, o.poor.IBAN, o.poor.Token, o.rich.IBAN))
			closed(t, s)
			s = open(t, o.url)
			if err := s.HandBack(t.Context()); err != nil {
				t.Fatal(err)
			}
			return o, []string{"guard", "some openings", "openings", "ready"}
		},
		"one with an index that was cut short": func(t *testing.T) (*old, []string) {
			o := predecessorsBank(t, predecessor.Clojure)[0]
			leaveInvalidIndex(t, o)
			return o, []string{"index", "guard", "some openings", "openings", "ready"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, steps := begin(t)
			// More than one chunk of accounts.
			o.must(t, `INSERT INTO `+o.Balance+` (iban, token, `+o.AccountType+`, amount) SELECT 'NL00OPEN1' || lpad(CAST(i AS text), 9, '0'), 't', 'AUTO', 1000 FROM generate_series(1, $1) i`, openingChunk+10)
			var want string
			total := func(s *Store) (sum string) {
				s.query(t, &sum, `SELECT CAST(sum(amount) AS text) FROM {balance}`)
				return sum
			}
			for _, step := range steps {
				s := open(t, o.url)
				if want == "" {
					want = total(s)
				}
				ctx, cut := context.WithCancel(t.Context())
				var done []string
				s.reached = func(name string) {
					done = append(done, name)
					if name == step {
						cut()
					}
				}
				if err := s.Migrate(ctx); !errors.Is(err, context.Canceled) {
					t.Fatalf("cut short after %q, having done %q: %v", step, done, err)
				}
				closed(t, s)
			}
			s := takeOver(t, o)
			if r := sound(t, s); r.Openings != want || r.Events != 0 {
				t.Errorf("the openings are %s of %s; %+v", r.Openings, want, r)
			}
			o.answered(t, s)
			execute(t, s, move(100, o.rich.IBAN, o.rich.Token, o.poor.IBAN))
			sound(t, s)
			o.refused(t)
		})
	}
}

// leaveInvalidIndex cuts a take-over short while it makes the index, for which it waits.
func leaveInvalidIndex(t *testing.T, o *old) {
	t.Helper()
	ctx, cut := context.WithCancel(t.Context())
	s := open(t, o.url)
	cutShort := make(chan error, 1)
	writing, err := o.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.reached = func(step string) {
		if step == "columns" { // a transaction that writes, for which it has to wait
			if _, err := writing.ExecContext(t.Context(), o.UpdateAmount(), 123_456, 1); err != nil {
				t.Error(err)
			}
		}
	}
	go func() { cutShort <- s.Migrate(ctx) }()
	watch := open(t, o.url)
	invalid := func() (n int) {
		watch.query(t, &n, `SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('{balance}_iban_key') AND NOT indisvalid`)
		return n
	}
	await(t, "an unfinished index", func() bool { return invalid() == 1 })
	cut()
	if err := <-cutShort; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	closed(t, s)
	if err := writing.Commit(); err != nil {
		t.Fatal(err)
	}
	if invalid() != 1 {
		t.Fatal("the unfinished index is gone")
	}
}

func TestManyMayTakeOverAtOnce(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Clojure)[0]
	var done sync.WaitGroup
	for range 4 {
		s := open(t, o.url)
		done.Go(func() {
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := s.Execute(t.Context(), Batch{Commands: []Command{move(1, "cash", "", o.poor.IBAN)}}); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	s := open(t, o.url)
	var tenures int
	s.query(t, &tenures, `SELECT count(*) FROM {tenure}`)
	if tenures != 1 {
		t.Errorf("taken over %d times", tenures)
	}
	if r := sound(t, s); r.Events != 4 || balanceOf(t, s, o.poor.IBAN) != 4 {
		t.Errorf("%+v", r)
	}
}

func TestADatabaseOfAnEarlierVersionIsBroughtOnWithItsHistory(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/earlier.sql")
	if err != nil {
		t.Fatal(err)
	}
	url := database(t)
	if _, err := embeddedtest.Database(t, url).ExecContext(t.Context(), string(text)); err != nil {
		t.Fatal(err)
	}
	s := open(t, url)
	var stop *FatalError
	if err := s.HandBack(t.Context()); !errors.As(err, &stop) || !strings.Contains(err.Error(), "an earlier version") {
		t.Error(err)
	}
	for range 2 {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if r := sound(t, s); r.History != 0 || r.Events != 1 || r.Inflow != "10" {
		t.Errorf("%+v", r)
	}
	deposit := Command{
		Transfer: &bank.ConfirmMoneyTransfer{ID: bank.ID{15: 1}, Amount: 10, From: "cash", To: bank.CompanyIBAN, Description: "a deposit"},
		Origin:   Origin{Topic: "confirm_money_transfer", TopicID: [16]byte{1}, Partition: 2, Offset: 3},
	}
	outs := execute(t, s, deposit, move(5, "cash", "", bank.CompanyIBAN))
	if outs[0].Disposition != Unfinished || outs[1].Events[0].Version != 2 {
		t.Errorf("%+v", outs)
	}
	if p, err := s.ReadProgress(t.Context(), "confirm_money_transfer"); err != nil || len(p) != 1 || p[0].ExecutedTo != 4 {
		t.Errorf("%+v, %v", p, err)
	}
	sound(t, s)
	if _, err := embeddedtest.Database(t, url).ExecContext(t.Context(), predecessor.Clojure.UpdateAmount(), 1, 0); err == nil || !strings.Contains(err.Error(), "hand-back") {
		t.Errorf("another program's write: %v", err)
	}
}

func TestATransactionThatOnlyReadsIsWaitedForAndKeepsNobodyElseWaiting(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Clojure)[0]
	reading, err := o.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reading.ExecContext(t.Context(), o.SelectAccount(), "x"); err != nil {
		t.Fatal(err)
	}
	log := new(journal)
	s, err := Open(t.Context(), Config{URL: o.url, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	done := make(chan error, 1)
	go func() { done <- s.Migrate(t.Context()) }()
	await(t, "a log line", func() bool { return strings.Contains(log.String(), "stands in the way") })
	var longest time.Duration
	for began := time.Now(); time.Since(began) < 4*(lockTimeout+lockPause); {
		start := time.Now()
		o.must(t, o.SelectAccount(), o.rich.IBAN)
		o.must(t, o.UpdateAmount(), 123_456, 1)
		longest = max(longest, time.Since(start))
	}
	if longest > 2*time.Second {
		t.Errorf("others had to wait for %v", longest)
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	if err := reading.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if text := log.String(); strings.Count(text, "stands in the way") != 1 || !strings.Contains(text, "of user clojure_ch") || !strings.Contains(text, "idle in transaction") {
		t.Error(text)
	}
	sound(t, s)
}

// A session that is idle in a transaction holds all that it has locked.
func TestAMigrationThatIsPausedLetsOthersIn(t *testing.T) {
	t.Parallel()
	o := predecessorsBank(t, predecessor.Rust)[0]
	paused, goOn := make(chan struct{}), make(chan struct{})
	var commits atomic.Int64
	p := newProxy(t, o.url, func() bool {
		if commits.Add(1) == 1 {
			close(paused)
			<-goOn
		}
		return false
	})
	s := open(t, p.url)
	migrated := make(chan error, 1)
	go func() { migrated <- s.Migrate(t.Context()) }()
	<-paused
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := o.db.ExecContext(ctx, `SELECT count(*) FROM `+o.Balance)
	close(goOn)
	if err != nil {
		t.Errorf("whoever reads: %v", err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
}
