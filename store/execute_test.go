package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"openbank/bank"
)

var origin1 = Origin{Topic: "confirm_money_transfer", TopicID: [16]byte{1}, Partition: 2, Offset: 3}

func TestATransferChangesBothAccountsAndTellsTheDebitedOneFirst(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	a := accounts(t, s, 2, 1000)
	out := execute(t, s, move(300, a[0].IBAN, a[0].Token, a[1].IBAN))[0]
	want := []bank.BalanceChanged{
		{IBAN: a[0].IBAN, NewBalance: 700, ChangedBy: -300, FromTo: a[1].IBAN, Description: "for a test", Version: 2},
		{IBAN: a[1].IBAN, NewBalance: 1300, ChangedBy: 300, FromTo: a[0].IBAN, Description: "for a test", Version: 2},
	}
	if out.Disposition != Executed || out.Reason != "" || !slices.Equal(out.Events, want) {
		t.Fatalf("got %+v, want %+v", out, want)
	}
	sound(t, s)
}

func TestAnAccountIsTheSameOneEachTimeItsIDArrives(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	c := create(bank.Manual)
	first := execute(t, s, c)[0]
	if first.Disposition != Executed || !bank.ValidIBAN(first.IBAN) || len(first.Token) != 20 || first.Type != bank.Manual {
		t.Fatalf("%+v", first)
	}
	login := execute(t, s, c)[0]
	first.Disposition = Duplicate
	if fmt.Sprint(login) != fmt.Sprint(first) {
		t.Fatalf("got %+v, want %+v", login, first)
	}
	sound(t, s)
}

func TestWhatAnIDsNextDeliveryIs(t *testing.T) {
	t.Parallel()
	elsewhere := origin1
	elsewhere.Offset++
	recreated := origin1
	recreated.TopicID[0]++
	for name, c := range map[string]struct {
		first, second Origin
		published     bool
		want          Disposition
	}{
		"the same record is unfinished":                              {origin1, origin1, false, Unfinished},
		"the same record whose events were published is a duplicate": {origin1, origin1, true, Duplicate},
		"another record is a duplicate":                              {origin1, elsewhere, false, Duplicate},
		"the same place in a topic made anew is a duplicate":         {origin1, recreated, false, Duplicate},
		"no record after one is a duplicate":                         {origin1, Origin{}, false, Duplicate},
		"a record after none is a duplicate":                         {Origin{}, origin1, false, Duplicate},
		"none after none is a duplicate":                             {Origin{}, Origin{}, false, Duplicate},
	} {
		for _, together := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, in one batch %v", name, together), func(t *testing.T) {
				t.Parallel()
				s := migrated(t)
				a := accounts(t, s, 1, 1000)[0]
				for kind, cmd := range map[string]Command{
					"creation": create(bank.Auto), "transfer": move(10, a.IBAN, a.Token, bank.Cash), "refused transfer": move(10, a.IBAN, "wrong", bank.Cash),
				} {
					first, second := cmd, cmd
					first.Origin, second.Origin, second.Published = c.first, c.second, c.published
					var outs []Outcome
					if together {
						outs = execute(t, s, first, second)
					} else {
						outs = append(execute(t, s, first), execute(t, s, second)...)
					}
					if outs[0].Disposition != Executed || outs[1].Disposition != c.want {
						t.Fatalf("%s: %v, %v", kind, outs[0].Disposition, outs[1].Disposition)
					}
					if c.want == Duplicate {
						outs[0].Events = nil
					}
					outs[0].Disposition = c.want
					if fmt.Sprint(outs[0]) != fmt.Sprint(outs[1]) {
						t.Fatalf("%s: %+v, then %+v", kind, outs[0], outs[1])
					}
				}
				sound(t, s)
			})
		}
	}
}

