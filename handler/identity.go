package handler

import (
	"context"
	"errors"
	"fmt"
)

// begin makes a new client and waits until the brokers have ended whatever its identity left open.
func (p *producer) begin(ctx context.Context) error {
	return p.h.until(ctx, p.h.log, preparingTransactions, func() error {
		if err := p.h.holdsSlot(); err != nil {
			return err
		}
		return p.alone(func() error {
			if err := p.renew(&p.main); err != nil {
				return err
			}
			return p.initialize(ctx)
		})
	})
}

// alone runs f while nobody else takes our identity over from what it left open.
func (p *producer) alone(f func() error) error {
	p.identity.Lock()
	defer p.identity.Unlock()
	return f()
}

// initialize has the brokers end whatever the client's identity left open.
func (p *producer) initialize(ctx context.Context) error {
	err := p.h.insist(ctx, p.main.client.InitTransactions)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("taking over transactional id %s: %w", p.h.transactionalID(), err)
	if p.main.client.GetFatalError() != nil { // such as a privilege that is lacking: the client never asks again
		return errors.Join(err, p.renew(&p.main))
	}
	return err
}

// settled leaves out what was published after all: a commit whose answer was lost may have taken effect, and then the group's offsets
// have moved with it.
func (p *producer) settled(ctx context.Context, batches []executed) error {
	for i := range batches {
		b := &batches[i]
		var epochs []*epoch
		for e := range ends(b.lane, batches[i:i+1]) {
			if e.current.Load() { // the records of others are left out later
				epochs = append(epochs, e)
			}
		}
		if len(epochs) == 0 {
			continue
		}
		next, err := b.lane.committedOffsets(ctx, epochs, false)
		if err != nil {
			return err
		}
		published := executed{lane: b.lane}
		var open []record
		for _, r := range b.records {
			if r.offset < next[r.epoch] {
				published.records = append(published.records, r)
			} else {
				open = append(open, r)
			}
		}
		b.records = open
		p.h.owned.Lock()
		p.finish(published)
		p.h.owned.Unlock()
	}
	return nil
}

// freed has the brokers abort what a handler that is gone left open, so that it does not hold readers of committed records back
// until its time-out. Whoever takes the slot waits for it.
func (h *Handler) freed(ctx context.Context, slot int) {
	if !h.exactlyOnce {
		return
	}
	err := h.lease.Clean(ctx, slot, func(ctx context.Context) error {
		link := newLink(h.log, h.cfg.Kafka)
		defer link.close()
		client, err := h.newClient("cleaner", h.identity(slot), false, link.logs)
		if err != nil {
			return err
		}
		defer client.Close()
		limited, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		return client.InitTransactions(limited)
	})
	if err != nil && ctx.Err() == nil {
		h.log.Warn("could not end the transaction of a handler that is gone: readers may wait until it times out", "slot", slot, "error", err)
	}
}
