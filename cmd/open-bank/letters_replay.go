package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/deadletter"
	"openbank/progress"
)

const (
	// replayID is the transactional id of every replay: a second one ends the first, before it looks at what was replayed.
	replayID = "open-bank-dead-letters"
	// most and mostBytes are what one transaction takes.
	most      = 1000
	mostBytes = 8 << 20
)

type replayLettersCommand struct {
	lettersReach
	chosen
	Letters []position    `arg:"" optional:"" help:"The dead letters as list names them, TOPIC/PARTITION/OFFSET, or so the records that they were."`
	All     bool          `help:"All that there are."`
	Again   bool          `help:"Those too that were replayed before."`
	DryRun  bool          `help:"Only say what would be sent."`
	Yes     bool          `short:"y" help:"Don't ask."`
	Wait    time.Duration `default:"30s" help:"How long nothing may come of what was sent until the rest counts as not answered."`
}

func (c *replayLettersCommand) check() error {
	filtered := c.Reason != "" || c.Since != "" || c.Topic != ""
	switch {
	case c.Wait < 0:
		return errors.New("--wait is a duration such as 30s")
	case c.All && len(c.Letters) > 0, filtered && len(c.Letters) > 0:
		return errors.New("name the dead letters, or choose them by --all, --reason, --since and --topic; not both")
	case !c.All && !filtered && len(c.Letters) == 0:
		return errors.New("which dead letters? Name them as list does, or choose them by --reason, --since, --topic or --all")
	}
	return c.chosen.check(c.Topics)
}

// Run sends what was chosen, waits for what comes of it and says so. What was not handled is an error.
func (c *replayLettersCommand) Run(s *session) error {
	if err := c.check(); err != nil {
		return err
	}
	ctx, r, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	return c.why(ctx, s, c.replay(ctx, s, r))
}

