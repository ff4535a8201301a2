package store

import "testing"

// The session that takes the slot again is cut before we hear that it did, and the server has not noticed.
func TestASlotThatOurOwnLostSessionHoldsIsTakenFromIt(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	l := lease(t, s, 10)
	lost := l.conn
	t.Cleanup(func() { _ = lost.Close() })
	l.conn, l.opened, l.us = nil, []backend{l.us}, backend{}
	if err := l.again(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.us.pid == 0 || len(l.opened) > 0 {
		t.Errorf("it is ours by session %+v, and %d others may hold it", l.us, len(l.opened))
	}
}
