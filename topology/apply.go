package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"openbank/connect"
)

// PartialError tells what an Apply that failed had done by then; running it again does the rest.
type PartialError struct {
	Applied []string
	Failed  []error // each names its change
	// When the context ended before all was done, Cause is its error, UnderWay what had been asked for and not been answered, so that
	// it may be applied, and Left what had not been begun.
	Cause    error
	UnderWay []string
	Left     []string
}

func (e *PartialError) Error() string {
	var lines []string
	list := func(heading string, all []string) {
		if len(all) > 0 {
			lines = append(lines, heading)
		}
		for _, one := range all {
			lines = append(lines, "  "+one)
		}
	}
	switch {
	case errors.Is(e.Cause, context.DeadlineExceeded):
		lines = append(lines, "the time for it was up before all was done; the next run does the rest")
	case e.Cause != nil:
		lines = append(lines, "it was interrupted before all was done; the next run does the rest")
	}
	failed := make([]string, len(e.Failed))
	for i, err := range e.Failed {
		failed[i] = err.Error()
	}
	list("not applied:", failed)
	list("under way, and perhaps applied:", e.UnderWay)
	list("not begun:", e.Left)
	if len(e.Applied) == 0 {
		return strings.Join(append(lines, "applied: nothing"), "\n")
	}
	list("applied:", e.Applied)
	return strings.Join(lines, "\n")
}

// Unwrap makes errors.Is and As reach each failure, and the context's error.
func (e *PartialError) Unwrap() []error {
	if e.Cause == nil {
		return e.Failed
	}
	return append(slices.Clone(e.Failed), e.Cause)
}

// Apply does what the plan says, in its order: levels and schemas first, so that no topic is without them when a producer finds
// it; deletions last. A change that fails doesn't stop the others. What another run did in between counts as done if it did the
// same. When ctx ends, what has not been begun is left. Errors: *PartialError.
func (t *Target) Apply(ctx context.Context, plan *Plan) error {
	run := &run{Target: t, plan: plan, result: &PartialError{}, levels: map[string]Field{}}
	for begin := 0; begin < len(plan.Changes); {
		end := begin + 1
		for end < len(plan.Changes) && plan.Changes[end].order() == plan.Changes[begin].order() {
			end++
		}
		run.stage(ctx, plan.Changes[begin:end])
		begin = end
	}
	if len(run.result.UnderWay)+len(run.result.Left) > 0 {
		run.result.Cause = ctx.Err()
	}
	if len(run.result.Failed) > 0 || run.result.Cause != nil {
		return run.result
	}
	return nil
}

// run is one Apply.
type run struct {
	*Target
	plan   *Plan
	result *PartialError
	made   []*Topic         // and those with more partitions now
	levels map[string]Field // what became of subjects' levels
}

// stage applies changes of one kind.
func (r *run) stage(ctx context.Context, changes []Change) {
	var possible []*Change
	for i := range changes {
		change := &changes[i]
		if change.Blocked != "" {
			r.note(ctx, change, errors.New(change.Blocked))
			continue
		}
		if change.replicas > 0 {
			if r.leaves(ctx, change) {
				continue
			}
			if err := r.enoughReplicas(ctx, change); err != nil {
				r.note(ctx, change, err)
				continue
			}
		}
		possible = append(possible, change)
	}
	if len(possible) == 0 {
		return
	}
	if kind := possible[0].Kind; possible[0].Action != Delete && (kind == KindTopic || kind == KindConfig || kind == KindPartitions) {
		for chunk := range chunks(possible) {
			if r.leaves(ctx, chunk...) {
				continue
			}
			r.requestAll(ctx, kind, chunk)
		}
		r.settle(ctx, kind)
		return
	}
	switch {
	case possible[0].Kind == KindACL:
		for chunk := range slices.Chunk(possible, aclsAtOnce) {
			if !r.leaves(ctx, chunk...) {
				r.changeACLs(ctx, chunk)
			}
		}
		return
	case possible[0].Kind == KindSchema && possible[0].Action == Delete:
		r.deleteSubjects(ctx, possible)
		return
	}
	for _, change := range possible {
		if !r.leaves(ctx, change) {
			r.note(ctx, change, r.one(ctx, change))
		}
	}
}

