package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Entry is one thing that there is about a command: a record or a row.
type Entry struct {
	Where string    `json:"where"`         // TOPIC PARTITION@OFFSET, or which table
	Time  time.Time `json:"time,omitzero"` // the record's; zero for a row
	Says  string    `json:"says"`          // never a token
}

// maxEntries bounds the history of one violation.
const maxEntries = 40

// tracer finds the history of what violations are about, in a few passes over the evidence: indexes for all of it, held in case of a
// violation, would take more memory than the evidence.
type tracer struct {
	*checker
	keys    map[Key][]Entry
	changes map[eventKey]Key // which command brought an account to a version
	ibans   map[string]bool
	places  map[Place]Key // of records that commands have
}

// trace adds the histories to the violations that are listed.
func (c *checker) trace() {
	if len(c.report.Violations) == 0 {
		return
	}
	t := &tracer{checker: c, keys: map[Key][]Entry{}, changes: map[eventKey]Key{}, ibans: map[string]bool{}, places: map[Place]Key{}}
	for _, v := range c.report.Violations {
		if v.about.key != (Key{}) {
			t.keys[v.about.key] = nil
		}
		if v.about.place != (Place{}) {
			t.places[v.about.place] = Key{}
		}
		if v.about.iban != "" {
			t.ibans[v.about.iban] = true
			t.changes[eventKey{v.about.iban, v.about.version}] = Key{}
		}
	}
	t.findPlaces()
	t.findChanges()
	t.collect()
	for i := range c.report.Violations {
		t.attach(&c.report.Violations[i])
	}
}

// findPlaces finds the commands of the records that violations are about.
func (t *tracer) findPlaces() {
	sources := map[Place][]Place{}
	for i := range t.evidence.Letters {
		l := &t.evidence.Letters[i]
		if _, wanted := t.places[l.Place]; wanted && l.Source.Topic != "" {
			sources[l.Source] = append(sources[l.Source], l.Place)
		}
	}
	for i := range t.evidence.Deliveries {
		d := &t.evidence.Deliveries[i]
		key, isCommand := d.command()
		if !isCommand {
			continue
		}
		t.want(d.Place, key)
		for _, letter := range sources[d.Place] {
			t.want(letter, key)
		}
	}
	for i := range t.evidence.Answers {
		t.want(t.evidence.Answers[i].Place, t.evidence.Answers[i].Command)
	}
}

func (t *tracer) want(place Place, key Key) {
	if _, wanted := t.places[place]; wanted {
		t.places[place] = key
		t.keys[key] = nil
	}
}

// findChanges finds the commands that changed the accounts that violations are about.
func (t *tracer) findChanges() {
	for i := range t.evidence.Outcomes {
		o := &t.evidence.Outcomes[i]
		if o.Reason != "" {
			continue
		}
		for _, change := range t.sides(o) {
			if known, wanted := t.changes[change]; wanted && known == (Key{}) {
				t.changes[change] = o.Command
				t.keys[o.Command] = nil
			}
		}
	}
}

// sides are the changes that a row tells of, of accounts that its command or the row itself names.
func (t *tracer) sides(o *Outcome) []eventKey {
	from, to := o.Debtor, o.Creditor
	if h := t.histories[o.Command]; !o.HasContent && h != nil && len(h.deliveries) > 0 && h.deliveries[0].Transfer != nil {
		from, to = h.deliveries[0].Transfer.From, h.deliveries[0].Transfer.To
	}
	var changes []eventKey
	if o.From.Known {
		changes = append(changes, eventKey{from, o.From.Version})
	}
	if o.To.Known {
		changes = append(changes, eventKey{to, o.To.Version})
	}
	return changes
}

