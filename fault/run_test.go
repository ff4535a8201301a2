package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"openbank/audit"
)

const (
	// loadTime bounds the load for one crash of each handler: crashes that it has not brought about by then do not happen. Handlers with the race
	// detector on a busy machine take more than 10 s for the 200th record in batches of one.
	loadTime = 25 * time.Second
	// settleTime bounds the time in which everything must be answered once nothing goes wrong any more. A group may take
	// two session time-outs of 6 s to notice who is gone, and brokers 20 s to end a transaction.
	settleTime = 90 * time.Second
	accounts   = 6
)

// run is a schedule under way.
type run struct {
	world    *world
	schedule schedule
	logs     string
	topics   audit.Topics
	database string
	fleet    *fleet
	load     *load
}

// result is what a schedule came to.
type result struct {
	report *audit.Report
	kills  []kill
	took   time.Duration
}

// play runs a schedule in the world. What its handlers logged stays in logs.
func (w *world) play(ctx context.Context, s schedule, logs string) (_ result, err error) {
	begin := time.Now()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r, err := w.prepare(ctx, s, logs, fail)
	if err != nil {
		return result{}, err
	}
	r.fleet.run(ctx, s.handlers)
	defer r.fleet.members.Wait()
	defer fail(errors.New("the schedule is over"))

	report, err := r.work(ctx)
	if err == nil {
		report, err = r.finish(ctx)
	}
	settled := time.Now().UnixNano() // what follows has records read again by itself
	if err == nil && s.end != plain {
		if report, err = s.end.play(ctx, r); err != nil {
			err = fmt.Errorf("%s: %w", s.end, err)
		}
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // why the handlers, and with them all else, ended
		}
		return result{}, err
	}
	kills, err := readKills(logs, settled)
	if err == nil {
		err = checkPassed(logs, s.delivery)
	}
	if err != nil {
		return result{}, err
	}
	if err := r.clear(ctx); err != nil {
		return result{}, fmt.Errorf("clearing up: %w", err)
	}
	return result{report: report, kills: kills, took: time.Since(begin)}, nil
}

// prepare makes what a schedule's handlers need, and starts none.
func (w *world) prepare(ctx context.Context, s schedule, logs string, fail context.CancelCauseFunc) (*run, error) {
	name := func(topic string) string { return fmt.Sprintf("%s-%d", topic, s.seed) }
	r := &run{world: w, schedule: s, logs: logs, database: fmt.Sprintf("bank%d", s.seed), topics: audit.DefaultTopics()}
	for _, t := range []*string{&r.topics.ConfirmAccountCreation, &r.topics.AccountCreationFeedback, &r.topics.ConfirmMoneyTransfer, &r.topics.MoneyTransferFeedback, &r.topics.BalanceChanged} {
		*t = name(*t)
	}
	if err := w.bank.Postgres.CreateDatabase(ctx, r.database); err != nil {
		return nil, err
	}
	if err := w.synchronize(ctx, name); err != nil {
		return nil, err
	}
	r.load = newLoad(w, r.topics, s.seed)
	env := append(w.environment(r.database), r.settings()...)
	machine, err := newMachineClock(logs)
	if slices.ContainsFunc(s.faults, func(f fault) bool { return f.where == theClock }) {
		env = append(env, machine.environment()...)
	}
	r.fleet = newFleet(env, logs, s, fail)
	r.fleet.clock = machine
	return r, err
}

func (r *run) settings() []string {
	s := r.schedule
	return []string{
		fmt.Sprintf("LEAVE_ON_STOP=%t", s.end != plain), // the next one follows at once, and the group's offsets can be set
		"LOG_LEVEL=debug", "REFRESH_SCHEMAS=1s", "UNKNOWN_SCHEMA_AFTER=1s", "KAFKA_MAX_POLL_INTERVAL=" + maxPollInterval,
		"KAFKA_GROUP=" + r.group(), "DELIVERY=" + s.delivery, fmt.Sprintf("MAX_BATCH=%d", s.maxBatch),
		"KAFKA_CAC_TOPIC=" + r.topics.ConfirmAccountCreation, "KAFKA_ACF_TOPIC=" + r.topics.AccountCreationFeedback,
		"KAFKA_CMT_TOPIC=" + r.topics.ConfirmMoneyTransfer, "KAFKA_MTF_TOPIC=" + r.topics.MoneyTransferFeedback, "KAFKA_BC_TOPIC=" + r.topics.BalanceChanged,
	}
}

func (r *run) group() string { return fmt.Sprintf("handlers-%d", r.schedule.seed) }

// work has the handlers work while crashes and faults come, and waits until all is answered.
func (r *run) work(ctx context.Context) (*audit.Report, error) {
	opening, cancel := context.WithTimeoutCause(ctx, settleTime, fmt.Errorf("not within %s", settleTime))
	defer cancel()
	if err := r.load.open(opening, r.world, accounts); err != nil {
		return nil, err
	}
	pests := make(chan int, 16)
	faults := make(chan error, 1)
	go func() { faults <- r.fault(ctx, pests) }()
	crashes, over := r.fleet.idle, time.After(loadTime*time.Duration(1+len(r.schedule.crashes)/r.schedule.handlers))
	most := min(12, 2*r.schedule.maxBatch) // what one Postgres transaction for each record can keep up with
	for crashes != nil || faults != nil {
		if err := r.load.burst(ctx, 1+r.load.random.IntN(most)); err != nil {
			return nil, err
		}
		select {
		case n := <-pests:
			for range n {
				garbage, err := r.load.garbage()
				if err != nil {
					return nil, err
				}
				r.load.send(ctx, garbage)
			}
		case <-crashes:
			crashes = nil
		case err := <-faults:
			if err != nil {
				return nil, err
			}
			faults = nil
		case <-over:
			crashes = nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Duration(5+r.load.random.IntN(25)) * time.Millisecond):
		}
	}
	if err := r.load.burst(ctx, 50); err != nil {
		return nil, err
	}
	return r.answered(ctx)
}