// enoughReplicas says why a change must not be made yet that wants more replicas than there may be.
func (r *run) enoughReplicas(ctx context.Context, change *Change) error {
	found, err := r.describe(ctx, change.Name)
	if err != nil {
		return err
	}
	if _, inSync := fewestReplicas(found); inSync < change.replicas {
		return fmt.Errorf("of the %d replicas that min.insync.replicas needs, %d are in sync: nobody could write with acks=all", change.replicas, inSync)
	}
	return nil
}

// leaves says that ctx has ended, and writes down what is not begun any more.
func (r *run) leaves(ctx context.Context, changes ...*Change) bool {
	if ctx.Err() == nil {
		return false
	}
	for _, change := range changes {
		r.result.Left = append(r.result.Left, change.String())
	}
	return true
}

// note writes down how a change went.
func (r *run) note(ctx context.Context, change *Change, err error) {
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		r.result.UnderWay = append(r.result.UnderWay, change.String())
		return
	}
	if err != nil {
		if level, changed := r.levels[change.Name]; changed && change.Kind == KindSchema {
			err = fmt.Errorf("%w; its compatibility level is %s all the same, as the topology says (before: %s)", err, level.To, cmp.Or(level.From, "none of its own"))
		}
		r.result.Failed = append(r.result.Failed, fmt.Errorf("%s: %w", change, err))
		return
	}
	if change.Kind == KindCompatibility {
		r.levels[change.Name] = change.Fields[0]
	}
	r.result.Applied = append(r.result.Applied, change.String())
	r.logger().Info("applied", "what", change.String(), "action", string(change.Action))
}

// requestAll makes changes of one kind in one request, which each topic is answered in.
func (r *run) requestAll(ctx context.Context, kind Kind, changes []*Change) {
	answers, err := r.request(ctx, kind, changes, len(r.plan.brokers), false)
	for _, change := range changes {
		failed := err
		if failed == nil {
			failed = answers[change.Name]
		}
		switch {
		case kind == KindTopic && errors.Is(failed, kerr.TopicAlreadyExists):
			failed = r.madeByAnother(ctx, change)
		case kind == KindPartitions && errors.Is(failed, kerr.InvalidPartitions):
			if found, err := r.describe(ctx, change.Name); err == nil && len(found.Partitions) == int(change.topic.Partitions) {
				failed = nil
			}
		}
		if failed == nil && kind != KindConfig {
			r.made = append(r.made, change.topic)
		}
		r.note(ctx, change, connect.Explain(failed))
	}
}

// changeACLs makes or deletes entries, each of which is answered for.
func (r *run) changeACLs(ctx context.Context, changes []*Change) {
	ask := r.createACLs
	if changes[0].Action == Delete {
		ask = r.deleteACLs
	}
	answers, err := ask(ctx, changes)
	if err == nil && len(answers) != len(changes) {
		err = fmt.Errorf("the broker answers for %d of %d entries", len(answers), len(changes))
	}
	for i, change := range changes {
		failed := err
		if failed == nil {
			failed = answers[i]
		}
		r.note(ctx, change, failed)
	}
}

// settleFor bounds how long brokers are given to hear of what the controller did.
const (
	settleFor  = 10 * time.Second
	settlePoll = 50 * time.Millisecond
)

// settle waits until every broker knows of what was made: changes that follow, and whoever comes after us, ask any of them. It is
// no error when one does not.
func (r *run) settle(ctx context.Context, kind Kind) {
	if kind == KindConfig || len(r.made) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	for _, broker := range r.plan.brokers {
		for !r.knownTo(ctx, broker) {
			if !sleep(ctx, settlePoll) {
				return
			}
		}
	}
}

