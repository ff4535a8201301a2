package audit

import "time"

// Scope is what may be expected of the evidence. The zero value: everything is there, and nothing is under way.
type Scope struct {
	// Live says that the bank may have been at work: only commands below the offsets of Due must be answered, and what
	// they need not be is expected of none.
	Live bool
	Due  map[Partition]int64

	// Starts is the first offset of partitions whose beginning is deleted.
	Starts map[Partition]int64
	// Cut holds the topics of which the beginning of a partition is deleted, and until when the deleted records may have been
	// written: the time of the oldest record that is left, of the partition where that is youngest.
	Cut map[string]time.Time
	// CutKeyed is the same of each partition of answers and events, whose keys lead to one.
	CutKeyed map[Partition]time.Time
	// Partitions is how many the topics of answers and events have; 0 is not known, and then Cut alone counts.
	Partitions map[string]int32
	// CutLetters is the same of dead letters, by the partition of the record that they were, since they keep that.
	CutLetters map[Partition]time.Time
	// Topics are those that were read; the zero value means DefaultTopics.
	Topics Topics
	// IDs are those of the topics as they are now.
	IDs map[string]string
	// Former holds the command topics that were deleted and made anew, as the rows of the database tell.
	Former map[string]bool
}

// clocksDiffer is how far the clocks of those who write records may be apart: what is older than the beginning of a topic by them is
// not missed there.
const clocksDiffer = time.Minute

// due tells whether a record of a command topic must be handled.
func (s *Scope) due(p Place) bool { return !s.Live || p.Offset < s.Due[p.partition()] }

// deleted tells whether there was a place that is no more.
func (s *Scope) deleted(p Place) bool { return p.Offset < s.Starts[p.partition()] }

// mayLack tells whether a record that was written to topic, which is none of dead letters, at some time or later may have been deleted there.
func (s *Scope) mayLack(topic string, at Time) bool {
	until, cut := s.Cut[topic]
	return cut && isBefore(at, until)
}

// mayLackLetter tells whether the dead letter of a record that was written at some time may have been deleted.
func (s *Scope) mayLackLetter(p Place, at Time) bool {
	until, cut := s.CutLetters[p.partition()]
	return cut && isBefore(at, until)
}

// isBefore tells whether what was written at some time may be older than the oldest record that is left.
func isBefore(at Time, oldest time.Time) bool {
	return oldest.IsZero() || at == 0 || at.Time().Before(oldest.Add(clocksDiffer))
}

// without tells whether the record of a row can be missing.
func (s *Scope) without(o *Outcome, topic string) bool {
	switch {
	case o.Former || o.Seq == 0:
		return true
	case o.Origin.Topic == "":
		_, cut := s.Cut[topic]
		return cut
	}
	return s.deleted(o.Origin)
}

// Unchecked counts what can't be checked because it is deleted, or not yet because it is under way.
type Unchecked struct {
	Commands int `json:"commands"`  // rows whose record is deleted: confirmed ones are replayed from the row, of rejected ones the accounts that they saw are compared
	Answers  int `json:"answers"`   // commands of which an answer may be deleted
	Events   int `json:"events"`    // events that may be deleted
	Letters  int `json:"letters"`   // records that can't be handled, or have a reused id, whose dead letter may be deleted
	Sources  int `json:"sources"`   // dead letters whose record is deleted: that they are as it was
	UnderWay int `json:"under_way"` // records on the command topics that came during the check and are not executed yet
}
