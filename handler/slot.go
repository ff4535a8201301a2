package handler

import (
	"context"
	"fmt"

	"openbank/store"
)

// maxHandlers is how many handlers a group can have: far more than a topic has partitions for them.
const maxHandlers = 1000

// takeSlot leases the number that this handler's identity is made of; one that was given is leased by itself, so that it can't be had
// twice.
func (h *Handler) takeSlot(ctx context.Context) (*store.Lease, error) {
	if h.cfg.TransactionalID != "" {
		return h.store.Lease(ctx, h.cfg.TransactionalID, 1)
	}
	return h.store.Lease(ctx, h.cfg.Group, maxHandlers)
}

// holdsSlot is why nothing may be begun under this handler's identity, nil when it may.
func (h *Handler) holdsSlot() error {
	if h.lease.Held() {
		return nil
	}
	return fmt.Errorf("slot %d is not ours at the moment: waiting for Postgres", h.lease.Slot())
}

// transactionalID is the producer's identity: who takes it over has the brokers abort what the former one left open. It is
// empty without transactions.
func (h *Handler) transactionalID() string {
	switch {
	case !h.exactlyOnce:
		return ""
	case h.cfg.TransactionalID != "":
		return h.cfg.TransactionalID
	}
	return h.identity(h.lease.Slot())
}

func (h *Handler) instanceID() string {
	switch {
	case h.cfg.GroupInstanceID != "":
		return h.cfg.GroupInstanceID
	case h.cfg.TransactionalID != "":
		return h.cfg.TransactionalID
	}
	return h.identity(h.lease.Slot())
}

func (h *Handler) identity(slot int) string { return fmt.Sprintf("%s-%d", h.cfg.Group, slot) }

func (h *Handler) delivery() Delivery {
	if h.exactlyOnce {
		return ExactlyOnce
	}
	return AtLeastOnce
}