func (r *run) knownTo(ctx context.Context, broker node) bool {
	request := kmsg.NewPtrMetadataRequest()
	for _, topic := range r.made {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = kmsg.StringPtr(topic.Name)
		request.Topics = append(request.Topics, one)
	}
	answer, err := r.Kafka.Broker(int(broker.id)).Request(ctx, request)
	if err != nil {
		return false
	}
	known := map[string]int{}
	for _, topic := range answer.(*kmsg.MetadataResponse).Topics {
		if topic.ErrorCode == 0 && topic.Topic != nil {
			known[*topic.Topic] = len(topic.Partitions)
		}
	}
	return !slices.ContainsFunc(r.made, func(topic *Topic) bool { return known[topic.Name] != int(topic.Partitions) })
}

// madeByAnother is nil when the topic that another made meanwhile, or an earlier try of ours whose answer was lost, is what it
// must be.
func (r *run) madeByAnother(ctx context.Context, change *Change) error {
	found, err := r.hearOf(ctx, change.Name)
	if err != nil {
		return err
	}
	there, err := r.configs(ctx, []string{change.Name}) // which waits by itself
	if err != nil {
		return err
	}
	as := &Plan{topology: r.plan.topology, brokers: r.plan.brokers}
	as.comparePartitions(change.topic, found)
	as.compareReplicas(change.topic, found, nil)
	as.compareConfig(change.topic, there[change.Name])
	if len(as.Changes) == 0 {
		return nil
	}
	var others []string
	for _, change := range as.Changes {
		for _, field := range change.Fields {
			others = append(others, fmt.Sprintf("%s %s instead of %s", field.Name, field.From, field.To))
		}
	}
	return fmt.Errorf("another made it meanwhile, with %s: plan again", strings.Join(others, ", "))
}

// hearOf describes a topic that is there, and waits for a broker that has not heard of it yet.
func (r *run) hearOf(ctx context.Context, topic string) (kadm.TopicDetail, error) {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	for {
		found, err := r.describe(ctx, topic)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || !sleep(ctx, settlePoll) {
			return found, err
		}
	}
}

func (r *run) one(ctx context.Context, change *Change) error {
	switch change.Kind {
	case KindRegistry:
		return explainRegistry(r.setLevel(ctx, "", change.Fields[0].To))
	case KindCompatibility:
		return explainRegistry(r.setLevel(ctx, change.Name, change.Fields[0].To))
	case KindSchema:
		return explainRegistry(r.registerSchema(ctx, *change.Schema, change.Before == ""))
	case KindReplicas:
		return r.reassign(ctx, r.plan, change.topic)
	default:
		return r.deleteTopic(ctx, change)
	}
}

// deleteTopic deletes a topic unless it is another one by now, or has records where the plan shows none. Deletions come last, perhaps an hour
// after the plan was made.
func (r *run) deleteTopic(ctx context.Context, change *Change) error {
	name := change.Name
	found, err := r.describe(ctx, name)
	if isUnknownTopic(err) {
		return nil // by another meanwhile
	}
	if err != nil {
		return err
	}
	now := &Plan{Unlisted: Unlisted{Topics: []string{name}}}
	if err := r.planTopicDeletions(ctx, now, kadm.TopicDetails{name: found}); err != nil {
		return err
	}
	if !change.same(now.Changes[0]) {
		return fmt.Errorf("it was planned as %s, and is now %s: plan again", change.brief(), now.Changes[0].brief())
	}
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TimeoutMillis = brokerTimeoutMillis
	request.TopicNames = []string{name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	if topic.TopicID = found.ID; found.ID == (kadm.TopicID{}) { // brokers before 2.8
		topic.Topic = kmsg.StringPtr(name)
	}
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, r.Kafka)
	if err != nil {
		return connect.Explain(err)
	}
	for _, topic := range response.Topics {
		err := withMessage(topic.ErrorCode, topic.ErrorMessage)
		if isUnknownTopic(err) || errors.Is(err, kerr.UnknownTopicID) {
			return nil // by another meanwhile
		}
		if err != nil {
			return err
		}
	}
	return nil
}