// A record below published_to that was never executed, as one whose dead letter's cause is mended and whose offset was set back: that what
// lies there was published says nothing of its event.
func TestWhatIsExecutedBelowPublishedToIsNoDuplicateThere(t *testing.T) {
	t.Parallel()
	for partition := range int32(2) {
		s := migrated(t)
		a := accounts(t, s, 1, 1000)[0]
		pay := move(1, a.IBAN, a.Token, bank.Cash)
		pay.Origin, pay.Published = Origin{Topic: "t", TopicID: [16]byte{1}, Partition: partition, Offset: 12}, true
		refused := move(1, a.IBAN, "wrong", bank.Cash)
		refused.Origin, refused.Published = pay.Origin, true
		refused.Origin.Offset++
		outs := execute(t, s, pay, refused)
		again := execute(t, s, pay, refused)
		elsewhere := pay
		elsewhere.Origin.Offset = 20
		other := execute(t, s, elsewhere)[0]
		if outs[0].Disposition != Executed || again[0].Disposition != Unfinished || fmt.Sprint(again[0].Events) != fmt.Sprint(outs[0].Events) || len(again[0].Events) != 1 ||
			again[1].Disposition != Duplicate || other.Disposition != Duplicate {
			t.Errorf("%+v, then %+v, at another place %+v", outs, again, other)
		}
		if err := s.replay(t.Context(), func(r handled) error {
			if !r.Creation && r.Reason == "" && r.ID == pay.Transfer.ID && r.Origin != pay.Origin {
				t.Errorf("its row has the origin %+v", r.Origin)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		sound(t, s)
	}
}

func TestAnIDWithOtherContentIsADeadLetterAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	a := accounts(t, s, 1, 1000)[0]
	first := move(10, a.IBAN, a.Token, bank.Cash)
	first.Origin = origin1
	for name, change := range map[string]func(*bank.ConfirmMoneyTransfer){
		"amount":      func(c *bank.ConfirmMoneyTransfer) { c.Amount++ },
		"token":       func(c *bank.ConfirmMoneyTransfer) { c.Token += "0" },
		"from":        func(c *bank.ConfirmMoneyTransfer) { c.From = bank.CompanyIBAN },
		"to":          func(c *bank.ConfirmMoneyTransfer) { c.To = "Albert Heijn BV" },
		"description": func(c *bank.ConfirmMoneyTransfer) { c.Description = strings.Repeat("x", 5000) },
	} {
		content := *first.Transfer
		change(&content)
		other := Command{Transfer: &content, Origin: origin1}
		outs := execute(t, s, first, other)
		outs = append(outs, execute(t, s, other)...)
		for _, out := range outs[1:] {
			if out.Disposition != DeadLetter || out.Reason != "id reused with other content" || out.Events != nil {
				t.Errorf("%s: %+v", name, out)
			}
		}
	}
	var balance int64
	s.query(t, &balance, `SELECT amount FROM {balance} WHERE iban = $1`, a.IBAN)
	if balance != 990 {
		t.Fatal(balance)
	}
	sound(t, s)
}

func TestARowThatAnOlderHandlerWroteIsADuplicateWhateverTheContent(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	done, failed, made := move(10, bank.Cash, "", bank.CompanyIBAN), move(10, bank.Cash, "", bank.CompanyIBAN), create(bank.Auto)
	s.exec(t, `INSERT INTO {cmt} (uuid, reason) VALUES ($1, NULL), ($2, 'insufficient funds')`, done.Transfer.ID.String(), failed.Transfer.ID.String())
	s.exec(t, `INSERT INTO {cac} (uuid, iban, token, {type}) VALUES ($1, 'NL66OPEN0000000000', 'abc', 'MANUAL')`, made.Creation.ID.String())
	outs := execute(t, s, done, failed, made)
	for i, want := range []Outcome{
		{Disposition: Duplicate},
		{Disposition: Duplicate, Reason: "insufficient funds"},
		{Disposition: Duplicate, IBAN: "NL66OPEN0000000000", Token: "abc", Type: bank.Manual},
	} {
		if fmt.Sprint(outs[i]) != fmt.Sprint(want) {
			t.Errorf("got %+v, want %+v", outs[i], want)
		}
	}
}

func TestUnfitTextsAreAnsweredAndNotStored(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	a := accounts(t, s, 1, 1000)[0]
	good := move(10, a.IBAN, a.Token, bank.Cash)
	batch := []Command{good}
	var want []string
	for _, c := range []struct {
		reason string
		change func(*bank.ConfirmMoneyTransfer)
	}{
		{"token is not valid text", func(c *bank.ConfirmMoneyTransfer) { c.Token = "a\x00b" }},
		{"from is not valid text", func(c *bank.ConfirmMoneyTransfer) { c.From = "a\x00b" }},
		{"to is not valid text", func(c *bank.ConfirmMoneyTransfer) { c.To = "a\x00b" }},
		{"description is not valid text", func(c *bank.ConfirmMoneyTransfer) { c.Description = "a\x00b" }},
		{"token is not valid text", func(c *bank.ConfirmMoneyTransfer) { c.Token = "\xff" }},
		{"from is not valid text", func(c *bank.ConfirmMoneyTransfer) { c.From = "\xff" }},
		{"to is not valid text", func(c *bank.ConfirmMoneyTransfer) { c.To = "\xff" }},
		{"description is not valid text", func(c *bank.ConfirmMoneyTransfer) { c.Description = "\xff" }},
		{"to is too long", func(c *bank.ConfirmMoneyTransfer) { c.To = strings.Repeat("x", 257) }},
		{"description is too long", func(c *bank.ConfirmMoneyTransfer) { c.Description = strings.Repeat("x", 4097) }},
		{"amount must be positive", func(c *bank.ConfirmMoneyTransfer) { c.Amount, c.To = 0, "a\x00b" }},
	} {
		content := *good.Transfer
		content.ID = newID()
		c.change(&content)
		batch, want = append(batch, Command{Transfer: &content}), append(want, c.reason)
	}
	last := move(10, a.IBAN, a.Token, strings.Repeat("é", 128))
	batch = append(batch, last)
	outs := execute(t, s, batch...)
	if outs[0].Reason != "" || outs[len(outs)-1].Reason != "" {
		t.Fatal("the others should have been confirmed")
	}
	for i, reason := range want {
		if out := outs[i+1]; out.Disposition != Executed || out.Reason != reason {
			t.Errorf("got %+v, want %s", out, reason)
		}
	}
	var stored int
	s.query(t, &stored, `SELECT count(*) FROM {cmt} WHERE from_party IS NULL AND to_party IS NULL AND description IS NULL AND fingerprint IS NOT NULL`)
	if stored != len(want) {
		t.Fatalf("%d rows without texts, want %d", stored, len(want))
	}
	sound(t, s)
}

func TestACommandThatPostgresRefusesLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	a := accounts(t, s, 1, 1000)[0]
	s.exec(t, `ALTER TABLE {cmt} ADD CONSTRAINT whimsical CHECK (description NOT LIKE '%refuse me%')`)
	for _, at := range []int{0, 3, 6} {
		batch := Batch{Progress: []Progress{{Topic: "t", Partition: int32(at), ExecutedTo: 7, PublishedTo: -1}}}
		for range 7 {
			batch.Commands = append(batch.Commands, move(1, a.IBAN, a.Token, bank.Cash))
		}
		batch.Commands[at].Transfer.Description = "refuse me"
		outs, err := s.Execute(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for i, out := range outs {
			switch {
			case i == at && (out.Disposition != DeadLetter || !strings.Contains(out.Reason, "whimsical") || !strings.Contains(out.Reason, "23514")):
				t.Errorf("%d: %+v", i, out)
			case i != at && (out.Disposition != Executed || out.Reason != "" || len(out.Events) != 1):
				t.Errorf("%d: %+v", i, out)
			}
		}
		var executedTo int64
		s.query(t, &executedTo, `SELECT executed_to FROM {progress} WHERE partition = $1`, at)
		if executedTo != 7 {
			t.Fatal("progress was not saved")
		}
	}
	var balance int64
	s.query(t, &balance, `SELECT amount FROM {balance} WHERE iban = $1`, a.IBAN)
	if balance != 1000-3*6 {
		t.Fatal(balance)
	}
	sound(t, s)
}

func TestABatchOfAnySizeIsExecuted(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	if outs := execute(t, s); len(outs) != 0 {
		t.Fatal(outs)
	}
	commands := make([]Command, MaxBatch+10)
	for i := range commands {
		commands[i] = move(1, bank.Cash, "", bank.CompanyIBAN)
	}
	last := int64(0)
	for i, out := range execute(t, s, commands...) {
		if out.Disposition != Executed || out.Reason != "" || out.Seq <= last {
			t.Fatalf("%d: %+v after seq %d", i, out, last)
		}
		last = out.Seq
	}
	sound(t, s)
}

func TestAnAccountMadeInABatchCountsForTheRestOfIt(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	iban := "NL19OPEN0000000001"
	if !bank.ValidIBAN(iban) {
		for check := range 100 {
			if iban = fmt.Sprintf("NL%02dOPEN0000000001", check); bank.ValidIBAN(iban) {
				break
			}
		}
	}
	s.random = &digits{next: []byte{0, 0, 0, 0, 0, 0, 0, 0, 1}}
	outs := execute(t, s, move(5, bank.Cash, "", iban), create(bank.Auto), move(7, bank.Cash, "", iban), move(3, iban, strings.Repeat("0", 20), "shop"))
	if outs[0].Reason != bank.ReasonBothUnknown || outs[1].IBAN != iban {
		t.Fatalf("%+v", outs)
	}
	if e := outs[3].Events; len(e) != 1 || e[0].NewBalance != 4 || e[0].Version != 2 {
		t.Fatalf("%+v", e)
	}
	sound(t, s)
}

// digits is a source of randomness that says next, and then 0.
type digits struct{ next []byte }

func (d *digits) Read(p []byte) (int, error) {
	clear(p)
	d.next = d.next[copy(p, d.next):]
	return len(p), nil
}

func TestACreationFailsWhenEveryCandidateIsTaken(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	s.random = new(digits) // always the company's IBAN
	c := create(bank.Auto)
	outs := append(execute(t, s, c), execute(t, s, c)...)
	if outs[0].Reason != "generated iban already exists, try again" || outs[0].IBAN != "" || outs[1].Reason != outs[0].Reason {
		t.Fatalf("%+v", outs)
	}
	sound(t, s)
}

// sound fails the test unless the books add up.
func sound(t testing.TB, s *Store) *Report {
	t.Helper()
	r, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Fatalf("%+v", r)
	}
	return r
}

// What locks and looks up has its arguments written out in the statement.
func TestAnAccountMayHaveAnyName(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"", "standard_conforming_strings=off"} {
		url := database(t)
		separator := "?"
		if strings.Contains(url, "?") {
			separator = "&"
		}
		s := open(t, url+separator+settings)
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		from := accounts(t, s, 1, 1000)[0]
		names := []string{`'`, `''`, `"`, `\`, `\'`, `\\`, `"}`, `{a,b}`, `a,b`, `NULL`, `null`, ` `, `$1`, `');DROP TABLE balance;--`, `E'\x27'`, "\n", "é"}
		var commands []Command
		for i, name := range names {
			if _, err := s.executing.ExecContext(t.Context(), `INSERT INTO balance (iban, token, amount, type, lmt) VALUES ($1, $2, 0, 'AUTO', 0)`, name, fmt.Sprint("token", i)); err != nil {
				t.Fatal(err)
			}
			commands = append(commands, move(int64(i+1), from.IBAN, from.Token, name))
		}
		for range 2 {
			if _, err := s.Execute(t.Context(), Batch{Commands: commands}); err != nil {
				t.Fatal(err)
			}
		}
		for i, name := range names {
			if got := balanceOf(t, s, name); got != int64(i+1) {
				t.Errorf("%q has %d, want %d (%s)", name, got, i+1, settings)
			}
		}
	}
}
