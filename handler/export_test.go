package handler

import (
	"context"
	"sync"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/registry"
	"openbank/store"
)

// Halfway is a handler that works up to Postgres. What it has executed waits until it is told to publish.
type Halfway struct {
	h       *Handler
	batches chan executed
	waiting []executed
	stop    func()
}

// StartHalfway starts one for transfers, in the first slot of its group.
func StartHalfway(ctx context.Context, cfg Config, s *store.Store, r *registry.Client) (*Halfway, error) {
	h, err := New(cfg, s, r)
	if err != nil {
		return nil, err
	}
	work, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	h.fail = fail
	topics, err := h.start(ctx)
	if err != nil {
		return nil, err
	}
	l, err := newLane(h, "cmt", topics[h.cfg.Topics.ConfirmMoneyTransfer])
	if err != nil {
		return nil, err
	}
	h.lanes = append(h.lanes, l)
	w := &Halfway{h: h, batches: make(chan executed, 100)}
	stopPolling := make(chan struct{})
	var stages sync.WaitGroup
	out := h.toProducer()
	stages.Go(func() {
		defer out.close()
		l.execute(work, out)
	})
	stages.Go(func() {
		for range out.ready {
			all, end := out.take()
			for _, b := range all {
				w.batches <- b
			}
			if len(all) > 0 {
				out.done()
			}
			if end {
				return
			}
		}
	})
	stages.Go(func() { l.consume(work, stopPolling) })
	w.stop = sync.OnceFunc(func() {
		l.stopTaking()
		close(stopPolling)
		fail(errStopped)
		stages.Wait()
		l.saving.Wait()
		h.producer.close()
		h.lease.Release()
	})
	return w, nil
}

// Executed waits until so many records wait to be published.
func (w *Halfway) Executed(ctx context.Context, n int) error {
	for _, b := range w.waiting {
		n -= len(b.records)
	}
	for n > 0 {
		select {
		case b := <-w.batches:
			w.waiting = append(w.waiting, b)
			n -= len(b.records)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Publish publishes the batches that wait, in one go, as the producer goroutine would.
func (w *Halfway) Publish(ctx context.Context) error {
	if err := w.Launch(ctx); err != nil {
		return err
	}
	return w.h.producer.land(ctx, 0)
}

// Launch is Publish, but does not wait for few commands to be published.
func (w *Halfway) Launch(ctx context.Context) error {
	p := w.h.producer
	if p.batches == nil {
		p.batches = w.h.toProducer()
	}
	for _, b := range w.waiting {
		p.batches.put(b)
	}
	w.waiting = nil
	batches, _ := p.batches.take()
	return p.publish(ctx, batches)
}

// Fail has a client of the producer fail for good: the one of the answers to few commands, or the other one.
func (w *Halfway) Fail(answers bool) error {
	l := &w.h.producer.main
	if answers {
		l = w.h.producer.answers
	}
	if code := l.client.TestFatalError(kafka.ErrOutOfOrderSequenceNumber, "of the test"); code != kafka.ErrNoError {
		return kafka.NewError(code, "", false)
	}
	return nil
}

// Busy keeps the Poll goroutine busy with f, as records before a call-back do. takeOut takes a partition out of the client and puts it back.
func (w *Halfway) Busy(f func(takeOut func(partition int32))) {
	l := w.h.lanes[0]
	done := make(chan struct{})
	l.post(func() {
		defer close(done)
		f(func(partition int32) { l.assignAgain(l.epochs[partition]) })
	})
	<-done
}

// Rebalanced is how many transactions were aborted because the group has changed.
func (w *Halfway) Rebalanced() uint64 { return w.h.meter.aborts[rebalanced].Get() }

// Stop ends it; what waits is not published.
func (w *Halfway) Stop() { w.stop() }
