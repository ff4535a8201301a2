package handler

import "github.com/confluentinc/confluent-kafka-go/v2/kafka"

// line is a Kafka client that produces, and what it says of its deliveries.
type line struct {
	name    string
	client  *kafka.Producer
	reports *reports
	stuck   <-chan error // gets what a call of client returns that was given up on; nil when there is none
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

// newClient makes a Kafka producer, which reports on each delivery or on none.
func (h *Handler) newClient(name, transactionalID string, reports bool, logs chan kafka.LogEvent) (*kafka.Producer, error) {
	cfg := ProducerSettings(h.cfg.Kafka, h.cfg.ClientID+"-"+name, transactionalID, logs)
	cfg["go.delivery.reports"] = reports
	return kafka.NewProducer(&cfg)
}

// purge has a client that failed for good report on what it will never send. What was in flight at that moment and is to be sent again would
// have no report otherwise, and no time-out.
func (l *line) purge() {
	_ = l.client.Purge(kafka.PurgeQueue | kafka.PurgeInFlight | kafka.PurgeNonBlocking) // fails only without a client
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