// collect gathers what there is about the commands that were found.
func (t *tracer) collect() {
	places := map[Place]Key{}
	for i := range t.evidence.Deliveries {
		d := &t.evidence.Deliveries[i]
		if key, ok := d.command(); ok {
			if _, wanted := t.keys[key]; wanted {
				places[d.Place] = key
				t.add(key, d.Place.String(), d.Time.Time(), d.says())
			}
		}
	}
	for i := range t.evidence.Letters {
		l := &t.evidence.Letters[i]
		if key, ok := places[l.Source]; ok {
			t.add(key, l.Place.String(), l.Time.Time(), l.says())
		}
	}
	for i := range t.evidence.Outcomes {
		o := &t.evidence.Outcomes[i]
		if _, wanted := t.keys[o.Command]; !wanted {
			continue
		}
		t.add(o.Command, "row of the database", time.Time{}, o.says())
		if o.Reason == "" {
			for _, change := range t.sides(o) {
				t.changes[change] = o.Command
			}
		}
	}
	for i := range t.evidence.Events {
		e := &t.evidence.Events[i]
		if key := t.changes[eventKey{e.Event.IBAN, e.Event.Version}]; e.HasVersion && key != (Key{}) {
			t.add(key, e.Place.String(), e.Time.Time(), e.says())
		}
	}
	for i := range t.evidence.Answers {
		a := &t.evidence.Answers[i]
		if _, wanted := t.keys[a.Command]; wanted {
			t.add(a.Command, a.Place.String(), a.Time.Time(), "answer "+a.text())
		}
	}
}

func (t *tracer) add(key Key, where string, at time.Time, says string) {
	if !at.IsZero() {
		at = at.UTC()
	}
	t.keys[key] = append(t.keys[key], Entry{where, at, says})
}

// attach gives a violation its command and its history.
func (t *tracer) attach(v *Violation) {
	key := v.about.key
	if key == (Key{}) && v.about.iban != "" {
		key = t.changes[eventKey{v.about.iban, v.about.version}]
	}
	if key == (Key{}) {
		key = t.places[v.about.place]
	}
	if key != (Key{}) {
		v.Command = key.ID.String()
		v.History = slices.Clone(t.keys[key])
	} else {
		v.History = t.alone(v.about)
	}
	if account := t.accounts[v.about.iban]; account != nil {
		v.History = append(v.History, Entry{Where: "row of the account " + account.IBAN, Says: account.says()})
	}
	if more := len(v.History) - maxEntries; more > 0 {
		v.History = append(v.History[:maxEntries], Entry{Where: "and", Says: fmt.Sprintf("%d more", more)})
	}
}

// alone is what there is about a record or a version that no command has.
func (t *tracer) alone(about about) []Entry {
	var entries []Entry
	add := func(place Place, at time.Time, says string) {
		entries = append(entries, Entry{place.String(), at.UTC(), says})
	}
	for i := range t.evidence.Deliveries {
		if d := &t.evidence.Deliveries[i]; d.Place == about.place {
			add(d.Place, d.Time.Time(), d.says())
		}
	}
	for i := range t.evidence.Letters {
		if l := &t.evidence.Letters[i]; about.place != (Place{}) && (l.Place == about.place || l.Source == about.place) {
			add(l.Place, l.Time.Time(), l.says())
		}
	}
	for i := range t.evidence.Events {
		e := &t.evidence.Events[i]
		if e.Place == about.place || about.iban != "" && e.Event.IBAN == about.iban && e.Event.Version == about.version {
			add(e.Place, e.Time.Time(), e.says())
		}
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Time.UnixNano(), b.Time.UnixNano()) })
	return entries
}

func (d *Delivery) says() string {
	switch {
	case d.Creation != nil:
		return "command to open an account of type " + string(d.Creation.Type)
	case d.Transfer != nil:
		c := d.Transfer
		return fmt.Sprintf("command to move %d cents from %q to %q for %q", c.Amount, c.From, c.To, c.Description)
	}
	return fmt.Sprintf("%d bytes that can't be handled: %s", d.Body.Length, d.Unreadable)
}

func (l *Letter) says() string {
	replayed := ""
	if l.Replayed {
		replayed = ", replayed since"
	}
	return fmt.Sprintf("dead letter of %s: %s%s", l.Source, l.Reason, replayed)
}

func (e *Event) says() string {
	return fmt.Sprintf("%s version %d: %s", e.Event.IBAN, e.Event.Version, eventText(e.Event))
}

func (o *Outcome) says() string {
	place := "from before the take-over"
	if o.Seq > 0 {
		place = fmt.Sprintf("executed as number %d", o.Seq)
	}
	if o.Origin.Topic != "" {
		place += ", read at " + o.Origin.String()
	}
	return o.text() + ", " + place
}

func (a *Account) says() string {
	return fmt.Sprintf("%d cents at version %d, opening %d at version %d, limit %d", a.Balance, a.Version, a.Opening, a.OpeningVersion, a.Limit)
}