func (c *replayLettersCommand) replay(ctx context.Context, s *session, r *reach) error {
	p := &replay{replayLettersCommand: c, session: s, reach: r, byPosition: map[position]*replayed{}}
	if !c.DryRun {
		// Before anything is read: what an earlier replay has in hand is over then, sent and marked, or not.
		var err error
		if p.sender, err = c.newSender(ctx); err != nil {
			return err
		}
		defer p.sender.Close()
	}
	if err := p.choose(ctx); err != nil {
		return err
	}
	if err := p.tell(); err != nil {
		return err
	}
	if len(p.meant) == 0 || c.DryRun {
		return p.refused()
	}
	if err := p.ask(ctx); err != nil {
		return err
	}
	answers := []string{c.Topics.CreationAnswers, c.Topics.TransferAnswers}
	if err := r.follow(ctx, false, append(answers, p.topics...)...); err != nil {
		return err
	}
	err := p.send(ctx)
	if err == nil {
		err = p.await(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w (%s sent and marked as replayed)", c.why(ctx, s, err), progress.Counted(len(p.committed), "dead letter"))
	}
	return p.report()
}

// newSender makes the client that sends, alone.
func (c *replayLettersCommand) newSender(ctx context.Context) (*kgo.Client, error) {
	client, err := c.Kafka.Client("open-bank", kgo.TransactionalID(replayID), kgo.TransactionTimeout(time.Minute),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(1048588)) // the brokers' default: what they took once
	if err != nil {
		return nil, err
	}
	if _, _, err := client.ProducerID(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("beginning to send as %s: %w", replayID, err)
	}
	return client, nil
}

// replay is one run.
type replay struct {
	*replayLettersCommand
	session *session
	reach   *reach
	sender  *kgo.Client

	topics     []string // the dead letter topics that there are
	meant      []*replayed
	byPosition map[position]*replayed
	refusals   []string
	before     int         // left out: replayed before
	again      int         // left out: of a record that another one is of, as at-least-once delivery makes them
	committed  []*replayed // sent and marked, in that order
}

// replayed is a letter that was chosen, and what came of it.
type replayed struct {
	entry
	sent    bool   // and marked
	outcome string // "" so far
	handled bool   // the outcome is an answer
}

// choose reads which letters there are and takes those that are meant.
func (p *replay) choose(ctx context.Context) error {
	entries, err := p.reach.readLetters(ctx, p.Kafka, p.Topics)
	if err != nil {
		return err
	}
	partitions, err := p.partitions(ctx)
	if err != nil {
		return err
	}
	type source struct {
		position
		at int64
	}
	of := func(e *entry) source { return source{e.was(), e.letter.Time.UnixMilli()} }
	sent := map[source]bool{} // or about to be
	for i := range entries {
		if e := &entries[i]; !e.replayed.IsZero() && !p.Again {
			sent[of(e)] = true
		}
	}
	wanted := map[position]bool{}
	for _, position := range p.Letters {
		wanted[position] = true
	}
	for i := range entries {
		e := entries[i]
		meant := slices.Contains(p.Letters, e.position) || slices.Contains(p.Letters, e.was()) || len(p.Letters) == 0 && p.holds(&e)
		delete(wanted, e.position)
		delete(wanted, e.was())
		switch {
		case !meant:
		case e.refusal != "":
			p.refusals = append(p.refusals, fmt.Sprintf("%s can't be replayed: %s", e.position, e.refusal))
		case e.letter.Partition >= partitions[e.letter.Topic]:
			p.refusals = append(p.refusals, fmt.Sprintf("%s can't be replayed: it was in partition %d of %s, which has %d now",
				e.position, e.letter.Partition, e.letter.Topic, partitions[e.letter.Topic]))
		case !e.replayed.IsZero() && !p.Again:
			p.before++
		case sent[of(&e)] && e.letter.Topic != "":
			p.again++
		default:
			sent[of(&e)] = true
			one := &replayed{entry: e}
			p.meant = append(p.meant, one)
			p.byPosition[e.position] = one
		}
	}
	for position := range wanted {
		if position.isRecord() {
			return fmt.Errorf("no dead letter was made of the record %s", position)
		}
		return fmt.Errorf("there is no dead letter %s", position)
	}
	return nil
}

// partitions is how many each command topic has, and notes which dead letter topics are there.
func (p *replay) partitions(ctx context.Context) (map[string]int32, error) {
	there, err := kadm.NewClient(p.reach.kafka).ListTopics(ctx, append(letterTopics(p.Topics), p.Topics.Creations, p.Topics.Transfers)...)
	if err != nil {
		return nil, fmt.Errorf("looking at the topics: %w", err)
	}
	for _, topic := range letterTopics(p.Topics) {
		if there.Has(topic) {
			p.topics = append(p.topics, topic)
		}
	}
	return map[string]int32{p.Topics.Creations: int32(len(there[p.Topics.Creations].Partitions)), p.Topics.Transfers: int32(len(there[p.Topics.Transfers].Partitions))}, nil
}

// tell says what is going to be sent.
func (p *replay) tell() error {
	var text strings.Builder
	counts := map[string]int{}
	for _, one := range p.meant {
		counts[fmt.Sprintf("to %s: %s", one.letter.Topic, oneLine(one.letter.Reason))]++
		if p.DryRun {
			fmt.Fprintf(&text, "%s would be sent to partition %d of %s\n", one.position, one.letter.Partition, one.letter.Topic)
		}
	}
	for _, refusal := range p.refusals {
		fmt.Fprintln(&text, oneLine(refusal))
	}
	if p.again > 0 {
		fmt.Fprintf(&text, "%s left out, of a record that another one is of\n", progress.Counted(p.again, "dead letter"))
	}
	if p.before > 0 {
		fmt.Fprintf(&text, "%s replayed before and left out (--again sends them again)\n", progress.Counted(p.before, "dead letter"))
	}
	fmt.Fprintf(&text, "%s to replay\n", progress.Counted(len(p.meant), "dead letter"))
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&text, "  %s %s\n", progress.Grouped(int64(counts[what])), what)
	}
	_, err := fmt.Fprint(p.session.stdout, text.String())
	return err
}

func (p *replay) ask(ctx context.Context) error {
	if p.Yes {
		return nil
	}
	answer, err := progress.Ask(ctx, p.session.stdin, p.session.stderr, "Send them? [y/N] ")
	switch answer = strings.ToLower(answer); {
	case answer == "y" || answer == "yes":
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("nothing was sent: %w", err)
	case err != nil:
		return errors.New("nothing was sent: nobody answered; --yes sends without asking")
	}
	return errors.New("nothing was sent")
}

