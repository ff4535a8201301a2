package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// adminTimeout bounds a question to the brokers' admin side.
const adminTimeout = 5 * time.Second

// line is a Kafka client that produces, and what it says of its deliveries.
type line struct {
	name    string
	client  *kafka.Producer
	reports *reports
	stuck   <-chan error // gets what a call of client returns that was given up on; nil when there is none
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

func (p *producer) newLine(name string) (line, error) {
	client, err := p.h.newClient(name, p.h.transactionalID(), !p.h.exactlyOnce || p.told, p.link.logs)
	if err != nil {
		return line{}, err
	}
	l := line{name: name, client: client, reports: &reports{link: p.link}}
	l.reports.reading.Go(func() { l.reports.read(client.Events(), l.purge) })
	return l, nil
}

// purge has a client that failed for good report on what it will never send. What was in flight at that moment and is to be sent again would
// have no report otherwise, and no time-out.
func (l *line) purge() {
	_ = l.client.Purge(kafka.PurgeQueue | kafka.PurgeInFlight | kafka.PurgeNonBlocking) // fails only without a client
}

// purgeFailed purges the lines whose client has failed for good, of records too that came while it failed.
func (p *producer) purgeFailed() {
	for _, l := range p.lines() {
		if l.client.GetFatalError() != nil {
			l.purge()
		}
	}
}

// newClient makes a Kafka producer, which reports on each delivery or on none.
func (h *Handler) newClient(name, transactionalID string, reports bool, logs chan kafka.LogEvent) (*kafka.Producer, error) {
	cfg := ProducerSettings(h.cfg.Kafka, h.cfg.ClientID+"-"+name, transactionalID, logs)
	cfg["go.delivery.reports"] = reports
	return kafka.NewProducer(&cfg)
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

// renew replaces a line whose client had a fatal error. Where no new one can be made, the old one stays, for those who ask over its
// connections.
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

// revive replaces the lines whose client has failed for good, and says so. Nothing is on its way.
func (p *producer) revive() error {
	var failed error
	for _, l := range p.lines() {
		fatal := l.client.GetFatalError()
		if fatal == nil {
			continue
		}
		err := p.renew(l)
		if err == nil {
			err = fmt.Errorf("the Kafka client %q failed, a new one goes on: %w", l.name, fatal)
		} else {
			err = fmt.Errorf("making a new Kafka client %q after %w: %w", l.name, fatal, err)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// dismiss closes a line. A client that is stuck in a call can't be closed: it is left behind, and closed when the call has returned.
func (p *producer) dismiss(l line) {
	l.reports.leave()
	end := func() {
		l.client.Close()
		l.reports.reading.Wait()
	}
	if l.stuck == nil {
		end()
		return
	}
	p.left.Add(1)
	go func() {
		<-l.stuck //nolint:errcheck // it was of a transaction that is begun anew
		end()
		p.left.Add(-1)
	}()
}

// admin asks the brokers something over the producer's connections, for at most adminTimeout.
func (p *producer) admin(ctx context.Context, ask func(context.Context, *kafka.AdminClient) error) error {
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
	return ask(ctx, client)
}
