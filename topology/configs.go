package topology

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// configKind is what a topic configuration's values are.
type configKind int

const (
	configOther  configKind = iota
	configNumber            // a whole number
	configMillis            // a whole number of milliseconds
	configBytes             // a whole number of bytes
	configRatio             // from 0 to 1
	configBool
	configWords // one or more of choices, with commas between, in any order
	configWord  // one of choices
)

type configRule struct {
	kind    configKind
	least   int64 // of numbers
	choices []string
}

// topicConfigs are Apache Kafka's topic configurations (4.x, TopicConfig). Others are passed on as they are: brokers of other
// makers have their own.
var topicConfigs = map[string]configRule{
	"cleanup.policy":                          {kind: configWords, choices: []string{"delete", "compact"}},
	"compression.type":                        {kind: configWord, choices: []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}},
	"compression.gzip.level":                  {kind: configNumber, least: -1},
	"compression.lz4.level":                   {kind: configNumber, least: 1},
	"compression.zstd.level":                  {kind: configNumber, least: -131072},
	"delete.retention.ms":                     {kind: configMillis},
	"file.delete.delay.ms":                    {kind: configMillis},
	"flush.messages":                          {kind: configNumber, least: 1},
	"flush.ms":                                {kind: configMillis},
	"follower.replication.throttled.replicas": {},
	"index.interval.bytes":                    {kind: configBytes},
	"internal.segment.bytes":                  {kind: configBytes},
	"leader.replication.throttled.replicas":   {},
	"local.retention.bytes":                   {kind: configBytes, least: -2},
	"local.retention.ms":                      {kind: configMillis, least: -2},
	"max.compaction.lag.ms":                   {kind: configMillis, least: 1},
	"max.message.bytes":                       {kind: configBytes},
	"message.downconversion.enable":           {kind: configBool},
	"message.format.version":                  {},
	"message.timestamp.after.max.ms":          {kind: configMillis},
	"message.timestamp.before.max.ms":         {kind: configMillis},
	"message.timestamp.difference.max.ms":     {kind: configMillis},
	"message.timestamp.type":                  {kind: configWord, choices: []string{"CreateTime", "LogAppendTime"}},
	"min.cleanable.dirty.ratio":               {kind: configRatio},
	"min.compaction.lag.ms":                   {kind: configMillis},
	"min.insync.replicas":                     {kind: configNumber, least: 1},
	"preallocate":                             {kind: configBool},
	"remote.copy.disable":                     {kind: configBool},
	"remote.log.copy.disable":                 {kind: configBool},
	"remote.log.delete.on.disable":            {kind: configBool},
	"remote.storage.enable":                   {kind: configBool},
	"retention.bytes":                         {kind: configBytes, least: -1},
	"retention.ms":                            {kind: configMillis, least: -1},
	"segment.bytes":                           {kind: configBytes, least: 14},
	"segment.index.bytes":                     {kind: configBytes, least: 4},
	"segment.jitter.ms":                       {kind: configMillis},
	"segment.ms":                              {kind: configMillis, least: 1},
	"unclean.leader.election.enable":          {kind: configBool},
}

// configFault says what is wrong with a topic configuration, as far as that shows without a broker: "" when nothing is.
func configFault(name, value string) (wrong, mend string) {
	rule, known := topicConfigs[name]
	if !known {
		like := closest(name, configNames())
		if like != "" && editDistance(name, like) <= 2 {
			return "Kafka has no such topic configuration", "did you mean " + like + "?"
		}
		return "", ""
	}
	switch rule.kind {
	case configNumber, configMillis, configBytes:
		return rule.numberFault(name, value)
	case configRatio:
		if ratio, err := strconv.ParseFloat(value, 64); err != nil || ratio < 0 || ratio > 1 {
			return name + " must be a number from 0 to 1", "write it so, such as 0.5"
		}
	case configBool:
		if value != "true" && value != "false" {
			return name + " must be true or false", "write true or false"
		}
	case configWord, configWords:
		words := []string{value}
		if rule.kind == configWords {
			words = strings.Split(value, ",")
		}
		for _, word := range words {
			if !slices.Contains(rule.choices, strings.TrimSpace(word)) {
				return strconv.Quote(word) + " is no value of " + name, didYouMean(strings.TrimSpace(word), rule.choices)
			}
		}
	case configOther:
	}
	return "", ""
}

func (rule configRule) numberFault(name, value string) (wrong, mend string) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err == nil && n >= rule.least {
		return "", ""
	}
	least := strconv.FormatInt(rule.least, 10)
	if err == nil {
		return name + " is too small", "write a number from " + least
	}
	switch rule.kind {
	case configMillis:
		if millis, ok := durationMillis(value); ok {
			return name + " must be a whole number of milliseconds", "write " + strconv.FormatInt(millis, 10)
		}
		return name + " must be a whole number of milliseconds", "write a number from " + least + ", such as 86400000 for a day"
	case configBytes:
		return name + " must be a whole number of bytes", "write a number from " + least + ", such as 1073741824 for 1 GiB"
	default:
		return name + " must be a whole number", "write a number from " + least
	}
}

// durationMillis reads what people write for times: 7d, 12h, 30m, 15s, 2w, 500ms.
func durationMillis(text string) (int64, bool) {
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			if n, err := strconv.ParseInt(number, 10, 32); err == nil {
				return n * unit.Milliseconds(), true
			}
		}
	}
	duration, err := time.ParseDuration(text)
	return duration.Milliseconds(), err == nil
}

func configNames() []string {
	names := make([]string, 0, len(topicConfigs))
	for name := range topicConfigs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// sameValue says whether two values of a topic configuration mean the same: 0.5 and 0.50, TRUE and true, "delete,compact" and
// "compact, delete".
func sameValue(name, a, b string) bool {
	if a == b {
		return true
	}
	rule := topicConfigs[name]
	switch rule.kind {
	case configBool:
		return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
	case configWords:
		return slices.Equal(sortedWords(a), sortedWords(b))
	case configNumber, configMillis, configBytes:
		left, errA := strconv.ParseInt(strings.TrimSpace(a), 10, 64)
		right, errB := strconv.ParseInt(strings.TrimSpace(b), 10, 64)
		return errA == nil && errB == nil && left == right
	case configRatio:
		left, errA := strconv.ParseFloat(strings.TrimSpace(a), 64)
		right, errB := strconv.ParseFloat(strings.TrimSpace(b), 64)
		return errA == nil && errB == nil && left == right
	case configWord, configOther:
	}
	return strings.TrimSpace(a) == strings.TrimSpace(b)
}

func sortedWords(list string) []string {
	words := strings.Split(list, ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	slices.Sort(words)
	return slices.Compact(words)
}
