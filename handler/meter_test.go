package handler

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"

	"openbank/bank"
	"openbank/metric"
	"openbank/store"
)

// A reason that the bank gives has a class that is its own, or that of reasons like it: none is counted as another handler's.
func TestEveryReasonHasItsClass(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../bank/bank.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if class := reasonClass(reason); class == otherReason || class == confirmed {
			t.Errorf("%s (%q) is counted as %q", spec.Names[0].Name, reason, reasonNames[class])
		}
		return true
	})
	if found < 17 {
		t.Errorf("only %d reasons were found", found)
	}
	if reasonClass("") != confirmed || reasonClass("a reason of the Clojure handler") != otherReason {
		t.Error("no reason, or one that the bank does not give, is in the wrong class")
	}
}

func finishedTransfer(m *meter, reason string) (*laneMeter, *record) {
	l := m.lane(topic{name: "confirm_money_transfer", partitions: 9}, newQueue(1, 1, 1))
	return l, &record{
		sent:    time.Now().UnixMilli(),
		command: &bank.ConfirmMoneyTransfer{}, outcome: &store.Outcome{Disposition: store.Executed, Reason: reason},
	}
}

// What is counted for a record takes no memory: it happens for every one of them.
func TestCountingARecordAllocatesNothing(t *testing.T) { // not parallel: AllocsPerRun forbids it
	l, r := finishedTransfer(newMeter(metric.New()), bank.ReasonInsufficientFunds)
	if n := testing.AllocsPerRun(1000, func() { l.finished(r, l.now(), time.Now()) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkMeter is all that is done for one record in a batch of 100.
func BenchmarkMeter(b *testing.B) {
	l, r := finishedTransfer(newMeter(metric.New()), "")
	b.ReportAllocs()
	for n := int64(0); b.Loop(); n++ {
		r.polled = l.now()
		if timed(n) {
			l.decode.Update((l.now() - r.polled).Seconds())
		}
		if n%100 == 0 {
			l.queue.Update((l.now() - r.polled).Seconds())
			l.batch.Update(100)
			l.execute.Update((l.now() - r.polled).Seconds())
			l.publish.Update((l.now() - r.polled).Seconds())
		}
		l.finished(r, r.polled+time.Millisecond, time.UnixMilli(r.sent))
	}
}
