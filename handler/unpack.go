package handler

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// packedAt is where librdkafka 2.15 says that records are which it does not unpack. It does not say of which partition.
var packedAt = regexp.MustCompile(`of message at (\d+) of `)

// packed is a batch of records that the client does not unpack, and asks for again and again.
type packed struct {
	seen   time.Time // the last time that it was asked for
	asking bool      // of which partition it is
	cause  string
}

// unpackedAfter is for how long the client must not have complained until such a batch counts as gone, or as somebody else's.
const unpackedAfter = 10 * time.Second

// cannotUnpack tells of a batch that stops its partition: the client unpacks no more than 100 MB, and what a sender has packed so is either
// damaged or meant to do harm. The other partitions go on, which an end of the handler would not let them.
func (l *lane) cannotUnpack(cause error) {
	l.packed.seen = time.Now()
	if l.packed.asking || l.packed.cause == cause.Error() {
		return
	}
	begins := int64(noOffset)
	if m := packedAt.FindStringSubmatch(cause.Error()); m != nil {
		begins, _ = strconv.ParseInt(m[1], 10, 64) // digits
	}
	running := slices.DeleteFunc(slices.Collect(maps.Values(l.epochs)), func(e *epoch) bool { return !e.running })
	epochs := slices.DeleteFunc(slices.Clone(running), func(e *epoch) bool { return e.next != begins })
	if len(epochs) == 0 { // it begins before the next record
		begins, epochs = noOffset, running
	}
	l.packed.asking = true
	l.background.Go(func() {
		var more []*epoch // that have something there
		for _, e := range epochs {
			if _, high, err := l.bounds(e.ctx, e); err == nil && high > begins {
				more = append(more, e)
			}
		}
		l.post(func() {
			l.packed.asking = false
			l.tellPacked(cause.Error(), slices.DeleteFunc(more, func(e *epoch) bool { return !e.current.Load() || begins >= 0 && e.next != begins }))
		})
	})
}

// tellPacked says which partitions may be stopped by such a batch.
func (l *lane) tellPacked(cause string, stopped []*epoch) {
	if len(stopped) == 0 {
		return // the next complaint may be clearer
	}
	l.packed.cause = cause
	var at []string
	for _, e := range stopped {
		at = append(at, fmt.Sprintf("%d at offset %d", e.partition, e.next))
	}
	slices.Sort(at)
	text := fmt.Sprintf("records of %s can't be unpacked, and their partition stands still (%s): %s. They are damaged, or too large by far: "+
		"to go on without them set the offset of group %s behind them and start with --skip-ahead", l.topic.name, strings.Join(at, " or "), cause, l.h.cfg.Group)
	l.unpacks.Fails(text)
	l.log.Warn(text)
}

// isUnpacked ends the complaint about a batch when the client no longer meets it.
func (l *lane) isUnpacked() {
	if l.packed.cause != "" && time.Since(l.packed.seen) > unpackedAfter {
		l.packed = packed{}
		l.unpacks.Holds()
	}
}
