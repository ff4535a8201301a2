package topology

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/registry"
)

// Target is where a topology is to be: a cluster and a registry. The caller closes both clients.
type Target struct {
	Kafka    *kgo.Client
	Registry *registry.Client // nil for a topology without subjects
	// Brokers is how many brokers must be there before anything is compared: a topic that is made while the others are still
	// starting would have too few replicas for good. At least 1.
	Brokers int
	Logger  *slog.Logger
}

// Options are what a plan may do beyond making and changing what the topology lists. The zero value deletes nothing.
type Options struct {
	// What the topology does not list and is neither internal nor protected is deleted.
	DeleteTopics   bool `json:"delete_topics,omitempty"`
	DeleteSubjects bool `json:"delete_subjects,omitempty"`
	DeleteACLs     bool `json:"delete_acls,omitempty"`
	// PruneConfig sets what a listed topic has been configured with, and the topology does not name, back to the default.
	PruneConfig bool `json:"prune_config,omitempty"`
}

// Kind is what a change is about.
type Kind string

// In the order in which they are applied; deletions come after all others, in the order topics, subjects, ACLs.
const (
	KindRegistry      Kind = "registry"      // the registry's own compatibility level
	KindCompatibility Kind = "compatibility" // the level of a subject that is there
	KindSchema        Kind = "schema"        // a version of a subject, or the subject when it is deleted
	KindTopic         Kind = "topic"
	KindConfig        Kind = "config"
	KindPartitions    Kind = "partitions"
	KindReplicas      Kind = "replicas"
	KindACL           Kind = "acl"
)

// Action is what is done to it.
type Action string

// What a change does.
const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
)

// Change is one difference. Changes of two plans are the same when their JSON is.
type Change struct {
	Kind   Kind   `json:"kind"`
	Action Action `json:"action"`
	Name   string `json:"name"` // of the topic or subject; an ACL in words
	// ID is that of the topic to delete, or of the latest schema of the subject to delete: another one may have its name by the time that it is.
	ID     string  `json:"id,omitempty"`
	Fields []Field `json:"fields,omitempty"`
	// Warnings are for whoever decides.
	Warnings []string `json:"warnings,omitempty"`
	// Blocked says why the change can't be made. Apply counts it as not applied.
	Blocked string `json:"blocked,omitempty"`
	// Schema is the schema to register.
	Schema *Schema `json:"schema,omitempty"`
	// Before is the text of the version that there is.
	Before string `json:"before,omitempty"`
	// ACL is the entry to create or delete.
	ACL *ACL `json:"acl,omitempty"`

	topic *Topic
	// replicas is how many each partition must have before this is done; 0 for any number.
	replicas int
	// levelWarning is the one of Warnings, if any, that is about a change of level before this one, and incompatible why this one can't be
	// made without that.
	levelWarning, incompatible string
}

// Field is one value that changes. From is empty where there was none.
type Field struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// String names a change in a message: "topic orders", "partitions of topic orders".
func (c Change) String() string {
	c.Name = oneLine(c.Name)
	switch c.Kind {
	case KindRegistry:
		return "the registry's compatibility level"
	case KindCompatibility:
		return "compatibility level of subject " + c.Name
	case KindSchema:
		return "subject " + c.Name
	case KindConfig, KindPartitions, KindReplicas:
		return string(c.Kind) + " of topic " + c.Name
	case KindACL:
		return "ACL " + c.Name
	default:
		return "topic " + c.Name
	}
}

// Unlisted is what is there without the topology listing it, internal and protected names left out. It is no difference unless
// Options say so.
type Unlisted struct {
	Topics   []string            `json:"topics,omitempty"`
	Subjects []string            `json:"subjects,omitempty"`
	ACLs     []ACL               `json:"acls,omitempty"`
	Config   map[string][]string `json:"config,omitempty"` // by topic, the names of what it has been configured with
}

// Plan is the difference between a topology and a target.
type Plan struct {
	Changes []Change `json:"changes"`
	// Existing is how many topics, subjects and ACLs are there as they must be.
	Existing int `json:"existing"`
	// Notes are what is worth knowing and is no difference.
	Notes []string `json:"notes,omitempty"`
	// Unchecked are what could not be compared, mostly because the principal may not look.
	Unchecked []string `json:"unchecked,omitempty"`
	Unlisted  Unlisted `json:"unlisted,omitzero"`

	topology *Topology
	options  Options
	brokers  []node
}

