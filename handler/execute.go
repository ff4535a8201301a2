package handler

import (
	"context"
	"time"

	"openbank/bank"
	"openbank/store"
)

// idleTick is how soon after going idle the published offsets are written to Postgres.
const idleTick = 500 * time.Millisecond

// executed is a batch after Postgres: what the producer publishes, and whose offsets it finishes.
type executed struct {
	lane    *lane
	records []record
	at      time.Duration // when it was, by meter.now
}

// execute takes all that waits, executes it in one Postgres transaction and hands it to the producer, until the queue is
// closed. While one batch is in Postgres the next gathers, and under load the one before is published.
func (l *lane) execute(ctx context.Context, out *handover) {
	idle := time.NewTicker(idleTick)
	defer idle.Stop()
	stage := l.h.cfg.Health.Stage("executing commands of " + l.topic.name)
	defer stage.Rests()
	isFull := false // the batch that is taken next
	busy := func(n int, full bool) <-chan struct{} {
		isFull = full
		return out.busy(l, n, full)
	}
	for {
		stage.Moves()
		records, open := l.queue.take(idle.C, busy)
		if !open {
			return
		}
		if len(records) == 0 {
			l.progressWhenIdle()
			continue
		}
		if isFull {
			l.h.backlog.Do(l.h.meetsBacklog)
		}
		records = dropStale(records)
		if len(records) == 0 {
			continue
		}
		begun := l.meter.now()
		l.meter.queue.Update((begun - records[0].polled).Seconds())
		l.meter.batch.Update(float64(len(records)))
		batch := l.batch(records)
		outcomes, err := l.h.store.Execute(ctx, batch)
		if err != nil {
			l.h.fail(err)
			return
		}
		l.saved(batch.Progress)
		for i := range records {
			if records[i].command != nil {
				records[i].conclude(&outcomes[0])
				outcomes = outcomes[1:]
			}
		}
		done := l.meter.now()
		l.meter.execute.Update((done - begun).Seconds())
		out.put(executed{lane: l, records: records, at: done})
	}
}

func (h *Handler) meetsBacklog() {
	h.log.Debug("a batch is full for the first time")
	if h.cfg.OnBacklog != nil {
		h.cfg.OnBacklog()
	}
}

// dropStale leaves out records of partitions that went to another handler; it is the one that answers them.
func dropStale(records []record) []record {
	kept := records[:0]
	for _, r := range records {
		if r.epoch.current.Load() {
			kept = append(kept, r)
		} else {
			r.epoch.done(1)
		}
	}
	return kept
}

func (l *lane) batch(records []record) store.Batch {
	b := store.Batch{Commands: make([]store.Command, 0, len(records))}
	for i := range records {
		r := &records[i]
		r.epoch.executed = r.offset + 1
		l.working[r.epoch] = struct{}{}
		c := store.Command{
			Origin:    store.Origin{Topic: l.topic.name, TopicID: l.topic.id, Partition: r.epoch.partition, Offset: r.offset},
			Published: r.offset < r.epoch.published.Load(),
			BeforeIDs: r.offset < r.epoch.beforeIDs,
		}
		switch command := r.command.(type) {
		case *bank.ConfirmAccountCreation:
			c.Creation = command
		case *bank.ConfirmMoneyTransfer:
			c.Transfer = command
		default:
			continue // a dead letter: it only moves the progress
		}
		b.Commands = append(b.Commands, c)
	}
	b.Progress = l.progress(true)
	return b
}

// progress lists what Postgres should know of the partitions at work: how far they are executed (with this transaction, if
// executing) and how far published, which is one batch behind.
func (l *lane) progress(executing bool) []store.Progress {
	var list []store.Progress
	for e := range l.working {
		if !e.current.Load() {
			delete(l.working, e)
			continue
		}
		p := store.Progress{Topic: l.topic.name, TopicID: l.topic.id, Partition: e.partition, ExecutedTo: noOffset, PublishedTo: e.published.Load()}
		if executing {
			p.ExecutedTo = e.executed
		} else if p.PublishedTo == e.saved {
			continue
		}
		list = append(list, p)
	}
	return list
}

// saved notes what Postgres holds now.
func (l *lane) saved(list []store.Progress) {
	for e := range l.working {
		for _, p := range list {
			if p.Partition != e.partition {
				continue
			}
			e.saved = p.PublishedTo
			if e.settled() {
				delete(l.working, e)
			}
		}
	}
}

// lastProgress writes the published offsets at a clean stop, if the servers are there to take them. Kafka must have them first: while the
// group waits for a member that is gone, it answers us only when that one's session is over.
func (l *lane) lastProgress(ctx context.Context, until time.Time, saving time.Duration) {
	confirming, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for e := range l.working {
		for e.current.Load() && !e.confirmed() {
			if pause(confirming, confirmPause) { // the Poll goroutine hears of it
				continue
			}
			if ctx.Err() == nil {
				l.log.Warn("the group does not take the last offsets in time: what was published may be published again at the next start", "group", l.h.cfg.Group, "partition", e.partition)
			}
			break
		}
	}
	limited, cancel := context.WithTimeout(ctx, saving)
	defer cancel()
	l.saving.Wait()
	if list := l.progress(false); len(list) > 0 {
		l.wrote(limited, list, l.h.store.SaveProgress(limited, list))
	}
}

// confirmPause is the time between two looks whether Kafka has taken the last offsets.
const confirmPause = 5 * time.Millisecond

// progressWhenIdle writes the published offsets when no batch takes them along. Without it a few answers would be sent twice after a
// crash. It is no work in flight: a stop that comes meanwhile leaves it to itself, since a server that stands still holds it whatever the
// context says, and lastProgress writes what it may not have written.
func (l *lane) progressWhenIdle() {
	list := l.progress(false)
	if len(list) == 0 {
		return
	}
	written := make(chan error, 1)
	l.saving.Go(func() { written <- l.h.store.SaveProgress(l.taking, list) })
	select {
	case err := <-written:
		l.wrote(l.taking, list, err)
	case <-l.taking.Done():
	}
}

// wrote notes what Postgres holds now, unless err says otherwise. What is no matter of waiting ends the handler.
func (l *lane) wrote(ctx context.Context, list []store.Progress, err error) {
	switch {
	case err == nil:
		l.saved(list)
	case ctx.Err() == nil:
		l.h.fail(err)
	}
}
