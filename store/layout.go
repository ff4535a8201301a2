package store

import (
	"strconv"
	"strings"
)

// layout is the names under which a database keeps the bank. The handlers of 2019 left two sets of names; whatever is
// written in SQL here names tables in braces, {balance}, and is put into a layout's own words before it is used.
type layout struct {
	balance, creations, transfers string // tables
	accountType                   string // the column with AUTO or MANUAL
	maintainUpdatedAt             string // the trigger's function
	sequence, topics, progress    string // ours
	migrations                    string // goose's table
}

// clojureLayout is the names of the reference's first handler, and of an empty database.
var clojureLayout = layout{
	balance: "balance", creations: "cac", transfers: "cmt",
	accountType:       "type",
	maintainUpdatedAt: "maintain_updated_at",
	sequence:          "command_seq", topics: "command_topic", progress: "progress",
	migrations: "openbank_migration",
}

// sql puts text into the layout's names.
func (l layout) sql(text string) string {
	return strings.NewReplacer(
		"{balance}", l.balance, "{cac}", l.creations, "{cmt}", l.transfers,
		"{type}", l.accountType,
		"{maintain_updated_at}", l.maintainUpdatedAt,
		"{command_seq}", l.sequence, "{command_topic}", l.topics, "{progress}", l.progress,
		"{max_batch}", strconv.Itoa(MaxBatch),
	).Replace(text)
}

// rule puts one of Verify's queries into the layout's names.
func (l layout) rule(text string) string {
	return l.sql(strings.ReplaceAll(text, "{events}", eventsSQL))
}
