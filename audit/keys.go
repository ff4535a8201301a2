package audit

import (
	"encoding/binary"
	"time"
)

// keys tells where on the topics of answers and events a record may have been deleted. The handler gives an answer its command's id for a key
// and an event its IBAN, and a key leads to one partition, as with the JVM clients: what is deleted elsewhere excuses nothing.
//
// A topic may have had fewer partitions once, and the key another one then. Before there is proof of all partitions each count that there
// may have been is taken into account. A record that stands where its key can't have led, such as a predecessor's that was hashed in
// another way, makes the partitions of its topic unknown: then whatever is deleted there counts.
type keys struct {
	scope  *Scope
	topics Topics
	spread map[string]*spread // of the topics of which something is deleted, and whose partitions can be told
}

// spread is how the records of a topic are spread over its partitions.
type spread struct {
	partitions uint32
	since      Time // when the oldest record was written that no lower number of partitions explains; 0: there is none
}

// hearsay is how long a producer may not have heard of partitions that were added: librdkafka's default, which is five times our setting.
const hearsay = 5 * time.Minute

func newKeys(e *Evidence, topics Topics) *keys {
	k := &keys{scope: &e.Scope, topics: topics, spread: map[string]*spread{}}
	for topic := range e.Scope.Cut {
		if n := e.Scope.Partitions[topic]; n > 0 {
			k.spread[topic] = &spread{partitions: uint32(n)}
		}
	}
	if len(k.spread) == 0 {
		return k
	}
	for i := range e.Answers {
		a := &e.Answers[i]
		k.learn(a.Place, a.Time, a.Command.ID.String())
	}
	for i := range e.Events {
		v := &e.Events[i]
		k.learn(v.Place, v.Time, v.Event.IBAN)
	}
	return k
}

func (k *keys) learn(p Place, at Time, key string) {
	s := k.spread[p.Topic]
	if s == nil {
		return
	}
	hash, count := keyHash(key), uint32(p.Partition)+1
	for count <= s.partitions && hash%count != uint32(p.Partition) {
		count++
	}
	switch {
	case count > s.partitions:
		delete(k.spread, p.Topic)
	case count == s.partitions && at != 0 && (s.since == 0 || at < s.since):
		s.since = at
	}
}

// mayLackAnswer tells whether an answer to a command, sent at some time, may have been deleted; 0 is any time.
func (k *keys) mayLackAnswer(command Key, at Time) bool {
	topic := k.topics.answers(command.Kind)
	return k.scope.mayLack(topic, at) && k.leadsToDeleted(topic, command.ID.String(), at)
}

// mayLackEvent tells whether an event of an account, whose command was sent at some time, may have been deleted; 0 is any time.
func (k *keys) mayLackEvent(iban string, at Time) bool {
	topic := k.topics.BalanceChanged
	return k.scope.mayLack(topic, at) && k.leadsToDeleted(topic, iban, at)
}

// leadsToDeleted tells whether something that old may have been deleted where the key leads, or led.
func (k *keys) leadsToDeleted(topic, key string, at Time) bool {
	s := k.spread[topic]
	if s == nil {
		return true
	}
	hash, count := keyHash(key), uint32(1)
	if s.since != 0 && at != 0 && at.Time().After(s.since.Time().Add(hearsay+clocksDiffer)) {
		count = s.partitions
	}
	for ; count <= s.partitions; count++ {
		until, cut := k.scope.CutKeyed[Partition{topic, int32(hash % count)}]
		if cut && isBefore(at, until) {
			return true
		}
	}
	return false
}

// keyHash is what the JVM clients, and librdkafka's murmur2, divide by the number of partitions: MurmurHash2 with a seed of their own, without
// its sign.
func keyHash(key string) uint32 {
	const seed, m = 0x9747b28c, 0x5bd1e995
	b := []byte(key)
	h := seed ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	if len(b) > 0 {
		var rest [4]byte
		copy(rest[:], b)
		h = (h ^ binary.LittleEndian.Uint32(rest[:])) * m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h & 0x7fffffff
}