// fault makes the faults of the schedule, one after the other.
func (r *run) fault(ctx context.Context, pests chan<- int) error {
	for _, f := range r.schedule.faults {
		select {
		case <-time.After(f.after):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var err error
		switch f.what {
		case storm:
			for range 3 {
				err = errors.Join(err, r.fleet.visit(ctx, f.long, func(instance string) (bool, error) { return r.joined(ctx, instance) }))
			}
		case poison:
			select {
			case pests <- 1 + int(f.long/(20*time.Millisecond)):
			case <-ctx.Done():
			}
		case timeBack, timeAhead:
			err = r.fleet.clock.set(map[string]time.Duration{timeBack: -time.Hour, timeAhead: time.Hour}[f.what])
		default:
			err = r.world.make(ctx, f)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}

// joined says whether both consumers of a handler are in the group, and the group is at rest.
func (r *run) joined(ctx context.Context, instance string) (bool, error) {
	groups, err := kadm.NewClient(r.world.client).DescribeGroups(ctx, r.group())
	if err != nil {
		return false, err
	}
	found := 0
	for _, m := range groups[r.group()].Members {
		if m.InstanceID != nil && (*m.InstanceID == instance+"-cac" || *m.InstanceID == instance+"-cmt") {
			found++
		}
	}
	return found == 2 && groups[r.group()].State == "Stable", groups[r.group()].Err
}

// answered waits until the audit finds nothing wrong: what was sent just now is missing for a while.
func (r *run) answered(ctx context.Context) (*audit.Report, error) {
	if err := r.load.flush(ctx); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(settleTime); ; {
		report, evidence, err := r.check(ctx)
		if err == nil && report.OK() {
			return report, nil
		}
		if time.Now().After(deadline) {
			if err == nil {
				err = r.keep(report, evidence)
			}
			return nil, fmt.Errorf("the books are not right within %s: %w", settleTime, err)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// read reads the topics and the tables.
func (r *run) read(ctx context.Context) (*audit.Evidence, error) {
	evidence, err := audit.ReadTopics(ctx, r.world.kafka, r.world.codec, r.topics, nil)
	if err == nil {
		err = audit.ReadTables(ctx, r.world.bank.Postgres.URL(r.database), evidence)
	}
	return evidence, err
}

// check reads everything and holds it to the rules.
func (r *run) check(ctx context.Context) (*audit.Report, *audit.Evidence, error) {
	evidence, err := r.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	return audit.Check(evidence, audit.Options{AllowRepeats: r.schedule.delivery == atLeastOnce}), evidence, nil
}

// finish stops the handlers in order and checks once more: nothing can come any more.
func (r *run) finish(ctx context.Context) (*audit.Report, error) {
	close(r.fleet.stop)
	r.fleet.members.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	report, evidence, err := r.check(ctx)
	switch {
	case err != nil:
		return nil, err
	case !report.OK():
		return nil, fmt.Errorf("after the stop: %w", r.keep(report, evidence))
	case report.Deliveries != r.load.count:
		return nil, fmt.Errorf("%d records are on the command topics, %d were sent", report.Deliveries, r.load.count)
	case report.Mended > 0 || report.DeadLetters != r.load.garbled+report.Reused:
		return nil, fmt.Errorf("%d records are dead letters, of them %d that can be handled, where %d can't be handled and %d have the id of another one",
			report.DeadLetters, report.Mended, r.load.garbled, report.Reused)
	}
	return report, r.repeatsHaveCauses(report)
}

// perDelivery is how often something may be published again for each record that was read again: its answer and two events.
const perDelivery = 3

// repeatsHaveCauses says whether no more came twice than what handlers have read twice. A broker that refuses some records of a topic has
// others repeated without that, at least once.
func (r *run) repeatsHaveCauses(report *audit.Report) error {
	if slices.ContainsFunc(r.schedule.faults, func(f fault) bool { return f.where == oneBroker || f.where == brokers }) {
		return nil
	}
	again, err := readAgain(r.logs)
	if err == nil && report.Repeats > perDelivery*again {
		err = fmt.Errorf("%d answers, events and dead letters were repeated, and only %d records read again", report.Repeats, again)
	}
	return err
}

// clear removes what the schedule leaves in the world.
func (r *run) clear(ctx context.Context) error {
	var names []string
	for _, t := range []string{r.topics.ConfirmAccountCreation, r.topics.ConfirmMoneyTransfer} {
		names = append(names, t, audit.DeadLetter(t))
	}
	names = append(names, r.topics.AccountCreationFeedback, r.topics.MoneyTransferFeedback, r.topics.BalanceChanged)
	if _, err := kadm.NewClient(r.world.client).DeleteTopics(ctx, names...); err != nil {
		return err
	}
	return r.sql(ctx, "DROP DATABASE "+r.database+" WITH (FORCE)")
}

// keep writes the evidence beside the logs, and returns what was found as an error.
func (r *run) keep(report *audit.Report, evidence *audit.Evidence) error {
	text, err := json.MarshalIndent(evidence, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(r.logs, "evidence.json"), text, 0o600)
	}
	var found strings.Builder
	fmt.Fprintf(&found, "%v", report.Found)
	for i, v := range report.Violations {
		if i == 10 {
			break
		}
		fmt.Fprintf(&found, "\n  %v", v)
	}
	return errors.Join(errors.New(found.String()), err)
}
