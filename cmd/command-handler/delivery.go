package main

import (
	"openbank/environment"
	"openbank/handler"
)

// configureDelivery reads what is promised, under which identity, and what to do where Kafka and Postgres contradict each other.
func (v *values) configureDelivery(c *handler.Config, fault func(name, format string, args ...any)) {
	toggle := func(name string) bool {
		on, err := environment.Switch(v.value[name])
		if err != nil {
			fault(name, "%w", err)
		}
		return on
	}
	c.Delivery = handler.Delivery(v.value["delivery"])
	if !c.Delivery.Valid() {
		fault("delivery", "%q is none of auto, exactly-once, at-least-once", v.value["delivery"])
	}
	c.TransactionalID, c.GroupInstanceID = v.value["kafka-transactional-id"], v.value["kafka-group-instance-id"]
	c.LeaveOnStop = toggle("leave-on-stop")
	c.NewTopics = toggle("new-topics")
	switch rewind, skip := toggle("rewind"), toggle("skip-ahead"); {
	case rewind && skip:
		fault("rewind", "it contradicts SKIP_AHEAD: set one of them")
	case rewind:
		c.Ahead = handler.RewindAhead
	case skip:
		c.Ahead = handler.SkipAhead
	}
}