// send reads the chosen letters once more, with their values, and sends them, some in each transaction.
func (p *replay) send(ctx context.Context) error {
	var batch []*kgo.Record
	var letters []*replayed // the batch's
	size := 0
	flush := func() error {
		err := p.commit(ctx, batch)
		if err == nil {
			p.committed = append(p.committed, letters...)
			for _, one := range letters {
				one.sent = true
			}
		}
		batch, letters, size = nil, nil, 0
		return err
	}
	err := p.reach.scan(ctx, p.Kafka, p.topics, func(record *kgo.Record) error {
		letter := p.byPosition[position{record.Topic, record.Partition, record.Offset}]
		if letter == nil {
			return nil
		}
		again, err := deadletter.Again(record)
		if err != nil {
			return fmt.Errorf("replaying %s/%d/%d: %w", record.Topic, record.Partition, record.Offset, err) // it was not so a moment ago
		}
		batch, letters = append(batch, again, deadletter.Mark(record)), append(letters, letter)
		if size += len(record.Value) + len(record.Key); len(batch) < 2*most && size < mostBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	if len(batch) == 0 {
		return nil
	}
	return flush()
}

// commit sends records as one: all of them are there, or none.
func (p *replay) commit(ctx context.Context, records []*kgo.Record) error {
	if err := p.sender.BeginTransaction(); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	err := p.sender.ProduceSync(ctx, records...).FirstErr()
	commit := kgo.TransactionEndTry(err == nil)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second) // also when it was interrupted
	defer cancel()
	err = errors.Join(err, p.sender.EndTransaction(ending, commit))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch):
		return errors.New("another replay was begun meanwhile, which ended this one")
	}
	return fmt.Errorf("sending: %w", err)
}

// await follows the answers and the dead letters until all that was sent is among them, or nothing of it has come for a while.
func (p *replay) await(ctx context.Context) error {
	came := newOutcomes(p.committed)
	for last := time.Now(); came.left > 0 && time.Since(last) < p.Wait; {
		waiting, cancel := context.WithDeadline(ctx, last.Add(p.Wait))
		records, err := p.reach.next(waiting)
		over := waiting.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !over {
			return err
		}
		was := came.left
		for _, record := range records {
			if slices.Contains(p.topics, record.Topic) {
				came.back(record)
				continue
			}
			answer, err := p.answer(ctx, record)
			if err != nil {
				return err
			}
			came.answered(string(record.Key), answer)
		}
		if came.left < was {
			last = time.Now()
		}
	}
	return nil
}

func (p *replay) answer(ctx context.Context, record *kgo.Record) (string, error) {
	message, unreadable, err := p.reach.decode(ctx, record.Value)
	if err != nil {
		return "", err
	}
	if reason, ok := plainFields(message)["reason"]; ok {
		return fmt.Sprintf("answered: no (%s)", reason), nil
	}
	if unreadable != "" {
		return "answered, but not readably: " + unreadable, nil
	}
	return "answered: yes", nil
}

// report says what came of each letter. What was not handled is an error.
func (p *replay) report() error {
	var text strings.Builder
	answered, back := 0, 0
	for _, one := range p.meant {
		outcome := one.outcome
		switch {
		case one.handled:
			answered++
		case outcome != "":
			back++
		case !one.sent:
			outcome = "it is gone from the topic and was not sent"
		default:
			outcome = fmt.Sprintf("nothing came of it within %s: is a command handler running?", p.Wait)
		}
		fmt.Fprintf(&text, "%s  %s  %s\n", one.position, orDash(one.command), oneLine(outcome))
	}
	fmt.Fprintf(&text, "%s sent: %s answered, %s came back, %s without an answer\n",
		progress.Counted(len(p.committed), "dead letter"), n(answered), n(back), n(len(p.committed)-answered-back))
	if _, err := fmt.Fprint(p.session.stdout, text.String()); err != nil {
		return err
	}
	if answered < len(p.meant) {
		return fmt.Errorf("%s of %s not handled", n(len(p.meant)-answered), progress.Counted(len(p.meant), "dead letter"))
	}
	return p.refused()
}

// refused is an error if something was meant that can't be replayed.
func (p *replay) refused() error {
	if len(p.refusals) > 0 {
		return fmt.Errorf("%s can't be replayed", progress.Counted(len(p.refusals), "dead letter"))
	}
	return nil
}
