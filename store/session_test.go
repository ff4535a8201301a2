package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"openbank/bank"
)

// held is a session whose first COMMIT waits until it is released: everything is written and locked, nothing visible.
type held struct {
	*Store
	reached, released chan struct{}
	result            chan []Outcome
}

func hold(t *testing.T, s *Store, url string, commands ...Command) *held {
	t.Helper()
	h := &held{reached: make(chan struct{}), released: make(chan struct{}), result: make(chan []Outcome, 1)}
	var once sync.Once
	p := newProxy(t, url, func() bool {
		once.Do(func() {
			close(h.reached)
			<-h.released
		})
		return false
	})
	h.Store = open(t, p.url)
	h.random = s.random
	go func() {
		outs, err := h.Execute(t.Context(), Batch{Commands: commands})
		if err != nil {
			t.Error(err)
		}
		h.result <- outs
	}()
	select {
	case <-h.reached:
	case <-time.After(20 * time.Second):
		t.Fatal("the session never came to its COMMIT")
	}
	return h
}

func (h *held) release() []Outcome {
	close(h.released)
	return <-h.result
}

// beside executes commands in a second session, and releases the first one when the second waits for it.
func (h *held) beside(t *testing.T, s *Store, commands ...Command) (first, second []Outcome) {
	t.Helper()
	result := make(chan []Outcome, 1)
	go func() {
		outs, err := s.Execute(t.Context(), Batch{Commands: commands})
		if err != nil {
			t.Error(err)
		}
		result <- outs
	}()
	await(t, "a session that waits for a lock", func() bool {
		var waiting int
		s.query(t, &waiting, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
		return waiting > 0
	})
	first = h.release()
	return first, <-result
}

func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !there() {
		select {
		case <-deadline:
			t.Fatal("waited in vain for " + what)
		case <-tick.C:
		}
	}
}

func twoSessions(t *testing.T) (s *Store, url string) {
	t.Helper()
	url = database(t)
	s = open(t, url)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, url
}

func balanceOf(t *testing.T, s *Store, iban string) (balance int64) {
	t.Helper()
	s.query(t, &balance, `SELECT amount FROM {balance} WHERE iban = $1`, iban)
	return balance
}

func TestAnIDThatAnotherSessionIsExecutingOnTheSameAccountIsFoundBehindTheLock(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	a := accounts(t, s, 2, 100)
	c := move(10, a[0].IBAN, a[0].Token, a[1].IBAN)
	c.Origin = origin1
	again := c
	again.Origin.Offset++
	first, second := hold(t, s, url, c).beside(t, s, again, c)
	if first[0].Disposition != Executed || second[0].Disposition != Duplicate || second[1].Disposition != Unfinished {
		t.Fatalf("%+v, %+v", first, second)
	}
	if second[0].Seq != first[0].Seq || !slices.Equal(second[1].Events, first[0].Events) {
		t.Fatalf("%+v, %+v", first, second)
	}
	if balanceOf(t, s, a[0].IBAN) != 90 || balanceOf(t, s, a[1].IBAN) != 110 {
		t.Fatal("money moved more than once")
	}
	sound(t, s)
}

func TestAnIDThatAnotherSessionIsExecutingOnOtherAccountsIsFoundAtTheInsert(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	a := accounts(t, s, 2, 100)
	mine := move(10, a[0].IBAN, a[0].Token, "shop")
	other := move(10, a[1].IBAN, a[1].Token, "shop")
	other.Transfer.ID = mine.Transfer.ID
	bystander := move(20, a[1].IBAN, a[1].Token, "shop")
	first, second := hold(t, s, url, mine).beside(t, s, bystander, other)
	if first[0].Disposition != Executed || second[1].Disposition != DeadLetter || second[1].Reason != ReasonIDReused {
		t.Fatalf("%+v, %+v", first, second)
	}
	if second[0].Disposition != Executed || second[0].Events[0].NewBalance != 80 || balanceOf(t, s, a[1].IBAN) != 80 {
		t.Fatalf("%+v", second)
	}
	sound(t, s)
}

func TestARefusedTransferInTwoSessionsIsAnsweredTheSame(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	c := move(10, "NL66OPEN0000000001", "", "shop") // locks nothing: neither is an account
	first, second := hold(t, s, url, c).beside(t, s, c)
	if first[0].Reason == "" || second[0].Reason != first[0].Reason || second[0].Seq != first[0].Seq || second[0].Disposition != Duplicate {
		t.Fatalf("%+v, %+v", first, second)
	}
}

