package topology

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"openbank/registry"
)

// book is what the registry has, read once.
type book struct {
	target *Target
	there  map[string]bool
	mutex  sync.Mutex
	latest map[string]version // version 0: there is none
	// unlisted is why the registry does not list its subjects to us; those that the topology lists can be asked for all the same.
	unlisted error
}

func (t *Target) openBook(ctx context.Context, interesting int) (*book, error) {
	subjects, err := t.subjects(ctx)
	if err != nil && !isForbidden(err) {
		return nil, fmt.Errorf("listing the subjects: %w", explainRegistry(err))
	}
	b := &book{target: t, there: make(map[string]bool, len(subjects)), latest: map[string]version{}, unlisted: err}
	for _, subject := range subjects {
		b.there[subject] = true
	}
	if interesting >= worthListing {
		if all := t.listLatest(ctx); all != nil {
			b.latest = all
		}
	}
	return b, nil
}

// cutShort is a note when the registry's list of subjects looks like a part of it.
func (b *book) cutShort() string {
	if n := len(b.there); n > 0 && n%listedAtOnce == 0 {
		return fmt.Sprintf("the registry lists exactly %d subjects and may have more, which are not looked at unless the topology lists them (Apicurio: registry.ccompat.max-subjects)", n)
	}
	return ""
}

func (b *book) latestOf(ctx context.Context, subject string) (version, error) {
	b.mutex.Lock()
	v, known := b.latest[subject]
	b.mutex.Unlock()
	if known && v.Version == 0 {
		return v, registry.ErrUnknownSubject
	}
	if known {
		return v, nil
	}
	// Not being listed proves nothing: Apicurio lists no more than 1,000 subjects.
	v, err := b.target.latest(ctx, subject)
	if err != nil && !errors.Is(err, registry.ErrUnknownSubject) {
		return v, err
	}
	// Another may register it between two looks at once: all of the plan goes by the first answer.
	b.mutex.Lock()
	first, known := b.latest[subject]
	if !known {
		b.latest[subject] = v
		first = v
	}
	b.mutex.Unlock()
	if first.Version == 0 {
		return first, registry.ErrUnknownSubject
	}
	return first, nil
}

// verdict is what comes of comparing one subject.
type verdict struct {
	changes    []Change
	notes      []string
	unresolved []unresolved
}

