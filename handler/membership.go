package handler

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// membership is a stay in the group, by which the brokers take offsets: it begins with a join that the group has an id for, and lasts through
// its generations for as long as that is ours.
type membership struct {
	metadata   *kafka.ConsumerGroupMetadata
	member     string // the group's name, the member's id and its place
	generation int32
}

// membership is a client's, nil when it has none now.
func (l *lane) membership(c *kafka.Consumer) *membership {
	metadata, err := c.GetConsumerGroupMetadata()
	if err != nil {
		l.log.Debug("asking for our place in the group", "error", err)
		return nil
	}
	member, generation, err := memberOf(reflect.ValueOf(metadata).Elem().FieldByName("serialized").Bytes())
	if err != nil {
		l.h.fail(err)
	}
	if member == "" {
		return nil
	}
	return &membership{metadata, member, generation}
}

// continues says whether m is the same stay in the group as before. In between two others the group may have given our partitions to another
// member and have them back for us, and the client tells nothing of that: as a static member, refused by its former id when it joins, it joins
// with none and takes the partitions for its own throughout (librdkafka 2.15.1, rd_kafka_cgrp_handle_JoinGroup).
func (m *membership) continues(before *membership) bool {
	return m != nil && before != nil && m.member == before.member
}

// lasts says whether m is before, and no rebalance was in between.
func (m *membership) lasts(before *membership) bool {
	return m.continues(before) && m.generation == before.generation
}

// memberOf reads the member from what the library keeps for the producer, as rd_kafka_consumer_group_metadata_write writes it: a version, the
// generation, the group's name, the member's id, and whether it has a place and which. It is empty while it has no id or no generation.
func memberOf(serialized []byte) (member string, generation int32, err error) {
	rest, ok := bytes.CutPrefix(serialized, []byte("CGMDv2:"))
	if !ok || len(rest) < 4 {
		return "", 0, fmt.Errorf("librdkafka describes its membership in the group otherwise than this handler knows (%q): it goes by version 2.15", serialized)
	}
	generation = int32(binary.NativeEndian.Uint32(rest))
	if names := bytes.SplitN(rest[4:], []byte{0}, 3); generation >= 0 && len(names) == 3 && len(names[1]) > 0 {
		member = string(rest[4:])
	}
	return member, generation, nil
}