func TestAnAccountAskedForInTwoSessionsIsMadeOnce(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	c := create(bank.Auto)
	first, second := hold(t, s, url, c).beside(t, s, c)
	if first[0].IBAN == "" || second[0].IBAN != first[0].IBAN || second[0].Token != first[0].Token || second[0].Disposition != Duplicate {
		t.Fatalf("%+v, %+v", first, second)
	}
	if r := sound(t, s); r.Accounts != 2 {
		t.Fatalf("%d accounts, want the company's and one", r.Accounts)
	}
}

func TestTwoSessionsThatDrawTheSameIBANMakeTwoAccounts(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	s.random = &digits{next: []byte{0, 0, 0, 0, 0, 0, 0, 0, 7}}
	h := hold(t, s, url, create(bank.Auto))
	s.random = &digits{next: []byte{
		0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 8, // 7 is taken by the time that the row is written
		0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, // the rest of the first run: a candidate and the token
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 8, // and now it is seen to be
	}}
	first, second := h.beside(t, s, create(bank.Auto))
	if !strings.HasSuffix(first[0].IBAN, "7") || !strings.HasSuffix(second[0].IBAN, "8") || second[0].Disposition != Executed {
		t.Fatalf("%+v, %+v", first, second)
	}
	sound(t, s)
}

func TestATransferToAnAccountThatIsBeingMadeTakesItForAForeignOne(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	a := accounts(t, s, 1, 100)[0]
	s.random = &digits{next: []byte{0, 0, 0, 0, 0, 0, 0, 0, 7}}
	h := hold(t, s, url, create(bank.Auto))
	iban := "NL00OPEN0000000007"
	for check := 0; !bank.ValidIBAN(iban); check++ {
		iban = fmt.Sprintf("NL%02dOPEN0000000007", check)
	}
	before := execute(t, s, move(10, a.IBAN, a.Token, iban))[0] // does not wait: there is no row to lock yet
	if made := h.release()[0]; made.IBAN != iban {
		t.Fatalf("made %s instead of %s", made.IBAN, iban)
	}
	after := execute(t, s, move(10, a.IBAN, a.Token, iban))[0]
	if len(before.Events) != 1 || len(after.Events) != 2 || after.Events[1].Version != 1 || after.Events[1].NewBalance != 10 {
		t.Fatalf("%+v, %+v", before, after)
	}
	sound(t, s)
}

func TestBatchesThatNameTheSameAccountsInOppositeOrderWaitForEachOther(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	a := accounts(t, s, 2, 100)
	there := []Command{move(10, a[0].IBAN, a[0].Token, a[1].IBAN), move(1, a[1].IBAN, a[1].Token, a[0].IBAN)}
	back := []Command{move(20, a[1].IBAN, a[1].Token, a[0].IBAN), move(2, a[0].IBAN, a[0].Token, a[1].IBAN)}
	first, second := hold(t, s, url, there...).beside(t, s, back...)
	if first[1].Seq >= second[0].Seq || second[1].Events[0].NewBalance != 100-10+1+20-2 {
		t.Fatalf("%+v, %+v", first, second)
	}
	sound(t, s)
}

