package audit

import "fmt"

// Rule names what was violated.
type Rule string

// The rules, in the order in which they are checked.
const (
	Belongs        Rule = "every record belongs on its topic"
	InCharge       Rule = "nothing is handled on a database that is handed back"
	Answered       Rule = "every command is answered"
	Asked          Rule = "every answer has a command"
	SameAnswer     Rule = "all answers to a command are equal"
	OneOutcome     Rule = "every command has one outcome, which is its answer"
	DeadLettered   Rule = "dead letters are the records that can't be handled, as they came"
	Versioned      Rule = "every BalanceChanged carries its account's version, but those of a predecessor"
	Chained        Rule = "the events of an account form a chain that ends in its balance"
	EventsOnce     Rule = "nothing is published twice"
	AboveLimit     Rule = "no account goes below its limit"
	Conserved      Rule = "balances are openings and what went in and out of the bank"
	Made           Rule = "every account is one that a command made, or that was there before"
	ReplayAgrees   Rule = "replayed in order of execution, every command comes out the same"
	EventsReplayed Rule = "every event is that of a confirmed transfer, and every confirmed transfer has its events"
)

// maxPerRule bounds a report of a bank where all is wrong.
const maxPerRule = 20

// Violation is one finding.
type Violation struct {
	Rule    Rule    `json:"rule"`
	Subject string  `json:"subject"`           // a command, account or record
	Detail  string  `json:"detail"`            // what contradicts what
	Command string  `json:"command,omitempty"` // the id of the command that it is about, or whose change of an account it is about
	History []Entry `json:"history,omitempty"` // all that there is about that command and the account, at most 40 of it

	about about
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.Rule, v.Subject, v.Detail) }

// about is what a violation is about, as far as it is known where it is found.
type about struct {
	key     Key
	place   Place
	iban    string
	version int64 // of the account
	all     string
}

func (a about) String() string {
	switch {
	case a.key != Key{}:
		return a.key.String()
	case a.iban != "":
		return a.iban
	case a.place != Place{}:
		return a.place.String()
	}
	return a.all
}

// Report is what Check found.
type Report struct {
	Deliveries  int `json:"deliveries"`   // records on the command topics
	Commands    int `json:"commands"`     // different commands among them
	Duplicates  int `json:"duplicates"`   // deliveries of a command after its first, answered again
	Reused      int `json:"reused"`       // deliveries of an id with other content, dead-lettered
	Answers     int `json:"answers"`      // records on the feedback topics
	Confirmed   int `json:"confirmed"`    // commands
	Rejected    int `json:"rejected"`     // commands
	Events      int `json:"events"`       // different events
	Old         int `json:"old"`          // events without a version, from before the handler took over
	OutOfOrder  int `json:"out_of_order"` // events that came after one of a later version; allowed
	Repeats     int `json:"repeats"`      // answers, events and dead letters more than needed, each equal to another
	DeadLetters int `json:"dead_letters"` // different ones
	Mended      int `json:"mended"`       // of them, commands that could not be handled then and can be now
	Replayed    int `json:"replayed"`     // of them, sent again with dead-letters replay
	Accounts    int `json:"accounts"`

	// Strings in JSON, whose readers mostly lose what exceeds 2^53.
	Balances int64 `json:"balances,string"` // cents; the sum of all accounts
	Openings int64 `json:"openings,string"` // cents
	Flows    int64 `json:"flows,string"`    // cents; what came in from outside the bank less what went out

	Unchecked Unchecked `json:"unchecked"`

	Violations []Violation  `json:"violations"` // at most 20 of a rule
	Found      map[Rule]int `json:"found"`      // how many there are of each
}

// OK says that nothing was violated.
func (r *Report) OK() bool { return len(r.Found) == 0 }

func (r *Report) violate(rule Rule, subject about, format string, args ...any) {
	r.Found[rule]++
	if r.Found[rule] <= maxPerRule {
		r.Violations = append(r.Violations, Violation{Rule: rule, Subject: subject.String(), Detail: fmt.Sprintf(format, args...), about: subject})
	}
}
