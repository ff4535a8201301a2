package handler

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// topic is a command topic as the brokers describe it.
type topic struct {
	name       string
	id         [16]byte // all zero where brokers give none (before 2.8)
	partitions int
	replicas   int
}

// differsFrom says whether an id is that of another topic of the same name. Brokers before 2.8 give none, and ones that are brought to 2.8 from some
// moment on.
func (t topic) differsFrom(id [16]byte) bool {
	return id != t.id && id != [16]byte{} && t.id != [16]byte{}
}

// prepare waits for all that the handler needs (brokers, topics, registry, schemas) and returns the command topics by name.
func (h *Handler) prepare(ctx context.Context) (map[string]topic, error) {
	t := h.cfg.Topics
	h.encoders.name(t)
	var topics map[string]topic
	names := []string{t.ConfirmAccountCreation, t.ConfirmMoneyTransfer, t.AccountCreationFeedback, t.MoneyTransferFeedback, t.BalanceChanged}
	err := h.until(ctx, h.log, findingTopics, func() (err error) {
		topics, err = h.describe(ctx, names)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, o := range h.encoders.all() {
		err := h.until(ctx, h.log, findingSchemas, func() error { return o.refresh(ctx, h.registry) })
		if err != nil {
			return nil, err
		}
	}
	return topics, nil
}

// describe asks the brokers for topics that must all be there.
func (h *Handler) describe(ctx context.Context, names []string) (map[string]topic, error) {
	var described kafka.DescribeTopicsResult
	err := h.producer.admin(ctx, func(ctx context.Context, client *kafka.AdminClient) (err error) {
		described, err = client.DescribeTopics(ctx, kafka.NewTopicCollectionOfTopicNames(names), kafka.SetAdminRequestTimeout(adminTimeout))
		return err
	})
	if err != nil {
		var k kafka.Error
		if errors.As(err, &k) && k.IsTimeout() || errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("no answer from Kafka at %s: %s", h.cfg.Kafka.Brokers, h.producer.link.latest())
		}
		return nil, fmt.Errorf("asking Kafka at %s for the topics: %w", h.cfg.Kafka.Brokers, err)
	}
	topics := map[string]topic{}
	var missing, brokers []string
	for _, d := range described.TopicDescriptions {
		switch {
		case d.Error.Code() == kafka.ErrUnknownTopicOrPart:
			missing = append(missing, d.Name)
		case d.Error.Code() != kafka.ErrNoError:
			return nil, fmt.Errorf("describing topic %s: %w", d.Name, d.Error)
		case len(d.Partitions) == 0:
			missing = append(missing, d.Name)
		default:
			topics[d.Name] = topic{name: d.Name, id: topicID(d.TopicID), partitions: len(d.Partitions), replicas: len(d.Partitions[0].Replicas)}
			brokers = append(brokers, replicas(d)...)
		}
	}
	if len(missing) > 0 {
		return nil, &missingTopics{missing}
	}
	slices.Sort(brokers)
	brokers = slices.Compact(brokers)
	h.known.Store(&brokers)
	return topics, nil
}

// replicas are the addresses of the brokers that have replicas of a topic, as often as they have some.
func replicas(d kafka.TopicDescription) (addresses []string) {
	for _, p := range d.Partitions {
		for _, b := range p.Replicas {
			if b.Host != "" { // one that is gone has none
				addresses = append(addresses, net.JoinHostPort(b.Host, strconv.Itoa(b.Port)))
			}
		}
	}
	return addresses
}

// stillThere says whether the topic is the one that the lane began with: what a lane knows of offsets is of that one alone. One that was
// deleted and made anew is a fatalError.
func (l *lane) stillThere(ctx context.Context) error {
	found, err := l.h.describe(ctx, []string{l.topic.name})
	if err != nil {
		return err
	}
	if l.topic.differsFrom(found[l.topic.name].id) {
		return fatalError{fmt.Errorf("%s: the topic was deleted and made anew while this handler read it: what it held and was not handled is lost. Start with --new-topics to go on with the new one",
			l.topic.name)}
	}
	partitions := found[l.topic.name].partitions // there may be more by now
	l.meter.topic.Set(float64(partitions))
	l.seen.Store(max(l.seen.Load(), int32(partitions))) // what the next broker that is asked may not know yet
	return nil
}

// findTopic waits for the answer of stillThere.
func (l *lane) findTopic(ctx context.Context) error {
	return l.h.until(ctx, l.log, findingTopics, func() error { return l.stillThere(ctx) })
}

// missingTopics says which topics the brokers do not have.
type missingTopics struct{ names []string }

func (e *missingTopics) Error() string {
	return fmt.Sprintf("topics are missing: %v: run the synchronizer, or create them", e.names)
}

func topicID(u kafka.UUID) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], uint64(u.GetMostSignificantBits()))
	binary.BigEndian.PutUint64(id[8:], uint64(u.GetLeastSignificantBits()))
	return id
}
