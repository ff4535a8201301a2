package handler

import (
	"context"
	"fmt"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
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

// giveUpPlace has the group forget the lane's place, after its consumer is closed: the client does not leave while a join is under way. Only a
// place that goes by our slot is surely nobody else's by now.
func (l *lane) giveUpPlace(ctx context.Context) {
	h := l.h
	if !h.static || h.lease == nil || h.cfg.GroupInstanceID != "" || h.cfg.TransactionalID != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaveWait)
	defer cancel()
	coordinator, err := h.coordinator(ctx)
	if err == nil {
		err = h.lease.Confirm(ctx)
	}
	if err == nil {
		err = h.leaveGroup(ctx, coordinator, h.instanceID()+"-"+l.suffix)
	}
	if err != nil {
		l.log.Debug("our place in the group is kept until it notices that we are gone", "error", err)
	}
}

// leaveGroup takes the member with a place out of our group. That there is none is no error.
func (h *Handler) leaveGroup(ctx context.Context, coordinator, place string) error {
	body := append(appendText(nil, h.cfg.Group), 0, 0, 0, 1) // one member
	body = appendText(appendText(body, ""), place)           // with whatever id
	answer, err := h.cfg.Kafka.call(ctx, coordinator, leaveGroup, body)
	if err != nil {
		return err
	}
	_, code := answer.int32(), answer.int16() // how long to wait before the next request
	answer.times(func() {
		_, _ = answer.text(), answer.text()
		if of := answer.int16(); code == 0 && kafka.ErrorCode(of) != kafka.ErrUnknownMemberID {
			code = of
		}
	})
	switch {
	case answer.cut:
		return fmt.Errorf("leaving group %s: the answer is cut short", h.cfg.Group)
	case code != 0:
		return fmt.Errorf("leaving group %s: %w", h.cfg.Group, brokerError(code))
	}
	return nil
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
