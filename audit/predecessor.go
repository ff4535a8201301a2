package audit

import "openbank/bank"

// oldEvents are the changes that confirmed transfers from before the take-over led to, as far as the commands are still on their
// topic. The handlers of 2019 published them without a version, lost some and sent some again; what the balances were is not
// known any more.
type oldEvents map[bank.BalanceChanged]bool

func (c *checker) oldEvents() oldEvents {
	old := oldEvents{}
	for _, h := range c.histories {
		if h.outcome == nil || h.outcome.Seq != 0 || h.outcome.Reason != "" {
			continue
		}
		for _, delivery := range h.deliveries {
			if delivery.Transfer != nil {
				known := bank.Side{Known: true}
				for _, event := range delivery.Transfer.AppendEvents(nil, known, known) {
					old[event] = true
				}
			}
		}
	}
	return old
}

// has tells whether an event without a version may be one of them.
func (o oldEvents) has(event bank.BalanceChanged) bool {
	event.NewBalance, event.Version = 0, 0
	return o[event]
}
