package handler

import (
	"context"
	"fmt"
)

// assignor is how the members of the group share the partitions: each keeps what it has where it can. All must name the same.
const assignor = "cooperative-sticky"

// otherAssignor is for whoever left an older handler running, which keeps this one out of the group.
func otherAssignor(group string) string {
	return fmt.Sprintf("group %s has members that share its partitions by another assignor (range, as the older handlers do) than %s; "+
		"there can only be one in a group: stop the older handlers, and work begins", group, assignor)
}

// replaced is for whoever gave two handlers the same place.
func replaced(group, instance string) string {
	return fmt.Sprintf("another handler has this one's place in group %s, %s, and took it back when we did: "+
		"KAFKA_GROUP_INSTANCE_ID is the same for both. This one ends: give it another, or none, for a place of its own", group, instance)
}

// takeOver brings the database to what this code needs, once. It is left as it is until the group has let this handler in, and with that
// until no older handler is in it: to refuse one the second statement of a command that it is in the middle of would be worse than to wait.
func (h *Handler) takeOver(ctx context.Context) error {
	h.taking.Lock()
	defer h.taking.Unlock()
	if h.taken {
		return nil
	}
	if err := h.store.Migrate(ctx); err != nil {
		return err // it says what was done
	}
	if err := h.lease.Serve(ctx); err != nil {
		return fmt.Errorf("beginning to execute: %w", err)
	}
	h.taken = true
	h.prepared.Holds()
	return nil
}

// standBy is for a member of the group that gets no partition yet: it is in charge with the others, and hand-back must see it.
func (l *lane) standBy() {
	l.background.Go(func() {
		if err := l.h.takeOver(l.ctx); err != nil && l.ctx.Err() == nil {
			l.h.fail(err)
		}
	})
}
