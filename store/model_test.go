package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"openbank/bank"
)

// model is a bank without a database, one thread and no batches: it says what the rows in seq order should be.
type model struct {
	sent map[bank.ID][]*bank.ConfirmMoneyTransfer // every content that an id was sent with
}

// replay decides the stored commands again, in order, and compares the outcomes and the accounts that remain.
func (m *model) replay(ctx context.Context, s *Store) error {
	stored, err := s.all(ctx)
	if err != nil {
		return err
	}
	replayed := bank.Accounts{bank.CompanyIBAN: bank.Company()}
	last := int64(0)
	err = s.replay(ctx, func(r handled) error {
		if r.Seq <= last {
			return fmt.Errorf("seq %d after %d", r.Seq, last)
		}
		last = r.Seq
		if r.Creation {
			if r.Reason == "" {
				if replayed[r.IBAN] != nil {
					return fmt.Errorf("%s was made twice", r.IBAN)
				}
				replayed[r.IBAN] = &bank.Account{IBAN: r.IBAN, Token: r.Token, Type: r.Type, Limit: bank.DefaultLimit}
			}
			return nil
		}
		for _, c := range m.sent[r.ID] {
			if c.Fingerprint() != r.Fingerprint {
				continue
			}
			want := replayed.Transfer(c)
			if c.TextReason() != "" {
				want.From, want.To = bank.Side{}, bank.Side{}
			}
			if got := (bank.TransferOutcome{Reason: r.Reason, From: r.FromSide, To: r.ToSide}); got != want {
				return fmt.Errorf("seq %d: %+v came to %+v, replayed to %+v", r.Seq, c, got, want)
			}
			return nil
		}
		return fmt.Errorf("nobody sent what row %v holds", r.ID)
	})
	if err != nil {
		return err
	}
	if len(stored) != len(replayed) {
		return fmt.Errorf("%d accounts, replayed %d", len(stored), len(replayed))
	}
	for _, a := range stored {
		if want := replayed[a.IBAN]; want == nil || a.Account != *want {
			return fmt.Errorf("stored %+v, replayed %+v", a.Account, want)
		}
	}
	return nil
}

