package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"openbank/audit"
	"openbank/connect"
	"openbank/progress"
	"openbank/store"
)

type checkCommand struct {
	connection
	Topics       connect.Topics `embed:""`
	AllowRepeats bool           `help:"Answers, events and dead letters may come again, equal: the bank runs at-least-once and a handler was killed."`
	Wait         time.Duration  `default:"20s" help:"How long nothing may come of commands that are under way until they count as not answered."`
	Show         int            `default:"10" help:"How many violations to print with their history; --json has up to 20 of each rule."`
	JSON         bool           `name:"json" help:"Print the report as JSON."`
	Timeout      time.Duration  `default:"1h" help:"How long all of it may take."`
}

func (c *checkCommand) check() error {
	var faults []error
	if c.Wait < 0 || c.Timeout <= 0 {
		faults = append(faults, errors.New("--wait and --timeout are durations such as 20s"))
	}
	if c.Show < 1 {
		faults = append(faults, errors.New("--show must be at least 1"))
	}
	return errors.Join(append(faults, connect.Check(c.Kafka, c.Registry, c.Database, c.Topics))...)
}

// Run prints what was read and what contradicts what. A violation is an error.
func (c *checkCommand) Run(s *session) (err error) {
	if err := s.bank.check(kafkaPart, registryPart, databasePart); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(s.ctx, c.Timeout, fmt.Errorf("the check took longer than %s (--timeout)", c.Timeout))
	defer cancel()
	// The evidence is all of the memory, and lives as long as the check: room for as much garbage would double it for nothing.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	report, err := c.audit(ctx, s)
	switch {
	case err != nil && s.ctx.Err() != nil:
		return errInterrupted
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case isUndefinedTable(err):
		return errNoTables
	case err != nil:
		return err
	}
	if err := c.print(s.stdout, report); err != nil {
		return err
	}
	if !report.OK() {
		return fmt.Errorf("the bank contradicts itself: %s", progress.Counted(violations(report), "violation"))
	}
	return nil
}

// databasePatience is how long the check waits for a database that does not answer: --timeout is for the reading.
const databasePatience = 30 * time.Second

// openSoon is openStore for whoever has better to do than to wait for a database that is not there.
func openSoon(ctx context.Context, database connect.Database, logger *slog.Logger, patience time.Duration) (*store.Store, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := openStore(limited, database, logger)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("no answer from the database (%s) within %s: %w", database.Setting(), patience, err)
	}
	return db, err
}

func (c *checkCommand) audit(ctx context.Context, s *session) (_ *audit.Report, err error) {
	logger := slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	// The database is read last. What is wrong with its address is told before the topics are read, which may take long.
	db, err := openSoon(ctx, c.Database, logger, databasePatience)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	client, err := c.Registry.Client(logger)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	shown := progress.New(s.stderr)
	begun := false
	done := func() {
		if begun {
			shown.Done("done")
		}
	}
	step := func(title string) {
		done()
		shown.Step(title)
		begun = true
	}
	evidence, err := audit.Read(ctx, audit.Source{
		Kafka: c.Kafka, Codec: connect.NewCodec(client), Database: db, Topics: audit.Topics(c.Topics.Names()), Wait: c.Wait,
		Step: step, Progress: shown.At,
	})
	if err != nil {
		shown.Abandon()
		return nil, err
	}
	step("checking")
	report := audit.Check(evidence, audit.Options{AllowRepeats: c.AllowRepeats})
	done()
	return report, nil
}

func violations(r *audit.Report) int {
	count := 0
	for _, found := range r.Found {
		count += found
	}
	return count
}

// checked is the report as JSON.
type checked struct {
	OK bool `json:"ok"`
	*audit.Report
}

func (c *checkCommand) print(out io.Writer, r *audit.Report) error {
	if c.JSON {
		return printJSON(out, checked{r.OK(), r})
	}
	var text strings.Builder
	writeFound(&text, r, r.OK())
	if r.OutOfOrder > 0 {
		writeLine(&text, "", "%s of them after one of a later version: their headers order them", n(r.OutOfOrder))
	}
	if r.Repeats > 0 {
		writeLine(&text, "repeats", "%s, each equal to what was there", n(r.Repeats))
	}
	if r.Mended > 0 {
		writeLine(&text, "mended", "%s that could be handled now", progress.Counted(r.Mended, "dead letter"))
	}
	if r.Replayed > 0 {
		writeLine(&text, "replayed", "%s", progress.Counted(r.Replayed, "dead letter"))
	}
	writeBooks(&text, r)
	writeUnchecked(&text, r)
	if r.OK() {
		text.WriteString("\neverything that can be checked holds\n")
	} else {
		c.writeViolations(&text, r)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// writeUnchecked says what is not known.
func writeUnchecked(text *strings.Builder, r *audit.Report) {
	say := func(count int, what, why string) {
		if count > 0 {
			writeLine(text, "not checked", "%s: %s", progress.Counted(count, what), why)
		}
	}
	u := r.Unchecked
	say(u.UnderWay, "record", "came during the check and not executed yet")
	say(u.Commands, "row", "its command is deleted from its topic: a confirmed one was replayed as its row has it, of a rejected one its accounts were compared")
	say(u.Answers, "command", "its answer may be deleted")
	say(u.Events, "event", "it may be deleted")
	say(u.Letters, "dead letter", "it may be deleted")
	say(u.Sources, "dead letter", "the record that it was is deleted")
	say(r.Old, "event", "published by a predecessor, without a version")
}

// writeViolations says how often each rule was violated and tells the first violations of each in turn: one cause can violate a rule a
// million times and another one once, and that one may say more.
func (c *checkCommand) writeViolations(text *strings.Builder, r *audit.Report) {
	fmt.Fprintf(text, "\n%s:\n", progress.Counted(violations(r), "violation"))
	byRule := map[audit.Rule][]audit.Violation{}
	var rules []audit.Rule
	for _, v := range r.Violations {
		if len(byRule[v.Rule]) == 0 {
			rules = append(rules, v.Rule)
			fmt.Fprintf(text, "  %s (%s)\n", v.Rule, n(r.Found[v.Rule]))
		}
		byRule[v.Rule] = append(byRule[v.Rule], v)
	}
	shown := 0
	for i := 0; shown < min(c.Show, len(r.Violations)); i++ {
		for _, rule := range rules {
			if i < len(byRule[rule]) && shown < c.Show {
				writeViolation(text, byRule[rule][i])
				shown++
			}
		}
	}
	if shown < len(r.Violations) {
		fmt.Fprintf(text, "\n--show=%d tells more of them\n", len(r.Violations))
	}
}

func writeViolation(text *strings.Builder, v audit.Violation) {
	fmt.Fprintf(text, "\n%s\n  %s: %s\n", v.Rule, v.Subject, v.Detail)
	if v.Command != "" {
		fmt.Fprintf(text, "  command %s\n", v.Command)
	}
	for _, e := range v.History {
		at := ""
		if !e.Time.IsZero() {
			at = e.Time.Format("2006-01-02 15:04:05.000 ")
		}
		fmt.Fprintf(text, "    %s%s: %s\n", at, e.Where, e.Says)
	}
}
