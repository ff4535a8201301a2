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
	seen time.Time // the last time that it was asked for
	text string    // what is said of it; empty while it is asked of which partition it is
}

// unpackedAfter is for how long the client must not have complained until such a batch counts as gone, or as somebody else's.
const unpackedAfter = 30 * time.Second

// cannotUnpack tells of a batch that stops its partition: the client unpacks no more than 100 MB, and what a sender has packed so is either
// damaged or meant to do harm. The other partitions go on, which an end of the handler would not let them.
func (l *lane) cannotUnpack(cause error) {
	known := l.packed[cause.Error()]
	if known != nil {
		known.seen = time.Now()
		return
	}
	l.packed[cause.Error()] = &packed{seen: time.Now()}
	begins := int64(noOffset)
	if m := packedAt.FindStringSubmatch(cause.Error()); m != nil {
		begins, _ = strconv.ParseInt(m[1], 10, 64) // digits
	}
	running := slices.DeleteFunc(slices.Collect(maps.Values(l.epochs)), func(e *epoch) bool { return !e.running })
	epochs := slices.DeleteFunc(slices.Clone(running), func(e *epoch) bool { return e.next != begins })
	if len(epochs) == 0 { // it begins before the next record
		begins, epochs = noOffset, running
	}
	l.background.Go(func() {
		var more []*epoch // that have something there
		for _, e := range epochs {
			if _, high, err := l.bounds(e.ctx, e); err == nil && high > begins {
				more = append(more, e)
			}
		}
		l.post(func() {
			l.tellPacked(cause.Error(), slices.DeleteFunc(more, func(e *epoch) bool { return !e.current.Load() || begins >= 0 && e.next != begins }))
		})
	})
}

// tellPacked says which partitions may be stopped by such a batch.
func (l *lane) tellPacked(cause string, stopped []*epoch) {
	if len(stopped) == 0 {
		delete(l.packed, cause) // the next complaint may be clearer
		return
	}
	var at []string
	for _, e := range stopped {
		at = append(at, fmt.Sprintf("%d at offset %d", e.partition, e.next))
	}
	slices.Sort(at)
	text := fmt.Sprintf("records of %s can't be unpacked, and their partition stands still (%s): %s. They are damaged, or too large by far: "+
		"to go on without them set the offset of group %s behind them and start with --skip-ahead", l.topic.name, strings.Join(at, " or "), cause, l.h.cfg.Group)
	l.log.Warn(text)
	if batch := l.packed[cause]; batch != nil {
		batch.text = text
	}
	l.unpacks.Fails(l.allPacked())
}

func (l *lane) allPacked() string {
	var texts []string
	for _, batch := range l.packed {
		if batch.text != "" {
			texts = append(texts, batch.text)
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}

// forgetUnpacked takes back what was said of batches that the client no longer meets.
func (l *lane) forgetUnpacked() {
	before := len(l.packed)
	maps.DeleteFunc(l.packed, func(_ string, batch *packed) bool { return !l.paused && time.Since(batch.seen) > unpackedAfter })
	switch text := l.allPacked(); {
	case len(l.packed) == before:
	case text == "":
		l.unpacks.Holds()
	default:
		l.unpacks.Fails(text)
	}
}