func TestManySessionsNeverDeadlock(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	a := accounts(t, s, 20, 10_000)
	logins := []Command{create(bank.Auto), create(bank.Auto), create(bank.Auto), create(bank.Auto)}
	var shared []Command // the same transfers in every session
	for i := range 40 {
		shared = append(shared, move(1, a[i%20].IBAN, a[i%20].Token, a[(i*7+1)%20].IBAN))
	}
	var sessions sync.WaitGroup
	for n := range 6 {
		session := open(t, url)
		sessions.Go(func() {
			for round := range 20 {
				var b []Command
				for i := range 20 {
					from, to := (i*(n+1)+round)%20, (i*(n+3)+round+1)%20
					b = append(b, move(1, a[from].IBAN, a[from].Token, a[to].IBAN), shared[(i*(2*n+1)+round)%40], logins[(i+n)%4])
				}
				if _, err := session.Execute(t.Context(), Batch{Commands: b, Progress: []Progress{
					{Topic: "a", Partition: int32(n % 2), ExecutedTo: int64(round), PublishedTo: -1},
					{Topic: "a", Partition: int32((n + 1) % 2), ExecutedTo: int64(round), PublishedTo: -1},
				}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sessions.Wait()
	for _, c := range append(shared, logins...) {
		var rows int
		id := bank.ID{}
		if c.Transfer != nil {
			id = c.Transfer.ID
		} else {
			id = c.Creation.ID
		}
		s.query(t, &rows, `SELECT (SELECT count(*) FROM {cmt} WHERE uuid = $1) + (SELECT count(*) FROM {cac} WHERE uuid = $1)`, id.String())
		if rows != 1 {
			t.Fatalf("%d rows of %v", rows, id)
		}
	}
	sound(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, url)
	var deadlocks int
	s.query(t, &deadlocks, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
	if deadlocks != 0 {
		t.Fatalf("%d deadlocks", deadlocks)
	}
}

func TestALostReplyToCommitIsLeftToTheRows(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	a := accounts(t, s, 1, 100)[0]
	var commits atomic.Int32
	log := new(journal)
	p := newProxy(t, url, func() bool { return commits.Add(1) == 1 })
	through, err := Open(t.Context(), Config{URL: p.url, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = through.Close() })

	c := move(10, a.IBAN, a.Token, "shop")
	c.Origin = origin1
	made := create(bank.Auto)
	made.Origin = Origin{Topic: "confirm_account_creation", Offset: 5}
	outs, err := through.Execute(t.Context(), Batch{Commands: []Command{c, made}, Progress: []Progress{{Topic: "t", ExecutedTo: 4, PublishedTo: -1}}})
	if err != nil {
		t.Fatal(err)
	}
	if commits.Load() != 2 {
		t.Fatalf("%d commits", commits.Load())
	}
	if outs[0].Disposition != Unfinished || len(outs[0].Events) != 1 || outs[0].Events[0].NewBalance != 90 || outs[1].Disposition != Unfinished || outs[1].IBAN == "" {
		t.Fatalf("%+v", outs)
	}
	if balanceOf(t, s, a.IBAN) != 90 {
		t.Fatal("money moved more than once")
	}
	if r := sound(t, s); r.Accounts != 3 {
		t.Fatalf("%d accounts", r.Accounts)
	}
	if text := log.String(); strings.Count(text, "Postgres does not answer; waiting") != 1 || strings.Count(text, "Postgres works again") != 1 {
		t.Fatal(text)
	}
}

func TestAccountsThatOthersHoldAreWaitedForWithOneLogLine(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	a := accounts(t, s, 1, 100)[0]
	h := hold(t, s, url, move(10, a.IBAN, a.Token, "shop"))
	log := new(journal)
	hasty, err := Open(t.Context(), Config{URL: url + "&lock_timeout=10ms", Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hasty.Close() })
	result := make(chan []Outcome, 1)
	go func() {
		outs, err := hasty.Execute(t.Context(), Batch{Commands: []Command{move(1, a.IBAN, a.Token, "shop")}})
		if err != nil {
			t.Error(err)
		}
		result <- outs
	}()
	await(t, "a log line", func() bool { return strings.Contains(log.String(), "another session holds the rows; waiting") })
	h.release()
	if outs := <-result; len(outs) != 1 || outs[0].Reason != "" || outs[0].Events[0].NewBalance != 89 {
		t.Fatalf("%+v", outs)
	}
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "works again") {
		t.Fatal(text)
	}
}

func TestBrokenConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	a := accounts(t, s, 1, 0)[0]
	p := newProxy(t, url, nil)
	through := open(t, p.url)
	for range 10 {
		execute(t, through, move(1, bank.Cash, "", a.IBAN))
		p.cut()
	}
	if balanceOf(t, s, a.IBAN) != 10 {
		t.Fatal("lost or doubled")
	}
}

func TestExecuteEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s, url := twoSessions(t)
	a := accounts(t, s, 1, 100)[0]
	c := move(10, a.IBAN, a.Token, "shop")
	h := hold(t, s, url, c)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := s.Execute(ctx, Batch{Commands: []Command{c}})
		failed <- err
	}()
	await(t, "a session that waits for a lock", func() bool {
		var waiting int
		s.query(t, &waiting, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
		return waiting > 0
	})
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	h.release()
	if balanceOf(t, s, a.IBAN) != 90 {
		t.Fatal("not executed once")
	}
}
