package security

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/bank"
	"openbank/embedded"
)

// serving is what makes a handler of these tests serve, at a port that nobody has.
const serving = "HTTP_ADDRESS=127.0.0.1:0"

var (
	servedAt = regexp.MustCompile(`serving health and metrics"[ ,]"?address"?[=:]"?([\d.:]+)`)

	// personal is the form of an IBAN, of an id and of a token, which is no fraction's digits.
	personal = regexp.MustCompile(`(?:^|[^\w.])([A-Z]{2}\d{2}[A-Z]{4}\d{10}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{20})\b`)

	// waits is how /readyz names what a handler waits for.
	waits = regexp.MustCompile(`\n(?:kafka|registry|postgres): `)
)

// What transfers of these tests say besides, in no form that could be told from other text.
const (
	recipient   = "a shop around the corner"
	description = "a gift that nobody may know of"
)

// page is all of a handler's answer, its headers and its body.
func (p *program) page(path string) (status int, text string, err error) {
	at := servedAt.FindStringSubmatch(p.text())
	if at == nil {
		return 0, "", errors.New("it does not say where it serves")
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at[1]+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return 0, "", err
	}
	all, err := httputil.DumpResponse(response, true)
	return response.StatusCode, string(all), errors.Join(err, response.Body.Close())
}

// pages looks through all that a handler serves, once /readyz answers as wanted. It says whether there was somebody to ask: a handler that
// ends meanwhile serves nothing.
func (s *told) pages(what string, p *program, status int, says *regexp.Regexp) (asked bool) {
	s.t.Helper()
	eventually(s.t, what+": /readyz", reasonable, func() error {
		got, text, err := p.page("/readyz")
		switch {
		case err == nil && got == status && says.MatchString(text):
			asked = true
		case p.Running():
			return fmt.Errorf("it is %d, want %d and %s: %s: %w", got, status, says, text, err)
		}
		return nil
	})
	for _, path := range []string{"/readyz", "/livez", "/metrics"} {
		_, text, err := p.page(path)
		if err != nil {
			if asked && p.Running() {
				s.t.Errorf("%s: %s: %v", what, path, err)
			}
			continue
		}
		s.check(what+": "+path, text)
		shown := personal.FindAllStringSubmatch(text, -1)
		for _, other := range []string{recipient, description} {
			if strings.Contains(text, other) {
				shown = append(shown, []string{other, other})
			}
		}
		for _, held := range shown {
			s.t.Errorf("%s: %s shows %q, which is in a record:\n%s", what, path, held[1], text)
		}
	}
	return asked
}

// pagesThroughout looks at what a handler serves while all is well, and while each of what it needs is away and commands are on their way.
func (s *told) pagesThroughout(what string, h *program, around *embedded.Bank, account bank.AccountCreationConfirmed) {
	s.t.Helper()
	ready := regexp.MustCompile(`\nready\n`)
	s.pages(what, h, http.StatusOK, ready)

	letGo := s.holdRows()
	s.tokens(account)
	s.pages(what+", rows are held", h, http.StatusServiceUnavailable, regexp.MustCompile(`\npostgres: another session holds the rows: `))
	letGo()
	s.settled()
	for _, server := range []struct {
		name        string
		stop, start func(context.Context) error
		send        func()
	}{
		{"postgres", around.Postgres.Stop, around.Postgres.Start, func() { s.tokens(account) }},
		{"registry", around.Registry.Stop, around.Registry.Start, func() {
			id := s.id()
			r := s.record(transfers, id, &bank.ConfirmMoneyTransfer{ID: id, Token: account.Token, Amount: 3, From: account.IBAN, To: recipient, Description: description})
			s.last++ // a schema's id that nobody has asked for
			s.send(&kgo.Record{Topic: transfers, Key: r.Key, Value: append([]byte{0, 0, 8, byte(s.last >> 8), byte(s.last)}, r.Value[5:]...)})
		}},
		{"kafka", around.Kafka.Stop, around.Kafka.Start, func() {}},
	} {
		if err := server.stop(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		server.send()
		s.pages(what+" without "+server.name, h, http.StatusServiceUnavailable, regexp.MustCompile(`\n`+server.name+`: `))
		if err := server.start(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		s.pages(what+" with "+server.name+" again", h, http.StatusOK, ready)
		s.settled()
	}
}

// holdRows locks every account's row, until the returned function is called.
func (w *world) holdRows() (letGo func()) {
	w.t.Helper()
	db, err := sql.Open("postgres", w.database)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	tx, err := db.BeginTx(w.t.Context(), nil)
	if err == nil {
		_, err = tx.ExecContext(w.t.Context(), `SELECT FROM balance FOR UPDATE`)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			w.t.Error(err)
		}
	}
}

// What is looked for on a page is found there.
func TestWhatARecordHoldsIsKnownByItsForm(t *testing.T) {
	t.Parallel()
	account := bank.AccountCreationConfirmed{IBAN: bank.CompanyIBAN, Token: "01234567890123456789"}
	for _, held := range []string{account.IBAN, account.Token, bank.ID{15: 1}.String()} {
		if got := personal.FindStringSubmatch(`x{reason="` + held + `"} 1`); got == nil || got[1] != held {
			t.Errorf("%q is found as %q", held, got)
		}
	}
	if got := personal.FindString("openbank_handling_seconds_sum 0.00010377499999999999"); got != "" {
		t.Errorf("%q is found in a metric's value", got)
	}
}
