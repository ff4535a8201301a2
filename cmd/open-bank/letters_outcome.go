package main

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/deadletter"
)

// outcomes pairs what comes with what was sent.
type outcomes struct {
	byCommand map[string][]*replayed
	byFrom    map[string]*replayed // by the header that a record that was sent again carries
	left      int
}

func newOutcomes(sent []*replayed) *outcomes {
	o := &outcomes{map[string][]*replayed{}, map[string]*replayed{}, len(sent)}
	for _, one := range sent {
		if one.command != "" {
			o.byCommand[one.command] = append(o.byCommand[one.command], one)
		}
		o.byFrom[one.String()] = one
	}
	return o
}

// answered takes an answer: one for each letter of that command.
func (o *outcomes) answered(command, answer string) {
	for _, one := range o.byCommand[command] {
		if one.outcome == "" {
			one.outcome, one.handled = answer, true
			o.left--
			return
		}
	}
}

// back takes a dead letter. If its command was answered, that was for another letter of the same id.
func (o *outcomes) back(record *kgo.Record) {
	letter := deadletter.Parse(record)
	one := o.byFrom[headerOf(letter.Headers, deadletter.From)]
	if one == nil || one.outcome != "" && !one.handled {
		return
	}
	answer := one.outcome
	one.outcome = "came back as the dead letter " + position{record.Topic, record.Partition, record.Offset}.String() + ": " + letter.Reason
	if one.handled {
		one.handled = false
		o.answered(one.command, answer)
		return
	}
	o.left--
}

// headerOf is the last header of that name.
func headerOf(headers []kgo.RecordHeader, name string) string {
	value := ""
	for _, h := range headers {
		if h.Key == name {
			value = string(h.Value)
		}
	}
	return value
}
