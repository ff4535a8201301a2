package topology

import (
	"cmp"
	"fmt"
	"net/netip"
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
	// Line and Column are in topology.yaml, or in the earlier one for what is not there any more; 0 where that is not known.
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Earlier bool   `json:"earlier,omitempty"`
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

// Lint checks a topology without a cluster, in the order of its lines; what only an earlier one had comes last.
func Lint(t *Topology, options LintOptions) []Finding {
	l := &linter{options: options}
	for _, topic := range t.Topics {
		l.about("topic "+topic.Name, topic.origin)
		l.name(topic)
		l.replication(topic)
		l.cleanup(topic)
	}
	l.schemas(t)
	l.acls(t)
	if options.Against != nil {
		l.changes(options.Against, t)
		l.evolution(options.Against, t)
		l.removed(options.Against, t)
	}
	order := map[bool]int{true: 1}
	slices.SortStableFunc(l.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.Earlier], order[b.Earlier]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.found
}

type linter struct {
	options LintOptions
	what    string
	here    place
	earlier bool
	found   []Finding
}

// about says what the findings that follow are about, and where that is.
func (l *linter) about(what string, here place) {
	l.what, l.here = what, here
}

func (l *linter) error(rule, format string, args ...any) {
	l.found = append(l.found, Finding{l.here.line, l.here.column, l.earlier, rule, true, l.what, fmt.Sprintf(format, args...)})
}

func (l *linter) warn(rule, format string, args ...any) {
	l.error(rule, format, args...)
	l.found[len(l.found)-1].Error = false
}

func (l *linter) name(topic Topic) {
	l.here = topic.at("name")
	if pattern := l.options.NamePattern; pattern != nil {
		if at := pattern.FindString(topic.Name); at != topic.Name {
			l.error("name", "the name does not match %s", pattern)
		}
	}
	l.here = topic.at("partitions")
	if most := l.options.MaxPartitions; most > 0 && topic.Partitions > most {
		l.error("partitions", "%s are more than %d", count(int(topic.Partitions), "partition"), most)
	}
}

func (l *linter) replication(topic Topic) {
	replicas := int64(topic.Replicas.Count)
	inSync, given := number(topic.Config, "min.insync.replicas")
	l.here = topic.at("config.min.insync.replicas")
	if !given {
		l.here = topic.at("replicas")
	}
	switch {
	case given && inSync > replicas:
		l.error("min-insync", "min.insync.replicas is %d with %s: nobody can write with acks=all", inSync, count(int(replicas), "replica"))
	case given && inSync == replicas && replicas > 1:
		l.warn("min-insync", "min.insync.replicas is as high as replicas, %d: with one broker away nobody can write with acks=all", replicas)
	case replicas == 1:
		l.warn("replicas", "there is one replica: with its broker the records are away, or lost")
	}
	l.here = topic.at("config.unclean.leader.election.enable")
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
				l.here = topic.at("config." + name)
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
		l.here = topic.at("config.retention.ms")
		l.warn("retention", "nothing is ever deleted: the topic grows for as long as it is written to")
	}
	if segment, ok := number(topic.Config, "segment.ms"); ok && deletes && hasRetention && retention >= 0 && segment > retention {
		l.here = topic.at("config.segment.ms")
		l.warn("segment", "segment.ms is more than retention.ms: records stay until their segment ends")
	}
	if segment, ok := number(topic.Config, "segment.bytes"); ok && deletes && hasSize && size >= 0 && segment > size {
		l.here = topic.at("config.segment.bytes")
		l.warn("segment", "segment.bytes is more than retention.bytes: records stay until their segment ends")
	}
	least, hasLeast := number(topic.Config, "min.compaction.lag.ms")
	most, hasMost := number(topic.Config, "max.compaction.lag.ms")
	if hasLeast && hasMost && least > most {
		l.here = topic.at("config.min.compaction.lag.ms")
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
		if !there {
			continue
		}
		l.about("topic "+old.Name, topic.at("partitions"))
		switch {
		case topic.Partitions < old.Partitions:
			l.error("partitions", "%s became %d: Kafka takes none away", count(int(old.Partitions), "partition"), topic.Partitions)
		case topic.Partitions > old.Partitions:
			l.warn("partitions", "%s became %d: records with the same key go to other partitions from then on", count(int(old.Partitions), "partition"), topic.Partitions)
		}
		if strings.Contains(old.Config["cleanup.policy"], "compact") != strings.Contains(topic.Config["cleanup.policy"], "compact") {
			l.here = topic.at("config.cleanup.policy")
			l.warn("cleanup", "with another cleanup.policy the brokers may remove records that they kept so far")
		}
	}
}

// acls finds entries that Kafka takes and that match nothing, or something else than they look.
func (l *linter) acls(t *Topology) {
	said := map[string]bool{}
	warn := func(acl ACL, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !said[acl.Principal+text] {
			said[acl.Principal+text] = true
			l.about("ACLs of "+acl.Principal, t.aclOrigins[acl])
			l.warn("acl", "%s", text)
		}
	}
	for _, acl := range t.ACLs {
		if acl.Name != "*" && strings.Contains(acl.Name, "*") {
			warn(acl, "the * in %s %s is one of the name's characters: only * alone, and one at the end in reads, writes, groups and transactional_ids, is more", strings.ReplaceAll(acl.Resource, "_", " "), acl.Name)
		}
		if _, err := netip.ParseAddr(acl.Host); err != nil && acl.Host != "*" {
			warn(acl, "the host %s is no address: Kafka compares addresses, and looks up no names", acl.Host)
		}
	}
}

// removed tells of what an earlier topology listed and this one does not. What is kept whatever happens is not said to be deletable.
func (l *linter) removed(before, after *Topology) {
	l.earlier = true
	gone := func(what string, at place, kept bool, deletion string) {
		l.about(what, at)
		if kept {
			l.warn("removed", "it is not listed any more, and stays: it is internal, protected or referred to")
			return
		}
		l.warn("removed", "it is not listed any more: apply leaves it, and --allow-delete %s", deletion)
	}
	topics, subjects, acls := map[string]bool{}, map[string]bool{}, map[ACL]bool{}
	for _, topic := range after.Topics {
		topics[topic.Name] = true
	}
	needed := map[string]bool{}
	for _, schema := range after.schemas() {
		subjects[schema.Subject] = true
		for _, reference := range schema.References {
			needed[reference.Subject] = true
		}
	}
	for _, acl := range after.ACLs {
		acls[acl] = true
	}
	for _, topic := range before.Topics {
		if !topics[topic.Name] {
			gone("topic "+topic.Name, topic.origin, after.internal(topic.Name) || matches(after.Protected.Topics, topic.Name), "topics deletes it with its records")
		}
	}
	for _, schema := range before.schemas() {
		if !subjects[schema.Subject] {
			gone("subject "+schema.Subject, schema.origin, after.keepsSubject(schema.Subject) || needed[schema.Subject], "subjects deletes it")
		}
	}
	if before.ManagesACLs && !after.ManagesACLs {
		l.about("acls", place{})
		l.warn("removed", "the key is not there any more: access control lists are not looked at from now on")
		return
	}
	for _, acl := range before.ACLs {
		if !acls[acl] {
			gone("ACL "+acl.String(), before.aclOrigins[acl], matches(after.Protected.Principals, acl.Principal), "acls deletes it")
		}
	}
}
