package store

import (
	"strconv"
	"strings"
)

// layout is the names under which a database keeps the bank. The handlers of 2019 left two sets of names; whatever is
// written in SQL here names tables in braces, {balance}, and is put into a layout's own words before it is used. Both
// may be in one database, so no name of ours is in both.
type layout struct {
	name                          string // as DATABASE_LAYOUT has it
	balance, creations, transfers string // tables
	accountType                   string // the column with AUTO or MANUAL
	maintainUpdatedAt             string // the function of the trigger on balance
	sequence, topics, progress    string // ours
	tenure                        string // ours: when we were in charge
	refuseOthers                  string // ours: the guard's function
	migrations                    string // what an earlier version of ours kept its migrations in
	migrating, serving            int64  // advisory locks: of whoever changes the tables, of every handler
}

// clojureLayout is the names of the reference's first handler, and of an empty database.
var clojureLayout = layout{
	name:    "clojure",
	balance: "balance", creations: "cac", transfers: "cmt",
	accountType:       "type",
	maintainUpdatedAt: "maintain_updated_at",
	sequence:          "command_seq", topics: "command_topic", progress: "progress",
	tenure: "tenure", refuseOthers: "refuse_others",
	migrations: "openbank_migration",
	migrating:  0x6f70656e62616e6b, serving: 0x6f70656e73657276, // "openbank", "openserv"
}

// rustLayout is the names of the reference's Rust handlers.
var rustLayout = layout{
	name:    "rust",
	balance: "balancer", creations: "cacr", transfers: "cmtr",
	accountType:       "type_",
	maintainUpdatedAt: "maintain_updated_atr",
	sequence:          "command_seqr", topics: "command_topicr", progress: "progressr",
	tenure: "tenurer", refuseOthers: "refuse_othersr",
	migrations: "openbank_migrationr",
	migrating:  0x6f70656e62616e72, serving: 0x6f70656e73727672, // "openbanr", "opensrvr"
}

var layouts = []layout{clojureLayout, rustLayout}

// sql puts text into the layout's names.
func (l layout) sql(text string) string {
	return strings.NewReplacer(
		"{balance}", l.balance, "{cac}", l.creations, "{cmt}", l.transfers,
		"{type}", l.accountType,
		"{maintain_updated_at}", l.maintainUpdatedAt,
		"{command_seq}", l.sequence, "{command_topic}", l.topics, "{progress}", l.progress,
		"{tenure}", l.tenure, "{refuse_others}", l.refuseOthers, "{migration}", l.migrations,
		"{max_batch}", strconv.Itoa(MaxBatch),
	).Replace(text)
}

// rule puts one of Verify's queries into the layout's names.
func (l layout) rule(text string) string {
	return l.sql(strings.NewReplacer("{events}", eventsSQL, "{since}", sinceSQL).Replace(text))
}
