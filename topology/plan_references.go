package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"openbank/registry"
)

// unresolved is a reference to what the registry does not have.
type unresolved struct {
	Reference
	latest int // the version of the subject that there is; 0: none
}

// unresolved are the references of a schema that can't be resolved as the registry is.
func (b *book) unresolved(ctx context.Context, schema Schema) ([]unresolved, error) {
	var all []unresolved
	for _, reference := range schema.References {
		latest, err := b.latestOf(ctx, reference.Subject)
		switch {
		case errors.Is(err, registry.ErrUnknownSubject):
			all = append(all, unresolved{reference, 0})
			continue
		case err != nil:
			return nil, fmt.Errorf("looking up subject %s, which it refers to: %w", reference.Subject, err)
		case reference.Version == 0 || reference.Version == latest.Version:
			continue
		}
		if reference.Version < latest.Version {
			_, err := b.target.version(ctx, reference.Subject, reference.Version)
			if err == nil {
				continue
			}
			if !errors.Is(err, registry.ErrUnknownSubject) {
				return nil, fmt.Errorf("looking up version %d of subject %s, which it refers to: %w", reference.Version, reference.Subject, err)
			}
		}
		all = append(all, unresolved{reference, latest.Version})
	}
	return all, nil
}

// settleReferences says of each new version with references that the registry can't resolve whether the plan registers what they
// need before it. verdicts are in the order of registration.
func settleReferences(verdicts []verdict) {
	made := map[string]*Change{}
	for i := range verdicts {
		v := &verdicts[i]
		for j := range v.changes {
			if change := &v.changes[j]; change.Kind == KindSchema {
				v.settle(change, made)
				made[change.Name] = change
			}
		}
	}
}

func (v *verdict) settle(change *Change, made map[string]*Change) {
	for _, reference := range v.unresolved {
		before := made[reference.Subject]
		switch {
		case change.Blocked != "":
			return
		case before != nil && before.Blocked != "":
			change.Blocked = fmt.Sprintf("it refers to subject %s, which can't be registered", reference.Subject)
		case before != nil && (reference.Version == 0 || reference.Version == reference.latest+1):
			if change.Before != "" {
				change.Warnings = append(change.Warnings, "the registry can't say whether it is compatible before "+reference.Subject+" is there")
			}
		case reference.latest == 0 && before == nil:
			change.Blocked = fmt.Sprintf("it refers to subject %s, which is neither in the registry nor in the topology: list it, or mend the reference", reference.Subject)
		default:
			newest := reference.latest
			if before != nil {
				newest++
			}
			change.Blocked = fmt.Sprintf("it refers to version %d of subject %s, which there is not: the latest is %d", reference.Version, reference.Subject, newest)
		}
	}
}

// needed are the subjects that schemas refer to, and those that these do: a registry refuses to delete them.
func (b *book) needed(ctx context.Context, schemas []Schema) map[string]bool {
	subjects := map[string]bool{}
	var follow func(references []Reference)
	follow = func(references []Reference) {
		for _, reference := range references {
			if subjects[reference.Subject] {
				continue
			}
			subjects[reference.Subject] = true
			if there, err := b.latestOf(ctx, reference.Subject); err == nil { // otherwise it was told already, or is not ours to know
				follow(there.References)
			}
		}
	}
	for _, schema := range schemas {
		follow(schema.References)
	}
	return subjects
}

// referenceFields are the references that differ.
func referenceFields(before, after []Reference) []Field {
	var fields []Field
	for _, reference := range after {
		field := Field{Name: "reference " + reference.Name, To: reference.String()}
		if i := slices.IndexFunc(before, func(r Reference) bool { return r.Name == reference.Name }); i >= 0 {
			if before[i].satisfies(reference) {
				continue
			}
			field.From = before[i].String()
		}
		fields = append(fields, field)
	}
	for _, reference := range before {
		if !slices.ContainsFunc(after, func(r Reference) bool { return r.Name == reference.Name }) {
			fields = append(fields, Field{Name: "reference " + reference.Name, From: reference.String(), To: "none"})
		}
	}
	return fields
}

// satisfies says whether a reference that there is is one that is wanted; without a version any is.
func (r Reference) satisfies(wanted Reference) bool {
	return r.Name == wanted.Name && r.Subject == wanted.Subject && (wanted.Version == 0 || wanted.Version == r.Version)
}

func (r Reference) String() string {
	if r.Version == 0 {
		return r.Subject + ", the latest version"
	}
	return fmt.Sprintf("%s version %d", r.Subject, r.Version)
}
