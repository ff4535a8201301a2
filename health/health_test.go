package health

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatIsMissingIsToldInALineEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New()
		kafka, postgres := b.Condition(Kafka), b.Condition(Postgres)
		if !b.Ready() {
			t.Errorf("a board on which nothing fails misses %q", b.Missing())
		}
		kafka.Fails("no broker answers:\n  connection refused")
		time.Sleep(12 * time.Second)
		postgres.Fails("away")
		kafka.Fails("no broker answers") // a newer reason, the same absence
		if got, want := strings.Join(b.Missing(), "|"), "kafka: no broker answers (for 12s)|postgres: away (for 0s)"; got != want {
			t.Errorf("missing %q, want %q", got, want)
		}
		if b.Unmet(Kafka) != 1 || b.Unmet(Registry) != 0 {
			t.Errorf("%d conditions on Kafka fail, %d on the registry", b.Unmet(Kafka), b.Unmet(Registry))
		}
		kafka.Holds()
		postgres.Ends()
		if !b.Ready() {
			t.Errorf("still missing %q", b.Missing())
		}
	})
}

func TestAReasonIsOneLine(t *testing.T) {
	t.Parallel()
	b := New()
	b.Condition(Slot).Fails("one\ntwo\r\n\tthree")
	w := httptest.NewRecorder()
	b.ServeReady(w, nil)
	if got, want := w.Body.String(), "not ready\nslot: one two three (for 0s)\n"; w.Code != http.StatusServiceUnavailable || got != want {
		t.Errorf("%d %q, want %q", w.Code, got, want)
	}
}

func TestOnlyAStageThatNothingExplainsIsStuck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, meanwhile func(*Board, *Stage)
		want              bool
	}{
		"it stands still":            {before: func(_ *Board, s *Stage) { s.Moves() }, want: true},
		"it moves":                   {before: func(_ *Board, s *Stage) { s.Moves() }, meanwhile: func(_ *Board, s *Stage) { s.Moves() }},
		"it rests":                   {before: func(_ *Board, s *Stage) { s.Moves(); s.Rests() }},
		"it rested until just now":   {before: func(_ *Board, s *Stage) { s.Moves(); s.Rests() }, meanwhile: func(_ *Board, s *Stage) { s.Moves() }},
		"a dependency is away":       {before: func(b *Board, s *Stage) { s.Moves(); b.Condition(Kafka).Fails("away") }},
		"a dependency came back":     {before: func(_ *Board, s *Stage) { s.Moves() }, meanwhile: func(b *Board, _ *Stage) { comesBack(b) }},
		"it was never seen to start": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := New()
				s := b.Stage("publishing")
				if c.before != nil {
					c.before(b, s)
				}
				ask := func() int {
					w := httptest.NewRecorder()
					b.ServeLive(w, nil)
					return w.Code
				}
				if ask() != http.StatusOK {
					t.Fatal("it is stuck at once")
				}
				time.Sleep(Patience)
				if ask() != http.StatusOK {
					t.Fatal("it is stuck too early")
				}
				if c.meanwhile != nil {
					c.meanwhile(b, s)
				}
				time.Sleep(time.Second)
				stuck := ask() == http.StatusServiceUnavailable
				if stuck != c.want {
					t.Errorf("stuck: %v, want %v: %q", stuck, c.want, b.Stuck())
				}
			})
		})
	}
}

// Whoever asks first only begins: a stage is not known to stand still from before.
func TestEveryQuestionIsALook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New()
		b.Stage("publishing").Moves()
		time.Sleep(2 * Patience)
		if !b.Live() {
			t.Error("it is stuck at the first look")
		}
		time.Sleep(Patience + time.Second)
		if b.Live() || len(b.Stuck()) != 1 {
			t.Error("it is live although it stands still since the first look")
		}
	})
}

func comesBack(b *Board) {
	c := b.Condition(Postgres)
	c.Fails("away")
	c.Ends()
}