// TestAnyBatchesInAnySessionsComeToWhatOneThreadComesTo sends random commands, many of them again, with other content
// or unfit, through three sessions at once, and holds what is stored and answered against the model.
func TestAnyBatchesInAnySessionsComeToWhatOneThreadComesTo(t *testing.T) {
	t.Parallel()
	url := database(t)
	sessions := make([]*Store, 3)
	for i := range sessions {
		sessions[i] = open(t, url)
	}
	s := sessions[0]
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	known := accounts(t, s, 4, 0)
	known = append(known, Outcome{IBAN: bank.CompanyIBAN, Token: bank.CompanyToken})
	m := &model{sent: map[bank.ID][]*bank.ConfirmMoneyTransfer{}}
	var sent []Command
	offset := int64(0)
	answers := map[bank.ID]Outcome{}

	parties := []string{"cash", "shop", "", "NL66OPEN0000000009", "a\x00b"}
	for _, a := range known {
		parties = append(parties, a.IBAN, a.IBAN, a.IBAN)
	}
	tokens := map[string]string{}
	for _, a := range known {
		tokens[a.IBAN] = a.Token
	}
	party := rapid.SampledFrom(parties)
	fresh := func(r *rapid.T) Command {
		if rapid.IntRange(0, 9).Draw(r, "kind") == 0 {
			return create(bank.Manual)
		}
		c := move(rapid.Int64Range(-1, 60_000).Draw(r, "amount"), party.Draw(r, "from"), "", party.Draw(r, "to"))
		c.Transfer.Token = tokens[c.Transfer.From]
		c.Transfer.Description = rapid.SampledFrom([]string{"", "groceries", "\xff"}).Draw(r, "description")
		if rapid.IntRange(0, 9).Draw(r, "token") == 0 {
			c.Transfer.Token = "wrong"
		}
		return c
	}
	next := func(r *rapid.T) Command {
		c := Command{}
		if n := len(sent); n > 0 && rapid.IntRange(0, 3).Draw(r, "again") == 0 {
			c = sent[max(0, n-1-rapid.IntRange(0, 40).Draw(r, "which"))]
			if c.Transfer != nil && rapid.IntRange(0, 4).Draw(r, "other content") == 0 {
				other := *c.Transfer
				other.Amount += 7
				c.Transfer = &other
			}
			if rapid.Bool().Draw(r, "another record") {
				offset++
				c.Origin.Offset = offset
			}
			c.Published = rapid.Bool().Draw(r, "published")
		} else {
			c = fresh(r)
			offset++
			c.Origin = Origin{Topic: "commands", Partition: int32(offset % 3), Offset: offset}
		}
		if c.Transfer != nil {
			m.sent[c.Transfer.ID] = append(m.sent[c.Transfer.ID], c.Transfer)
		}
		sent = append(sent, c)
		return c
	}

	rapid.Check(t, func(r *rapid.T) {
		batches := make([][]Command, len(sessions))
		for i := range batches {
			for range rapid.IntRange(0, 12).Draw(r, "size") {
				batches[i] = append(batches[i], next(r))
			}
		}
		outcomes := make([][]Outcome, len(sessions))
		errs := make([]error, len(sessions))
		var running sync.WaitGroup
		for i := range sessions {
			running.Go(func() { outcomes[i], errs[i] = sessions[i].Execute(t.Context(), Batch{Commands: batches[i]}) })
		}
		running.Wait()
		if err := errors.Join(errs...); err != nil {
			r.Fatal(err)
		}
		executed := map[bank.ID]int{}
		for i := range batches {
			for j, c := range batches[i] {
				if err := consistent(answers, executed, c, outcomes[i][j]); err != nil {
					r.Fatal(err)
				}
			}
		}
		for _, n := range executed {
			if n > 1 {
				r.Fatal("an id was executed more than once")
			}
		}
		if err := m.replay(t.Context(), s); err != nil {
			r.Fatal(err)
		}
	})
	report := sound(t, s)
	t.Logf("%d accounts, %d transfers, %d rejected, %d events", report.Accounts, report.Transfers, report.Rejected, report.Events)
	if !slices.Contains(slices.Collect(maps.Values(dispositions(answers))), Executed) {
		t.Fatal("nothing was executed")
	}
}

// consistent holds an outcome against the other answers to the same id.
func consistent(answers map[bank.ID]Outcome, executed map[bank.ID]int, c Command, o Outcome) error {
	if o.Disposition == DeadLetter {
		if o.Reason != ReasonIDReused || o.Events != nil {
			return fmt.Errorf("%+v", o)
		}
		return nil
	}
	var id bank.ID
	if c.Creation != nil {
		id = c.Creation.ID
	} else {
		id = c.Transfer.ID
	}
	if o.Disposition == Executed {
		executed[id]++
	}
	confirmed := c.Transfer != nil && o.Reason == ""
	if withEvents := confirmed && o.Disposition != Duplicate; withEvents != (len(o.Events) > 0) {
		return fmt.Errorf("%v with %d events", o.Disposition, len(o.Events))
	}
	first, answered := answers[id]
	if !answered {
		answers[id] = o
		return nil
	}
	if o.Seq != first.Seq || o.Reason != first.Reason || o.IBAN != first.IBAN || o.Token != first.Token || o.Type != first.Type {
		return fmt.Errorf("%v was answered %+v and then %+v", id, first, o)
	}
	if len(o.Events) > 0 && len(first.Events) > 0 && !slices.Equal(o.Events, first.Events) {
		return fmt.Errorf("%v led to %+v and then to %+v", id, first.Events, o.Events)
	}
	return nil
}

func dispositions(answers map[bank.ID]Outcome) map[bank.ID]Disposition {
	d := map[bank.ID]Disposition{}
	for id, o := range answers {
		d[id] = o.Disposition
	}
	return d
}