// Empty says that there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// Count is how many changes do so and can be made.
func (p *Plan) Count(action Action) int {
	count := 0
	for _, change := range p.Changes {
		if change.Action == action && change.Blocked == "" {
			count++
		}
	}
	return count
}

// Blocked is how many changes can't be made.
func (p *Plan) Blocked() int {
	count := 0
	for _, change := range p.Changes {
		if change.Blocked != "" {
			count++
		}
	}
	return count
}

// CreateOnly leaves of the plan what makes what is missing: topics, and schemas with the levels of new subjects. What it leaves
// out is returned. A new version is held to the level that holds, since a change of that is left out.
func (p *Plan) CreateOnly() (left []Change) {
	kept := make([]Change, 0, len(p.Changes))
	for _, change := range p.Changes {
		if change.harmless() {
			change.Warnings = slices.DeleteFunc(slices.Clone(change.Warnings), func(w string) bool { return w == change.levelWarning })
			change.Blocked = cmp.Or(change.Blocked, change.incompatible)
			kept = append(kept, change)
		} else {
			left = append(left, change)
		}
	}
	p.Changes = kept
	return left
}

// harmless changes touch nothing that exists: they need nobody's consent. A new ACL is none of them, since the first one on a
// resource can lock others out.
func (c Change) harmless() bool { return c.Action == Create && c.Kind != KindACL }

// Plan waits until brokers and registry answer, and compares. It writes nothing. Errors: ctx's, with what was waited for, or
// what the brokers or the registry refused.
func (t *Target) Plan(ctx context.Context, want *Topology) (*Plan, error) {
	return t.PlanWith(ctx, want, Options{})
}

// PlanWith is Plan with options.
func (t *Target) PlanWith(ctx context.Context, want *Topology, options Options) (*Plan, error) {
	if err := options.check(want); err != nil {
		return nil, err
	}
	brokers, err := t.awaitBrokers(ctx)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Changes: []Change{}, topology: want, options: options, brokers: brokers}
	if t.Registry != nil && (want.asksRegistry() || options.DeleteSubjects) {
		if err := t.planSubjects(ctx, plan); err != nil {
			return nil, err
		}
	}
	if err := t.planTopics(ctx, plan); err != nil {
		return nil, err
	}
	if want.ManagesACLs {
		if err := t.planACLs(ctx, plan); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(plan.Changes, func(a, b Change) int { return a.order() - b.order() })
	return plan, nil
}

func (options Options) check(want *Topology) error {
	switch {
	case options.DeleteTopics && len(want.Topics) == 0:
		return errors.New("the topology lists no topics, so that all of the cluster's would be deleted: list those that are to stay")
	case options.DeleteSubjects && len(want.schemas()) == 0:
		return errors.New("the topology lists no schemas, so that all of the registry's subjects would be deleted: list those that are to stay")
	case options.DeleteACLs && len(want.ACLs) == 0:
		return errors.New("the topology lists no acls, so that all of the cluster's would be deleted: list those that are to stay")
	}
	return nil
}

var kindOrder = []Kind{KindRegistry, KindCompatibility, KindSchema, KindTopic, KindConfig, KindPartitions, KindReplicas, KindACL}

var deletionOrder = []Kind{KindTopic, KindSchema, KindACL}

func (c Change) order() int {
	switch {
	case c.Action == Delete:
		return 2*len(kindOrder) + slices.Index(deletionOrder, c.Kind)
	case c.replicas > 0:
		return 2*slices.Index(kindOrder, KindReplicas) + 1
	}
	return 2 * slices.Index(kindOrder, c.Kind)
}

func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if many, ok := strings.CutSuffix(one, "y"); ok {
		return strconv.Itoa(n) + " " + many + "ies"
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// Harmless says that the plan touches nothing that exists.
func (p *Plan) Harmless() bool {
	return !slices.ContainsFunc(p.Changes, func(c Change) bool { return !c.harmless() })
}
