package handler

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/store"
)

func TestTheCommittedOffsetIsHeldAgainstWhatPostgresKnows(t *testing.T) {
	t.Parallel()
	now, before, none := [16]byte{1}, [16]byte{2}, [16]byte{}
	row := func(id [16]byte, executed, published int64) store.Progress {
		return store.Progress{Topic: "t", TopicID: id, Partition: 3, ExecutedTo: executed, PublishedTo: published}
	}
	elsewhere := store.Progress{Topic: "t", TopicID: now, Partition: 4, ExecutedTo: 1, PublishedTo: 1}
	const none64 = int64(noOffset)
	beginning := int64(kafka.OffsetBeginning)
	for name, c := range map[string]struct {
		id        [16]byte
		cfg       Config
		committed int64
		rows      []store.Progress
		want      start
		says      string
		takenOver bool
	}{
		"nothing is known":                                {now, Config{}, none64, []store.Progress{elsewhere}, start{beginning, none64, none64}, "", false},
		"an offset and an empty database":                 {now, Config{}, 70, nil, start{70, 70, 70}, "", false},
		"a predecessor's, in a bank that was taken over":  {now, Config{}, 70, nil, start{70, 70, 70}, "", true},
		"a predecessor's, and --rewind":                   {now, Config{Ahead: RewindAhead}, 70, nil, start{70, 70, 70}, "", true},
		"Postgres has lost everything, and that is known": {now, Config{Ahead: RewindAhead}, 70, nil, start{0, 0, 0}, "", false},
		"both agree":                                    {now, Config{}, 70, []store.Progress{row(now, 70, 60)}, start{70, 70, 70}, "", false},
		"Postgres is a batch ahead":                     {now, Config{}, 70, []store.Progress{row(now, 90, 70)}, start{70, 70, 70}, "", false},
		"the committed offset has expired":              {now, Config{}, none64, []store.Progress{row(now, 90, 70)}, start{70, 70, none64}, "", false},
		"nothing was ever published":                    {now, Config{}, none64, []store.Progress{row(now, 90, 0)}, start{beginning, none64, none64}, "", false},
		"the offsets were set back":                     {now, Config{}, 10, []store.Progress{row(now, 90, 70)}, start{10, 70, 10}, "", false},
		"Postgres was restored":                         {now, Config{}, 91, []store.Progress{row(now, 90, 70)}, start{}, "--rewind", false},
		"Postgres was restored, and that is known":      {now, Config{Ahead: RewindAhead}, 91, []store.Progress{row(now, 90, 70)}, start{90, 70, 90}, "", false},
		"the offset was set forward, and that is meant": {now, Config{Ahead: SkipAhead}, 91, []store.Progress{row(now, 90, 70)}, start{91, 91, 91}, "", false},
		"the topic was made anew":                       {now, Config{}, 5, []store.Progress{row(before, 90, 90)}, start{}, "--new-topics", false},
		"the topic was made anew, without an offset":    {now, Config{}, none64, []store.Progress{row(before, 90, 90)}, start{}, "made anew", false},
		"the topic was made anew, and that is known":    {now, Config{NewTopics: true}, none64, []store.Progress{row(before, 90, 90)}, start{beginning, none64, none64}, "", false},
		"the topic was made anew while it was read":     {now, Config{NewTopics: true}, 5, []store.Progress{row(before, 90, 90)}, start{0, none64, none64}, "", false},
		"the topic was made anew long ago":              {now, Config{}, 7, []store.Progress{row(before, 90, 90), row(now, 9, 7)}, start{7, 7, 7}, "", false},
		"the brokers have learned topic ids since":      {now, Config{}, 70, []store.Progress{row(none, 90, 60)}, start{70, 70, 70}, "", false},
		"ids since, and the offset was set back":        {now, Config{}, 70, []store.Progress{row(none, 90, 90)}, start{70, 90, 70}, "", false},
		"ids since, and nothing was ever published":     {now, Config{}, none64, []store.Progress{row(none, 90, 0)}, start{beginning, none64, none64}, "", false},
		"ids since, on brokers that have no offset":     {now, Config{}, none64, []store.Progress{row(none, 90, 60)}, start{beginning, none64, none64}, "", false},
		"ids since, and an offset of other brokers":     {now, Config{}, 91, []store.Progress{row(none, 90, 90)}, start{91, 91, 91}, "", false},
		"ids since, and the topic was made anew":        {now, Config{}, 70, []store.Progress{row(none, 90, 60), row(before, 95, 95)}, start{}, "--new-topics", false},
		"the brokers know no topic ids":                 {none, Config{}, 70, []store.Progress{row(none, 90, 60)}, start{70, 70, 70}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &lane{h: &Handler{cfg: c.cfg}, log: slog.New(slog.DiscardHandler), topic: topic{name: "t", id: c.id}}
			got, err := l.compare(3, c.committed, c.rows, c.takenOver)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "partition 3 of t") {
					t.Fatalf("%+v, %v", got, err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}
