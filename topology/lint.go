package topology

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// LintOptions are the checks that need to be told something.
type LintOptions struct {
	// NamePattern is what each topic's name must match, whole. nil: any.
	NamePattern *regexp.Regexp
	// MaxPartitions is how many a topic may have. 0: any number.
	MaxPartitions int32
	// Against is an earlier topology: what changed since must be possible, and its schemas compatible.
	Against *Topology
}

// Finding is what Lint has to say of one thing.
type Finding struct {
	Line    int    `json:"line"` // in topology.yaml; 0 for what is not there any more
	Rule    string `json:"rule"`
	Error   bool   `json:"error"` // and no warning
	What    string `json:"what"`
	Message string `json:"message"`
}

func (f Finding) String() string {
	severity := "warning"
	if f.Error {
		severity = "error"
	}
	return fmt.Sprintf("%s: %s: %s [%s]", severity, f.What, f.Message, f.Rule)
}

// Lint checks a topology without a cluster, in the order of its lines.
func Lint(t *Topology, options LintOptions) []Finding {
	l := &linter{options: options}
	for _, topic := range t.Topics {
		l.what, l.line = "topic "+topic.Name, topic.origin.line
		l.name(topic)
		l.replication(topic)
		l.cleanup(topic)
	}
	if options.Against != nil {
		l.changes(options.Against, t)
		l.evolution(options.Against, t)
	}
	slices.SortStableFunc(l.found, func(a, b Finding) int { return cmp.Compare(a.Line, b.Line) })
	return l.found
}

type linter struct {
	options LintOptions
	what    string
	line    int
	found   []Finding
}

func (l *linter) error(rule, format string, args ...any) {
	l.found = append(l.found, Finding{l.line, rule, true, l.what, fmt.Sprintf(format, args...)})
}

func (l *linter) warn(rule, format string, args ...any) {
	l.found = append(l.found, Finding{l.line, rule, false, l.what, fmt.Sprintf(format, args...)})
}

func (l *linter) name(topic Topic) {
	if pattern := l.options.NamePattern; pattern != nil {
		if at := pattern.FindString(topic.Name); at != topic.Name {
			l.error("name", "the name does not match %s", pattern)
		}
	}
	if most := l.options.MaxPartitions; most > 0 && topic.Partitions > most {
		l.error("partitions", "%d partitions are more than %d", topic.Partitions, most)
	}
}

func (l *linter) replication(topic Topic) {
	replicas := int64(topic.Replicas.Count)
	inSync, given := number(topic.Config, "min.insync.replicas")
	switch {
	case given && inSync > replicas:
		l.error("min-insync", "min.insync.replicas is %d with %s: nobody can write with acks=all", inSync, count(int(replicas), "replica"))
	case given && inSync == replicas && replicas > 1:
		l.warn("min-insync", "min.insync.replicas is as high as replicas, %d: with one broker away nobody can write with acks=all", replicas)
	case replicas == 1:
		l.warn("replicas", "there is one replica: with its broker the records are away, or lost")
	}
	if topic.Config["unclean.leader.election.enable"] == "true" {
		l.warn("unclean-election", "unclean.leader.election.enable lets acknowledged records get lost")
	}
}

// number is a configuration's value, if it is given.
func number(config map[string]string, name string) (int64, bool) {
	n, err := strconv.ParseInt(config[name], 10, 64)
	return n, err == nil
}

func (l *linter) cleanup(topic Topic) {
	policy := sortedWords(firstOf(topic.Config["cleanup.policy"], "delete"))
	compacts, deletes := slices.Contains(policy, "compact"), slices.Contains(policy, "delete")
	ineffective := func(names []string, without string) {
		for _, name := range names {
			if _, given := topic.Config[name]; given {
				l.warn("cleanup", "%s has no effect: cleanup.policy is without %s", name, without)
			}
		}
	}
	if !deletes {
		ineffective([]string{"retention.ms", "retention.bytes"}, "delete")
	}
	if !compacts {
		ineffective([]string{"min.cleanable.dirty.ratio", "min.compaction.lag.ms", "max.compaction.lag.ms", "delete.retention.ms"}, "compact")
	}
	retention, hasRetention := number(topic.Config, "retention.ms")
	size, hasSize := number(topic.Config, "retention.bytes")
	if deletes && !compacts && hasRetention && retention == -1 && (!hasSize || size == -1) {
		l.warn("retention", "nothing is ever deleted: the topic grows for as long as it is written to")
	}
	if segment, ok := number(topic.Config, "segment.ms"); ok && deletes && hasRetention && retention >= 0 && segment > retention {
		l.warn("segment", "segment.ms is more than retention.ms: records stay until their segment ends")
	}
	if segment, ok := number(topic.Config, "segment.bytes"); ok && deletes && hasSize && size >= 0 && segment > size {
		l.warn("segment", "segment.bytes is more than retention.bytes: records stay until their segment ends")
	}
	least, hasLeast := number(topic.Config, "min.compaction.lag.ms")
	most, hasMost := number(topic.Config, "max.compaction.lag.ms")
	if hasLeast && hasMost && least > most {
		l.error("compaction-lag", "min.compaction.lag.ms is more than max.compaction.lag.ms")
	}
}

// changes looks at what became of an earlier topology's topics.
func (l *linter) changes(before, after *Topology) {
	now := map[string]Topic{}
	for _, topic := range after.Topics {
		now[topic.Name] = topic
	}
	for _, old := range before.Topics {
		topic, there := now[old.Name]
		l.what, l.line = "topic "+old.Name, topic.origin.line
		switch {
		case !there:
			l.warn("removed", "it is not listed any more: apply leaves it, and --allow-delete topics deletes it with its records")
			continue
		case topic.Partitions < old.Partitions:
			l.error("partitions", "%d partitions became %d: Kafka takes none away", old.Partitions, topic.Partitions)
		case topic.Partitions > old.Partitions:
			l.warn("partitions", "%d partitions became %d: records with the same key go to other partitions from then on", old.Partitions, topic.Partitions)
		}
		if strings.Contains(old.Config["cleanup.policy"], "compact") != strings.Contains(topic.Config["cleanup.policy"], "compact") {
			l.warn("cleanup", "with another cleanup.policy the brokers may remove records that they kept so far")
		}
	}
}
