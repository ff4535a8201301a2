package handler

import (
	"fmt"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/store"
)

// Ahead says what to do when the group's committed offset of a partition is beyond what Postgres has executed.
type Ahead string

const (
	// StopAhead ends the handler: Postgres was restored to an earlier state, or somebody set the group's offset.
	StopAhead Ahead = ""
	// RewindAhead executes again what Postgres has lost.
	RewindAhead Ahead = "rewind"
	// SkipAhead goes on at the committed offset; the commands between are never handled.
	SkipAhead Ahead = "skip"
)

// start is where a partition begins, and what is known of it.
type start struct {
	offset    int64 // to read from; kafka.OffsetBeginning for the log's beginning
	published int64 // below this all answers and events are out; noOffset when nothing is known
	executed  int64 // below this all is executed; noOffset when nothing is known
}

// compare holds the group's committed offset of a partition (noOffset for none) against what Postgres knows of it. Both
// move on in the same order, Postgres first; whatever does not fit means that one of them was changed from outside. In a bank that was taken
// over the offset may be the former handler's.
func (l *lane) compare(partition int32, committed int64, progress []store.Progress, takenOver bool) (start, error) {
	var row, former *store.Progress
	for i := range progress {
		switch p := &progress[i]; {
		case p.Partition != partition:
		case p.TopicID == l.topic.id:
			row = p
		case l.topic.differsFrom(p.TopicID):
			former = p
		}
	}
	if row == nil && former == nil {
		row = l.unnamed(partition, committed, progress)
	}
	where := fmt.Sprintf("partition %d of %s", partition, l.topic.name)
	switch {
	case row == nil && former != nil && !l.h.cfg.NewTopics:
		return start{}, fmt.Errorf("%s: the topic was deleted and made anew since its commands were handled up to offset %d: "+
			"what it held then and was not handled is lost. Start with --new-topics to go on with the new one", where, former.ExecutedTo)
	case row == nil && former != nil && committed > 0:
		// Whoever read on in it without knowing has committed this, and what lies below was not handled. Ids tell what was.
		l.log.Warn("the topic was made anew while it was being read: it is read from its beginning", "partition", partition, "committed", committed)
		return start{0, noOffset, noOffset}, nil
	case row == nil && committed > 0 && !takenOver && l.h.cfg.Ahead == RewindAhead:
		row = &store.Progress{} // it has executed nothing
	case row == nil && committed > 0 && !takenOver: // every partition of a bank that is ours from the beginning gets its row before its first commit
		l.log.Warn("the group is further than this database has ever been: what lies below its offset counts as handled, as by another bank. "+
			"If the database has lost it, stop all handlers at once, empty its table progress and start with --rewind",
			"group", l.h.cfg.Group, "partition", partition, "committed", committed)
	}
	switch {
	case row == nil && committed < 0:
		return start{int64(kafka.OffsetBeginning), noOffset, noOffset}, nil
	case row == nil:
		return start{committed, committed, committed}, nil
	case committed < 0 && row.PublishedTo <= 0: // nothing was published yet
		return start{int64(kafka.OffsetBeginning), noOffset, noOffset}, nil
	case committed < 0: // never committed, or expired
		l.log.Info("the group has no offset, as when it is another one than before, or the offset has expired: going on at what is not published yet",
			"group", l.h.cfg.Group, "partition", partition, "published", row.PublishedTo)
		return start{row.PublishedTo, row.PublishedTo, noOffset}, nil
	case committed > row.ExecutedTo && l.h.cfg.Ahead == RewindAhead:
		l.log.Warn("going back to what Postgres has executed", "partition", partition, "committed", committed, "executed", row.ExecutedTo)
		return start{row.ExecutedTo, row.PublishedTo, row.ExecutedTo}, nil
	case committed > row.ExecutedTo && l.h.cfg.Ahead == SkipAhead:
		l.log.Warn("commands are skipped", "partition", partition, "from", row.ExecutedTo, "to", committed)
	case committed > row.ExecutedTo:
		return start{}, fmt.Errorf("%s: group %s is at offset %d, but Postgres has executed commands up to %d only: it was restored to an earlier state, the group's offset was set, or handlers of the group work on other tables. "+
			"Start with --rewind to execute again what Postgres does not have, or with --skip-ahead to leave it out", where, l.h.cfg.Group, committed, row.ExecutedTo)
	}
	if committed < row.PublishedTo {
		l.log.Warn("the group's offset was set back: what was published gets its answers again, and no events", "partition", partition,
			"committed", committed, "published", row.PublishedTo)
	}
	return start{committed, max(committed, row.PublishedTo), committed}, nil
}

// unnamed is what Postgres knows of a partition from when the brokers had no topic ids. It is taken for the topic of today when the group's offset
// has come along, or nothing was published yet, and the topic was not made anew since; else nil.
func (l *lane) unnamed(partition int32, committed int64, progress []store.Progress) (found *store.Progress) {
	for i := range progress {
		switch p := &progress[i]; {
		case p.Partition != partition || p.TopicID == l.topic.id || l.topic.id == [16]byte{}:
		case l.topic.differsFrom(p.TopicID):
			return nil
		case 0 <= committed && committed <= p.ExecutedTo, committed < 0 && p.PublishedTo <= 0:
			found = p
		}
	}
	return found
}
