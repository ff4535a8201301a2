package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"openbank/progress"
)

type listLettersCommand struct {
	lettersReach
	chosen
	JSON bool `name:"json" help:"Print a line of JSON for each."`
}

// listed is a letter in JSON.
type listed struct {
	Letter   string     `json:"letter"` // TOPIC/PARTITION/OFFSET
	Time     time.Time  `json:"time"`
	Reason   string     `json:"reason"`
	Was      string     `json:"was"` // the record's TOPIC/PARTITION/OFFSET; "" when the headers don't tell
	Command  string     `json:"command,omitempty"`
	Replayed *time.Time `json:"replayed,omitempty"`
	Refusal  string     `json:"refusal,omitempty"` // why it can't be replayed
}

// Run prints a table.
func (c *listLettersCommand) Run(s *session) error {
	if err := c.check(c.Topics); err != nil {
		return err
	}
	ctx, r, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	entries, err := r.readLetters(ctx, c.Kafka, c.Topics)
	if err != nil {
		return c.why(ctx, s, err)
	}
	table := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	out := json.NewEncoder(s.stdout)
	count := 0
	for i := range entries {
		e := &entries[i]
		if !c.holds(e) {
			continue
		}
		count++
		if c.JSON {
			err = out.Encode(e.listed())
		} else {
			if count == 1 {
				fmt.Fprintln(table, "DEAD LETTER\tTIME\tREASON\tCOMMAND\tREPLAYED")
			}
			_, err = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", e.position, clock(e.time), oneLine(e.letter.Reason), orDash(e.command), e.state())
		}
		if err != nil {
			return err
		}
	}
	if c.JSON {
		return nil
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%s\n", progress.Counted(count, "dead letter"))
	return err
}

func (e *entry) listed() listed {
	l := listed{Letter: e.String(), Time: e.time.UTC(), Reason: e.letter.Reason, Command: e.command, Refusal: e.refusal}
	if was := e.was(); was.topic != "" {
		l.Was = was.String()
	}
	if !e.replayed.IsZero() {
		at := e.replayed.UTC()
		l.Replayed = &at
	}
	return l
}

func (e *entry) state() string {
	switch {
	case !e.replayed.IsZero():
		return clock(e.replayed)
	case e.refusal != "":
		return "can't be"
	}
	return "-"
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// oneLine keeps a record's text from drawing on the terminal: what can't be printed is written as Go writes it in a string, \n or \x1b. All
// else stays, quotes and backslashes too, since reasons quote records themselves.
func oneLine(text string) string {
	quoted := fmt.Sprintf("%q", text)
	return unquoted.Replace(quoted[1 : len(quoted)-1])
}

var unquoted = strings.NewReplacer(`\\`, `\`, `\"`, `"`)
