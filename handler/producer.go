package handler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/health"
)

// adminTimeout bounds a question to the brokers' admin side.
const adminTimeout = 5 * time.Second

// producer publishes for both lanes. Its goroutine publishes everything that waits in one go; others drain the delivery reports at all times.
type producer struct {
	h    *Handler
	link *link
	// main is what is published over, but for the answers to few commands: without a transaction those have a line of their own. The client
	// sends a request for each partition, and a broker answers it before it reads the connection's next one: behind events an answer would
	// wait for them. More commands share requests, and two lines would take more of the CPU than they save. What is sent again goes over main,
	// when nothing is on its way over either.
	main     line
	answers  *line        // &main in transactions
	inUse    sync.RWMutex // held to write by whoever replaces or closes a line's client
	identity sync.Mutex   // held by alone
	closed   bool

	told bool         // the client reports on each dead letter of a transaction, once one of them was refused
	left atomic.Int32 // clients that are left behind in a call

	batches *handover
	aloft   []publication // at least once, the oldest first

	arena []byte     // keys, values and versions of the portion at hand; librdkafka copies them
	out   []outgoing // the portion at hand

	// The message at hand: a publication has thousands.
	message kafka.Message
	headers []kafka.Header
}

func newProducer(h *Handler) (*producer, error) {
	p := &producer{h: h, link: newLink(h.log, h.cfg.Kafka)}
	if err := p.open(); err != nil {
		p.link.close()
		return nil, fmt.Errorf("making a Kafka producer: %w", err)
	}
	return p, nil
}

// open makes the lines: a transactional one, or two that are idempotent.
func (p *producer) open() (err error) {
	if p.main, err = p.newLine("producer"); err != nil {
		return err
	}
	p.answers = &p.main
	if p.h.exactlyOnce {
		return nil
	}
	answers, err := p.newLine("answers")
	if err != nil {
		p.dismiss(p.main)
		return err
	}
	p.answers = &answers
	return nil
}

// lines are all of them.
func (p *producer) lines() []*line {
	if p.answers == &p.main {
		return []*line{&p.main}
	}
	return []*line{&p.main, p.answers}
}

// run publishes what the lanes hand over until batches is closed.
func (p *producer) run(ctx context.Context, batches *handover, stage *health.Stage) {
	defer stage.Rests()
	p.batches = batches
	for end := false; !end; {
		var waiting []executed
		select {
		case <-batches.ready:
			waiting, end = batches.take()
		case <-p.landing():
		}
		stage.Moves()
		err := p.publish(ctx, waiting)
		if err == nil && end {
			err = p.land(ctx, 0)
		}
		if err != nil {
			p.h.fail(err)
			return
		}
		if len(p.aloft) == 0 {
			stage.Rests()
		}
	}
}

// publish publishes the batches that waited, if any, and finishes what has landed.
func (p *producer) publish(ctx context.Context, batches []executed) error {
	if len(batches) == 0 {
		return p.land(ctx, overlap)
	}
	if !p.h.exactlyOnce {
		return p.launch(ctx, batches)
	}
	refused, err := p.publishOnce(ctx, batches)
	if err != nil {
		return err
	}
	p.batches.done()
	p.reopen(refused)
	return nil
}

func (p *producer) close() {
	p.inUse.Lock()
	defer p.inUse.Unlock()
	p.closed = true
	for _, l := range p.lines() {
		p.dismiss(*l)
	}
	if p.left.Load() == 0 { // one that is left behind still logs; the process is about to end
		p.link.close()
	}
}

// renew replaces a line. Where no new one can be made, the old one stays, for those who ask over its connections.
func (p *producer) renew(l *line) error {
	p.inUse.Lock()
	defer p.inUse.Unlock()
	fresh, err := p.newLine(l.name)
	if err != nil {
		return err
	}
	p.dismiss(*l)
	*l = fresh
	return nil
}

// anew replaces lines over which a record was not taken, and those whose client has failed for good, which it tells. Nothing is on its way.
// After a refusal, a client was seen to number records of that topic from 0 twice over under one identity, and brokers take what has the numbers
// of another record for repeated, and drop it (librdkafka 2.15.1).
func (p *producer) anew(lines ...*line) error {
	var failed error
	for _, l := range p.lines() {
		fatal := l.client.GetFatalError()
		if fatal == nil && !slices.Contains(lines, l) {
			continue
		}
		switch err := p.renew(l); {
		case err != nil && fatal != nil:
			failed = errors.Join(failed, fmt.Errorf("making a new Kafka client %q after %w: %w", l.name, fatal, err))
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("making a new Kafka client %q: %w", l.name, err))
		case fatal != nil:
			failed = errors.Join(failed, fmt.Errorf("the Kafka client %q failed, a new one goes on: %w", l.name, fatal))
		}
	}
	return failed
}

// purgeFailed purges the lines whose client has failed for good, of records too that came while it failed.
func (p *producer) purgeFailed() {
	for _, l := range p.lines() {
		if l.client.GetFatalError() != nil {
			l.purge()
		}
	}
}

// admin asks the brokers something over the producer's connections, for at most adminTimeout.
func (p *producer) admin(ctx context.Context, ask func(context.Context, *kafka.AdminClient) error) error {
	if err := p.link.reaches(ctx); err != nil {
		return err
	}
	p.inUse.RLock()
	defer p.inUse.RUnlock()
	if p.closed {
		return errStopped
	}
	client, err := kafka.NewAdminClientFromProducer(p.main.client)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	err = ask(ctx, client)
	if err == nil {
		p.link.ok()
	}
	return err
}
