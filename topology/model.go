package topology

import (
	"slices"
	"strconv"
	"strings"
)

// Topology is what there must be, with every default filled in and every schema read.
type Topology struct {
	// Compatibility is the registry's own level, for subjects without one. Empty: left as it is.
	Compatibility string   `json:"compatibility,omitempty"`
	Topics        []Topic  `json:"topics,omitempty"`
	Subjects      []Schema `json:"subjects,omitempty"` // those of no one topic
	// ACLs are one entry for each operation. They are compared only when ManagesACLs, so that a file without the section
	// says nothing about them.
	ACLs        []ACL         `json:"acls,omitempty"`
	ManagesACLs bool          `json:"manages_acls,omitempty"`
	aclOrigins  map[ACL]place // where topology.yaml lists them
	// Internal are names and patterns (*) of topics that are not looked at, built-in ones included.
	Internal  []string  `json:"internal,omitempty"`
	Protected Protected `json:"protected,omitzero"`
}

// Protected are names and patterns (*) of what is never deleted.
type Protected struct {
	Topics     []string `json:"topics,omitempty"`
	Subjects   []string `json:"subjects,omitempty"`
	Principals []string `json:"principals,omitempty"`
}

// Topic is one topic and the schemas of the records in it.
type Topic struct {
	Name       string            `json:"name"`
	Purpose    string            `json:"purpose,omitempty"`
	Partitions int32             `json:"partitions"` // at least 1
	Replicas   Replicas          `json:"replicas"`
	Config     map[string]string `json:"config,omitempty"` // Kafka's names and spelling
	Schemas    []Schema          `json:"schemas,omitempty"`

	origin place            // where topology.yaml lists it
	places map[string]place // where it says what, by key: partitions, config.retention.ms; those of defaults too
}

// at is where a key's value comes from, or the topic.
func (t Topic) at(key string) place {
	if there, ok := t.places[key]; ok {
		return there
	}
	return t.origin
}

// keyed guesses whether the partition of a record of this topic follows from a key: nothing in Kafka says so for sure.
func (t Topic) keyed() bool {
	return strings.Contains(t.Config["cleanup.policy"], "compact") ||
		slices.ContainsFunc(t.Schemas, func(s Schema) bool { return strings.HasSuffix(s.Subject, "-key") })
}

// Replicas is how many replicas a partition must have: exactly Count, or, when Capped, that many or one on each broker when
// there are fewer.
type Replicas struct {
	Count  int16
	Capped bool
}

// defaultMax is what `max` without a number stands for: more than three replicas are seldom meant.
const defaultMax = 3

func (r Replicas) String() string {
	if r.Capped {
		return "max " + strconv.Itoa(int(r.Count))
	}
	return strconv.Itoa(int(r.Count))
}

// MarshalText writes replicas as topology.yaml has them.
func (r Replicas) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a number, `max` or `max N`.
func (r *Replicas) UnmarshalText(text []byte) error {
	number, capped := strings.CutPrefix(string(text), "max")
	if capped && number == "" {
		*r = Replicas{Count: defaultMax, Capped: true}
		return nil
	}
	if capped && !strings.HasPrefix(number, " ") {
		return strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 16)
	if err != nil || n < 1 {
		return strconv.ErrSyntax
	}
	*r = Replicas{Count: int16(n), Capped: capped}
	return nil
}

// of is how many replicas a new topic gets on so many brokers.
func (r Replicas) of(brokers int) int16 {
	if r.Capped && brokers < int(r.Count) {
		return int16(max(brokers, 1))
	}
	return r.Count
}

// Schema is what a subject's latest version must be, or mean.
type Schema struct {
	Subject       string      `json:"subject"`
	Text          string      `json:"text"`
	Type          string      `json:"type,omitempty"`          // AVRO, JSON or PROTOBUF; empty is AVRO
	Compatibility string      `json:"compatibility,omitempty"` // the subject's level; empty: left as it is
	References    []Reference `json:"references,omitempty"`

	origin place // where topology.yaml lists it
}

func (s Schema) kind() string {
	if s.Type == "" {
		return typeAvro
	}
	return s.Type
}

// Reference is another subject's schema that one needs.
type Reference struct {
	Name    string `json:"name"` // an Avro type's full name, a Protobuf import, a JSON $ref
	Subject string `json:"subject"`
	Version int    `json:"version,omitempty"` // 0: the latest one

	origin place // where topology.yaml lists it
}

// Types of schemas, and the levels that a registry knows.
const (
	typeAvro     = "AVRO"
	typeJSON     = "JSON"
	typeProtobuf = "PROTOBUF"
)

var levels = []string{"BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE", "NONE"}

// builtinInternal are the brokers' own topics and those of what mostly runs beside them.
var builtinInternal = []string{"__*", "_schemas", "_confluent*"}

// matches says whether a name is one of the names and patterns.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		parts := strings.Split(pattern, "*")
		if len(parts) == 1 {
			return pattern == name
		}
		rest, begins := strings.CutPrefix(name, parts[0])
		if !begins {
			return false
		}
		last := len(parts) - 1
		for _, part := range parts[1:last] {
			_, after, found := strings.Cut(rest, part)
			if !found {
				return false
			}
			rest = after
		}
		return strings.HasSuffix(rest, parts[last])
	})
}

func (t *Topology) internal(topic string) bool { return matches(t.Internal, topic) }

// schemas are all schemas, each after those that it refers to.
func (t *Topology) schemas() []Schema {
	all := slices.Clone(t.Subjects)
	for _, topic := range t.Topics {
		all = append(all, topic.Schemas...)
	}
	bySubject := make(map[string]int, len(all))
	for i, schema := range all {
		bySubject[schema.Subject] = i
	}
	ordered := make([]Schema, 0, len(all))
	done := make([]bool, len(all))
	var add func(i int)
	add = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		for _, reference := range all[i].References {
			if at, ok := bySubject[reference.Subject]; ok {
				add(at)
			}
		}
		ordered = append(ordered, all[i])
	}
	for i := range all {
		add(i)
	}
	return ordered
}

// asksRegistry says whether the topology is about subjects at all.
func (t *Topology) asksRegistry() bool {
	return t.Compatibility != "" || len(t.Subjects) > 0 || slices.ContainsFunc(t.Topics, func(topic Topic) bool { return len(topic.Schemas) > 0 })
}