func (t *Target) planSubjects(ctx context.Context, plan *Plan) error {
	wanted := plan.topology.schemas()
	book, err := t.openBook(ctx, len(wanted))
	if err != nil {
		return err
	}
	if level := plan.topology.Compatibility; level != "" {
		found, err := t.level(ctx, "")
		switch {
		case isForbidden(err):
			plan.Unchecked = append(plan.Unchecked, "the registry's compatibility level: "+explainRegistry(err).Error())
		case err != nil:
			return fmt.Errorf("reading the registry's compatibility level: %w", explainRegistry(err))
		case found != level:
			plan.Changes = append(plan.Changes, Change{Kind: KindRegistry, Action: Update, Name: "registry", Fields: []Field{{Name: "compatibility", From: found, To: level}}})
		}
	}
	verdicts := make([]verdict, len(wanted))
	var readable atomic.Bool
	asking, while := errgroup.WithContext(ctx)
	asking.SetLimit(askedAtOnce)
	for i, schema := range wanted {
		asking.Go(func() error {
			v, err := book.compare(while, schema, plan.topology.Compatibility)
			if isForbidden(err) { // the others may be read
				v, err = unreadable(schema, err), nil
			} else if err == nil {
				readable.Store(true)
			}
			if err != nil {
				return fmt.Errorf("looking up subject %s: %w", schema.Subject, explainRegistry(err))
			}
			verdicts[i] = v
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		return err
	}
	if book.unlisted != nil && !readable.Load() {
		return fmt.Errorf("listing the subjects: %w", explainRegistry(book.unlisted))
	}
	settleReferences(verdicts)
	listed := make(map[string]bool, len(wanted))
	for i, v := range verdicts {
		listed[wanted[i].Subject] = true
		plan.Changes = append(plan.Changes, v.changes...)
		plan.Notes = append(plan.Notes, v.notes...)
		if len(v.changes) == 0 {
			plan.Existing++
		}
	}
	if err := plan.unlistedSubjects(ctx, book, listed, book.needed(ctx, wanted)); err != nil {
		return err
	}
	if book.unlisted != nil {
		if plan.options.DeleteSubjects {
			return fmt.Errorf("listing the subjects, to delete those that the topology does not list: %w", explainRegistry(book.unlisted))
		}
		plan.Unchecked = append(plan.Unchecked, "which subjects there are besides: "+explainRegistry(book.unlisted).Error())
	}
	if note := book.cutShort(); note != "" {
		plan.Notes = append(plan.Notes, note)
	}
	return nil
}

func (p *Plan) unlistedSubjects(ctx context.Context, b *book, listed, needed map[string]bool) error {
	for subject := range b.there {
		if !listed[subject] && !needed[subject] && !p.topology.keepsSubject(subject) {
			p.Unlisted.Subjects = append(p.Unlisted.Subjects, subject)
		}
	}
	slices.Sort(p.Unlisted.Subjects)
	if !p.options.DeleteSubjects {
		return nil
	}
	changes := make([]Change, len(p.Unlisted.Subjects))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(askedAtOnce)
	for i, subject := range p.Unlisted.Subjects {
		asking.Go(func() error {
			latest, err := b.latestOf(ctx, subject)
			if err != nil && !isForbidden(err) && !errors.Is(err, registry.ErrUnknownSubject) {
				return fmt.Errorf("looking up subject %s: %w", subject, explainRegistry(err))
			}
			changes[i] = Change{Kind: KindSchema, Action: Delete, Name: subject}
			if err == nil {
				changes[i].ID = strconv.Itoa(latest.ID)
			}
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		return err
	}
	p.Changes = append(p.Changes, changes...)
	p.Unlisted.Subjects = nil
	return nil
}

// keepsSubject says whether a subject is protected, by its own name or as that of an internal or a protected topic. What follows a
// topic's name in a subject is key, value or a record's name, none of which has a dash in it.
func (t *Topology) keepsSubject(subject string) bool {
	topic := subject
	if dash := strings.LastIndexByte(subject, '-'); dash > 0 {
		topic = subject[:dash]
	}
	return matches(t.Protected.Subjects, subject) || t.internal(topic) || matches(t.Protected.Topics, topic)
}

func (b *book) compare(ctx context.Context, schema Schema, global string) (verdict, error) {
	var v verdict
	levelChanges := ""
	_, err := b.latestOf(ctx, schema.Subject)
	if err != nil && !errors.Is(err, registry.ErrUnknownSubject) {
		return v, err
	}
	if schema.Compatibility != "" && err == nil {
		found, err := b.target.level(ctx, schema.Subject)
		if err != nil {
			return v, err
		}
		if found != schema.Compatibility {
			levelChanges = schema.Compatibility
			v.changes = append(v.changes, Change{
				Kind: KindCompatibility, Action: Update, Name: schema.Subject, Fields: []Field{{Name: "compatibility", From: found, To: schema.Compatibility}},
			})
		}
	}
	if levelChanges == "" && schema.Compatibility == "" {
		levelChanges = global // it may hold for this subject
	}
	err = b.compareText(ctx, &v, schema, levelChanges)
	return v, err
}

// compareText accepts a latest version that means the same, whoever wrote it, and any earlier version that is this very text:
// somebody went on to a newer one, which is not to be turned back.
func (b *book) compareText(ctx context.Context, v *verdict, schema Schema, newLevel string) error {
	found, err := b.latestOf(ctx, schema.Subject)
	isNew := errors.Is(err, registry.ErrUnknownSubject)
	if err != nil && !isNew {
		return err
	}
	if !isNew && sameAs(found, schema) {
		return nil
	}
	change := Change{Kind: KindSchema, Action: Create, Name: schema.Subject, Schema: &schema}
	if v.unresolved, err = b.unresolved(ctx, schema); err != nil {
		return err
	}
	if isNew {
		change.Fields = []Field{{Name: "schema", To: "version 1"}}
		if schema.Compatibility != "" {
			change.Fields = append(change.Fields, Field{Name: "compatibility", To: schema.Compatibility})
		}
		change.Fields = append(change.Fields, referenceFields(nil, schema.References)...)
		v.changes = append(v.changes, change)
		return nil
	}
	change.Fields = append([]Field{{Name: "schema", From: fmt.Sprintf("version %d", found.Version), To: "a new version"}}, referenceFields(found.References, schema.References)...)
	change.Before = found.Text
	if len(v.unresolved) > 0 { // the registry can't be asked
		v.changes = append(v.changes, change)
		return nil
	}
	q, _, err := b.target.ask(ctx, schema, b.latestOf)
	if err != nil {
		return err
	}
	older, err := b.target.find(ctx, schema.Subject, q)
	switch {
	case err == nil && older.Version == found.Version:
		return nil // the registry takes the two for the same
	case err == nil:
		v.notes = append(v.notes, fmt.Sprintf("subject %s has gone on to version %d; the topology's schema is version %d, and stays that", schema.Subject, found.Version, older.Version))
		return nil
	case !errors.Is(err, registry.ErrUnknownSchema) && !errors.Is(err, registry.ErrUnknownSubject):
		var refused *registry.Error
		if !errors.As(err, &refused) || registry.Transient(err) || refusesUs(refused) {
			return err
		}
		change.Blocked = "the registry refuses the schema: " + refused.Message
	default:
		if err := b.judge(ctx, &change, q, newLevel); err != nil {
			return err
		}
	}
	v.changes = append(v.changes, change)
	return nil
}

// refusesUs says that it is us whom the registry refuses, and not the schema.
func refusesUs(refused *registry.Error) bool {
	return refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden
}

// isForbidden says that the registry knows who asks, and that they may not.
func isForbidden(err error) bool {
	var refused *registry.Error
	return errors.As(err, &refused) && refused.Status == http.StatusForbidden
}

// unreadable is a subject that the registry does not tell us of.
func unreadable(schema Schema, err error) verdict {
	return verdict{changes: []Change{{
		Kind: KindSchema, Action: Create, Name: schema.Subject, Schema: &schema,
		Fields:  []Field{{Name: "schema", From: "unknown", To: "the topology's"}},
		Blocked: "it may not be compared: " + explainRegistry(err).Error(),
	}}}
}

// judge asks the registry whether a new version is compatible.
func (b *book) judge(ctx context.Context, change *Change, q question, newLevel string) error {
	yes, reasons, err := b.target.compatible(ctx, change.Name, q)
	var refused *registry.Error
	switch {
	case errors.As(err, &refused) && !registry.Transient(err) && !refusesUs(refused):
		change.Blocked = "the registry refuses the schema: " + refused.Message
		return nil
	case err != nil:
		return err
	case yes && newLevel == "":
		return nil
	}
	level, err := b.target.level(ctx, change.Name)
	switch {
	case err != nil:
		return err
	case level == "" || level == "NONE": // NONE is what Apicurio says of a subject without a level
		if level, err = b.target.level(ctx, ""); err != nil {
			return err
		}
	case change.Schema.Compatibility == "":
		newLevel = "" // it is the registry's, and the subject has one of its own
	}
	if yes {
		if newLevel != "" && !implies(level, newLevel) {
			change.levelWarning = fmt.Sprintf("it is compatible by the level that holds (%s); the level becomes %s before it is registered, and by that one the registry may refuse it", level, newLevel)
			change.Warnings = append(change.Warnings, change.levelWarning)
		}
		return nil
	}
	text := fmt.Sprintf("the registry says that it is not compatible (%s)", level)
	if len(reasons) > 0 {
		text += ": " + strings.Join(reasons, "; ")
	}
	switch newLevel {
	case "", level:
		change.Blocked = text
	case "NONE": // nothing is asked for any more
		change.incompatible = text
	default:
		change.incompatible = text
		change.levelWarning = text + "; the level becomes " + newLevel + " before it is registered"
		change.Warnings = append(change.Warnings, change.levelWarning)
	}
	return nil
}

// implies says whether what is compatible by one level is so by another.
func implies(level, other string) bool {
	base, transitive := strings.CutSuffix(level, "_TRANSITIVE")
	otherBase, otherTransitive := strings.CutSuffix(other, "_TRANSITIVE")
	return other == "NONE" || (base == otherBase || base == "FULL") && (transitive || !otherTransitive)
}

// sameAs says whether a version is what a schema says, references included. A reference without a version is to any.
func sameAs(found version, schema Schema) bool {
	if found.kind() != schema.kind() || len(referenceFields(found.References, schema.References)) > 0 {
		return false
	}
	switch schema.kind() {
	case typeAvro:
		return sameSchema(found.Text, schema.Text)
	case typeJSON:
		return sameJSON(found.Text, schema.Text)
	}
	return strings.TrimSpace(found.Text) == strings.TrimSpace(schema.Text)
}

// explainRegistry adds to what the registry says what mostly is the reason for it.
func explainRegistry(err error) error {
	var refused *registry.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return fmt.Errorf("%w: the registry wants SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, or SCHEMA_REGISTRY_BEARER_TOKEN, and others than these", err)
	case errors.As(err, &refused) && refused.Status == http.StatusForbidden:
		return fmt.Errorf("%w: the registry knows this user, who may not do this", err)
	case errors.Is(err, registry.ErrNoRegistry):
		return fmt.Errorf("%w: mend SCHEMA_REGISTRY_URL, which needs the path too where the registry has one, such as /apis/ccompat/v7", err)
	}
	return err
}
