package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/bank"
	"openbank/deadletter"
	"openbank/progress"
	"openbank/schemas"
)

// letters lists the dead letters.
func (j *joined) letters(flags ...string) []listed {
	j.t.Helper()
	got := j.do(append([]string{"dead-letters", "list", "--json"}, flags...)...)
	if got.code != 0 {
		j.t.Fatalf("%+v", got)
	}
	var all []listed
	for line := range strings.Lines(got.stdout) {
		var l listed
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			j.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// buried waits until a record has its dead letter.
func (j *joined) buried(record *kgo.Record) listed {
	j.t.Helper()
	was := position{record.Topic, record.Partition, record.Offset}.String()
	var found listed
	await(j.t, "the dead letter of "+was, func() bool {
		all := j.letters()
		i := slices.IndexFunc(all, func(l listed) bool { return l.Was == was })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// transfer is a command on its topic, written with the schema of that id; 0 means the registered one.
func (j *joined) transfer(c *bank.ConfirmMoneyTransfer, schema int) *kgo.Record {
	j.t.Helper()
	value, err := j.codec.Encode(j.t.Context(), transfers, c)
	if err != nil {
		j.t.Fatal(err)
	}
	if schema > 0 {
		binary.BigEndian.PutUint32(value[1:], uint32(schema))
	}
	return j.produce(&kgo.Record{
		Topic: transfers, Partition: 4, Key: []byte(c.ID.String()), Value: value,
		Headers: []kgo.RecordHeader{{Key: "correlation-id", Value: []byte("c1")}, {Key: "theirs", Value: nil}},
	})
}

// schemaToCome is an id that the registry has not given yet, and what gives it.
func (j *joined) schemaToCome() (id int, register func()) {
	j.t.Helper()
	variant := func(n int) int {
		text := strings.Replace(schemas.Text("ConfirmMoneyTransfer"), "{", fmt.Sprintf(`{"doc": "variant %d",`, n), 1)
		id, err := j.registry.Register(j.t.Context(), fmt.Sprintf("variant-%d", n), text)
		if err != nil {
			j.t.Fatal(err)
		}
		return id
	}
	last := variant(1)
	return last + 1, func() {
		if got := variant(2); got != last+1 {
			j.t.Fatalf("the registry gave %d after %d", got, last)
		}
	}
}

func TestADeadLetterIsListedShownAndReplayedAfterItsCauseIsMended(t *testing.T) {
	t.Parallel()
	j := join(t)
	account := j.done("account")
	schema, register := j.schemaToCome()
	late := &bank.ConfirmMoneyTransfer{ID: newID(), Amount: 700, From: bank.Cash, To: account["iban"], Description: "late"}
	sent := j.transfer(late, schema)
	letter := j.buried(sent)
	reason := fmt.Sprintf("schema id %d is unknown to the registry", schema)
	if letter.Reason != reason || letter.Command != "" || letter.Replayed != nil || letter.Refusal != "" {
		t.Errorf("%+v", letter)
	}
	garbage := j.produce(&kgo.Record{Topic: creations, Value: []byte("\x07garbage")})
	j.buried(garbage)
	if got := j.do("check"); got.code != 0 {
		t.Fatalf("%+v", got)
	}

	// What is chosen, and how it is shown.
	got := j.do("dead-letters", "list")
	if got.code != 0 || !strings.HasPrefix(got.stdout, "DEAD LETTER") || !strings.HasSuffix(got.stdout, "\n2 dead letters\n") || !strings.Contains(got.stdout, reason) {
		t.Errorf("%+v", got)
	}
	for name, c := range map[string]struct {
		flags []string
		want  int
	}{
		"all": {nil, 2}, "a reason": {[]string{"--reason=unknown to the registry"}, 1}, "a topic": {[]string{"--topic=" + creations}, 1},
		"a dead letter topic": {[]string{"--topic=" + audit.DeadLetter(creations)}, 1}, "lately": {[]string{"--since=1h"}, 2}, "from now on": {[]string{"--since=2100-01-01T00:00:00Z"}, 0},
	} {
		if all := j.letters(c.flags...); len(all) != c.want {
			t.Errorf("%s: %+v", name, all)
		}
	}
	got = j.do("dead-letters", "show", letter.Letter)
	for _, want := range []string{"reason      " + reason, "was         " + letter.Was, "header      correlation-id = c1", "header      dead-letter-offset = ", "the registry has no schema with id", fmt.Sprintf(" bytes with SHA-256 %x; --show-tokens shows them", sha256.Sum256(sent.Value))} {
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("%q is not in %+v", want, got)
		}
	}

	// The record's own place means the letter that was made of it, whatever is at that place among the letters.
	if shown := j.do("dead-letters", "show", letter.Was); shown.stdout != got.stdout {
		t.Errorf("%+v, not %+v", shown, got)
	}
	if dry := j.do("dead-letters", "replay", "--dry-run", letter.Was); dry.code != 0 || !strings.HasPrefix(dry.stdout, letter.Letter+" would be sent") {
		t.Errorf("%+v", dry)
	}
	for _, command := range []string{"show", "replay"} {
		if none := j.do("dead-letters", command, transfers+"/0/999999"); none.code != 1 || !strings.Contains(none.stderr, "no dead letter was made of the record "+transfers+"/0/999999") {
			t.Errorf("%+v", none)
		}
	}
	if gone := j.do("dead-letters", "list", "--confirm-money-transfer-topic=nowhere"); gone.code != 1 || !strings.Contains(gone.stderr, "there is no topic nowhere") {
		t.Errorf("%+v", gone)
	}

	// Nothing is sent unless it is meant.
	for name, args := range map[string][]string{"unasked": {"--all"}, "dry": {"--all", "--dry-run"}} {
		got := j.do(append([]string{"dead-letters", "replay"}, args...)...)
		if !strings.Contains(got.stdout, "2 dead letters to replay\n") || (got.code == 0) != (name == "dry") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if all := j.letters(); len(all) != 2 || all[0].Replayed != nil || all[1].Replayed != nil {
		t.Errorf("%+v", all)
	}

	// Garbage comes back, and stays garbage.
	back := j.letters("--topic=" + creations)[0]
	got = j.do("dead-letters", "replay", "--yes", back.Letter)
	if got.code != 1 || !strings.Contains(got.stdout, "came back as the dead letter "+audit.DeadLetter(creations)+"/0/") || !strings.Contains(got.stderr, "1 of 1 dead letter not handled") {
		t.Errorf("%+v", got)
	}
	if all := j.letters("--topic=" + creations); len(all) != 2 || all[0].Replayed == nil || all[1].Replayed != nil {
		t.Errorf("%+v", all)
	}

	register()
	if shown := j.do("dead-letters", "show", letter.Letter); !strings.Contains(shown.stdout, `"description": "late"`) {
		t.Errorf("it can be read now: %+v", shown)
	}
	if got := j.letters("--reason=unknown")[0]; got.Command != late.ID.String() {
		t.Errorf("%+v", got)
	}
	// A handler believes for some seconds more that there is no such schema, and says so.
	tries := 0
	await(t, "the replay to be answered", func() bool {
		tries++
		got = j.do("dead-letters", "replay", "--yes", "--reason=unknown to the registry")
		return got.code == 0
	})
	if !strings.Contains(got.stdout, late.ID.String()+"  answered: yes\n1 dead letter sent: 1 answered, 0 came back") {
		t.Errorf("%+v", got)
	}
	again := j.do("dead-letters", "replay", "--yes", "--reason=unknown to the registry")
	if again.code != 0 || again.stdout != fmt.Sprintf("%s replayed before and left out (--again sends them again)\n0 dead letters to replay\n", progress.Counted(tries, "dead letter")) {
		t.Errorf("a second time: %+v", again)
	}
	again = j.do("dead-letters", "replay", "--yes", "--again", letter.Letter)
	if again.code != 0 || !strings.Contains(again.stdout, "answered: yes") {
		t.Errorf("by all means: %+v", again)
	}
	if got := j.do("balance", account["iban"]); !strings.HasPrefix(got.stdout, "balance 7.00 euro") {
		t.Errorf("it was carried out once: %+v", got)
	}
	j.sentAsItWas(sent, letter.Letter)
	if got := j.do("check"); got.code != 0 || !strings.Contains(got.stdout, "that could be handled now") {
		t.Errorf("%+v", got)
	}
}

// sentAsItWas wants the last record of a partition to be sent again, with the letter's name in a header besides.
func (j *joined) sentAsItWas(sent *kgo.Record, letter string) {
	j.t.Helper()
	var last *kgo.Record
	if err := j.scan(j.t.Context(), j.Kafka, []string{sent.Topic}, func(r *kgo.Record) error {
		if r.Partition == sent.Partition {
			last = r
		}
		return nil
	}); err != nil {
		j.t.Fatal(err)
	}
	want := append(slices.Clone(sent.Headers), kgo.RecordHeader{Key: deadletter.From, Value: []byte(letter)})
	if string(last.Value) != string(sent.Value) || string(last.Key) != string(sent.Key) || fmt.Sprint(last.Headers) != fmt.Sprint(want) || last.Offset == sent.Offset {
		j.t.Errorf("got %+v, want %+v", last, sent)
	}
}

func TestAReplayDoesNotHandleWhatCanNotBe(t *testing.T) {
	t.Parallel()
	j := join(t)
	account := j.done("account")
	first := &bank.ConfirmMoneyTransfer{ID: newID(), Amount: 100, From: bank.Cash, To: account["iban"], Description: "first"}
	other := *first
	other.Amount = 200
	j.transfer(first, 0)
	reused := j.buried(j.transfer(&other, 0))
	if reused.Reason != "id reused with other content" || reused.Command != first.ID.String() {
		t.Errorf("%+v", reused)
	}
	got := j.do("dead-letters", "replay", "--yes", "--all")
	if got.code != 1 || !strings.Contains(got.stdout, first.ID.String()+"  came back as the dead letter "+audit.DeadLetter(transfers)+"/4/") ||
		!strings.Contains(got.stdout, ": id reused with other content\n1 dead letter sent: 0 answered, 1 came back, 0 without an answer\n") {
		t.Errorf("%+v", got)
	}
	if got := j.do("check"); got.code != 0 || !strings.Contains(got.stdout, "2 of them for an id that came again") {
		t.Errorf("%+v", got)
	}

	own := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	cut := j.produce(&kgo.Record{Topic: audit.DeadLetter(transfers), Partition: 2, Value: []byte("x"), Headers: []kgo.RecordHeader{
		own(deadletter.Reason, "too large"), own(deadletter.Topic, transfers), own(deadletter.Partition, "2"), own(deadletter.Offset, "0"),
		own(deadletter.Length, "2000000"), own(deadletter.SHA256, "00"),
	}})
	elsewhere := j.produce(&kgo.Record{Topic: audit.DeadLetter(transfers), Partition: 2, Value: []byte("x"), Headers: []kgo.RecordHeader{
		own(deadletter.Reason, "x"), own(deadletter.Topic, transfers), own(deadletter.Partition, "99"), own(deadletter.Offset, "0"),
	}})
	name := func(r *kgo.Record) string { return fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset) }
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a cut letter":          {[]string{"replay", "--yes", name(cut)}, "can't be replayed: it was cut: 1 of 2000000 bytes are left"},
		"of a lost partition":   {[]string{"replay", "--yes", name(elsewhere)}, "it was in partition 99 of confirm_money_transfer, which has 9 now"},
		"one that is not there": {[]string{"replay", "--yes", transfers + "/3/77"}, "no dead letter was made of the record confirm_money_transfer/3/77"},
		"no such letter":        {[]string{"replay", "--yes", audit.DeadLetter(transfers) + "/3/77"}, "there is no dead letter confirm_money_transfer.dead-letter/3/77"},
		"nothing chosen":        {[]string{"replay", "--yes"}, "which dead letters?"},
		"chosen twice":          {[]string{"replay", "--all", name(cut)}, "not both"},
		"no position":           {[]string{"show", "7"}, `"7" is no dead letter: name it as list does`},
		"shown and not there":   {[]string{"show", audit.DeadLetter(transfers) + "/3/77"}, "there is nothing at confirm_money_transfer.dead-letter/3/77: that partition is empty"},
		"no such partition":     {[]string{"show", audit.DeadLetter(transfers) + "/30/0"}, "has no partition 30"},
		"no such topic":         {[]string{"show", audit.DeadLetter("x") + "/0/0"}, "there is no topic x.dead-letter"},
		"another topic":         {[]string{"list", "--topic=balance_changed"}, "balance_changed has no dead letters; these have: confirm_account_creation and confirm_money_transfer"},
		"no time":               {[]string{"list", "--since=yesterday"}, `"yesterday" is neither a duration`},
	} {
		got := j.do(append([]string{"dead-letters"}, c.args...)...)
		if got.code != 1 || !strings.Contains(got.stdout+got.stderr, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := j.do("check", "--wait=0s"); got.code != 1 || !strings.Contains(got.stdout, "there is no record at confirm_money_transfer 2@0 of that time") {
		t.Errorf("forged letters: %+v", got)
	}
}

// Whoever has an account's token can move its money: it is shown to who asks for it.
func TestTokensAreHiddenUnlessAskedFor(t *testing.T) {
	t.Parallel()
	j := join(t)
	account := j.done("account")
	first := &bank.ConfirmMoneyTransfer{ID: newID(), Token: account["token"], Amount: -1, From: account["iban"], To: bank.Cash, Description: "first"}
	other := *first
	other.Amount = -2
	j.transfer(first, 0)
	letter := j.buried(j.transfer(&other, 0))
	for name, args := range map[string][]string{
		"dead-letters show": {"dead-letters", "show", letter.Letter},
		"tail":              {"tail", transfers, "--from-beginning", "--until-end"},
		"tail of answers":   {"tail", creationAnswers, "--from-beginning", "--until-end"},
	} {
		if got := j.do(args...); got.code != 0 || strings.Contains(got.stdout, account["token"]) || !strings.Contains(got.stdout, hidden) {
			t.Errorf("%s: %+v", name, got)
		}
		if got := j.do(append(args, "--show-tokens")...); got.code != 0 || !strings.Contains(got.stdout, account["token"]) || strings.Contains(got.stdout, hidden) {
			t.Errorf("%s --show-tokens: %+v", name, got)
		}
	}

	// Bytes that can't be read may hold one.
	value, err := j.codec.Encode(t.Context(), transfers, first)
	if err != nil {
		t.Fatal(err)
	}
	value = value[:len(value)-1]
	unreadable := j.buried(j.produce(&kgo.Record{Topic: transfers, Partition: 5, Value: value}))
	for name, c := range map[string]struct {
		args  []string
		bytes string
	}{
		"dead-letters show": {[]string{"dead-letters", "show", unreadable.Letter}, hex.Dump(value)},
		"tail":              {[]string{"tail", transfers, "--from-beginning", "--until-end"}, base64.StdEncoding.EncodeToString(value)},
	} {
		hash := fmt.Sprintf("%x", sha256.Sum256(value))
		if got := j.do(c.args...); got.code != 0 || strings.Contains(got.stdout, c.bytes) || !strings.Contains(got.stdout, hash) {
			t.Errorf("%s of bytes: %+v", name, got)
		}
		if got := j.do(append(c.args, "--show-tokens")...); got.code != 0 || !strings.Contains(got.stdout, c.bytes) {
			t.Errorf("%s --show-tokens of bytes: %+v", name, got)
		}
	}
}

func TestGarbageIsSentToTryDeadLettersOut(t *testing.T) {
	t.Parallel()
	j := join(t)
	sent := map[string]bool{}
	for _, flags := range [][]string{nil, {"--to=creations", "--count=3"}} {
		got := j.do(append([]string{"send-garbage"}, flags...)...)
		if got.code != 0 || !strings.Contains(got.stderr, "dead-letters list") {
			t.Fatalf("%+v", got)
		}
		for line := range strings.Lines(got.stdout) {
			at, _, _ := strings.Cut(line, " ")
			sent[at] = true
		}
	}
	if len(sent) != 5 {
		t.Fatalf("%v", sent)
	}
	await(t, "the dead letters", func() bool { return len(j.letters()) == len(sent) })
	for _, l := range j.letters() {
		if !sent[l.Was] {
			t.Errorf("%+v was not sent", l)
		}
	}
	for _, count := range []string{"0", "1001"} {
		if got := j.do("send-garbage", "--count="+count); got.code != 1 || !strings.Contains(got.stderr, "it must be 1 to 1000") {
			t.Errorf("%+v", got)
		}
	}
	if got := j.do("check"); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// A layout that is given is the one that is looked at.
func TestTheToolsTakeALayout(t *testing.T) {
	t.Parallel()
	j := join(t)
	account := j.done("account")
	for _, args := range [][]string{{"balance", account["iban"]}, {"verify"}, {"check"}} {
		if got := j.do(append(args, "--database-layout=clojure")...); got.code != 0 {
			t.Errorf("%v: %+v", args, got)
		}
		if got := j.do(append(args, "--database-layout=rust")...); got.code != 1 || !strings.Contains(got.stderr, "DATABASE_LAYOUT") {
			t.Errorf("%v in a layout that is not there: %+v", args, got)
		}
		if got := j.do(append(args, "--database-layout=kotlin")...); got.code != 1 || !strings.Contains(got.stderr, `DATABASE_LAYOUT is "kotlin"`) {
			t.Errorf("%v in a layout that is none: %+v", args, got)
		}
	}
}
