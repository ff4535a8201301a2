package topology

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"openbank/registry"
)

// registerSchema registers a schema. A new subject gets its level before: no schema of another's then comes in between. Some
// registries have no levels for subjects that are not there yet, so it is looked at again. When the schema is refused the level is
// what it was before.
func (r *run) registerSchema(ctx context.Context, schema Schema, isNew bool) error {
	q, unknown, err := r.ask(ctx, schema, r.latest)
	if err != nil {
		return err
	}
	if unknown != "" {
		return fmt.Errorf("it refers to subject %s, which is not there", unknown)
	}
	level := schema.Compatibility
	if !isNew {
		level = "" // a change of its own
	}
	restore := func(refused error) error { return refused }
	if level != "" {
		before, unknown := r.level(ctx, schema.Subject)
		if r.setLevel(ctx, schema.Subject, level) == nil && before != level { // if not, see above
			restore = func(refused error) error { return r.restoreLevel(ctx, schema, before, unknown, refused) }
		}
	}
	if err := r.register(ctx, schema.Subject, q); err != nil {
		// Of two who make a subject at once, one may be told that it is there: so it is, if the other made the same.
		if _, notThere := r.find(ctx, schema.Subject, q); notThere != nil {
			return restore(err)
		}
	}
	if level == "" {
		return nil
	}
	found, err := r.level(ctx, schema.Subject)
	if err == nil && found != level {
		err = r.setLevel(ctx, schema.Subject, level)
	}
	return err
}

// restoreLevel gives a subject whose schema was refused the level that it had before, which may be unknown. If it has got a version by now
// it is another's as well, and so is its level. The error is refused, and that the level stayed, if it did.
func (r *run) restoreLevel(ctx context.Context, schema Schema, before string, unknown, refused error) error {
	_, err := r.latest(ctx, schema.Subject)
	switch {
	case err == nil:
		return refused
	case !errors.Is(err, registry.ErrUnknownSubject): // nor does the registry answer this
	case unknown != nil:
		err = unknown
	case before == "":
		err = r.deleteLevel(ctx, schema.Subject)
	default:
		err = r.setLevel(ctx, schema.Subject, before)
	}
	if err != nil {
		return fmt.Errorf("%w; its compatibility level is %s all the same, which could not be taken back: %w", refused, schema.Compatibility, err)
	}
	return refused
}

// deleteSubjects goes round as long as that gets it further: a registry refuses to delete what another subject refers to.
func (r *run) deleteSubjects(ctx context.Context, changes []*Change) {
	for {
		var refused []*Change
		var faults []error
		for _, change := range changes {
			if r.leaves(ctx, change) {
				continue
			}
			err := r.deleteShown(ctx, change)
			var why *registry.Error
			if errors.As(err, &why) && !registry.Transient(err) && !refusesUs(why) {
				refused, faults = append(refused, change), append(faults, err)
				continue
			}
			r.note(ctx, change, explainRegistry(err))
		}
		if len(refused) == 0 || len(refused) == len(changes) {
			for i, change := range refused {
				r.note(ctx, change, faults[i])
			}
			return
		}
		changes = refused
	}
}

// deleteShown deletes a subject unless it has got a version since the plan was made.
func (r *run) deleteShown(ctx context.Context, change *Change) error {
	latest, err := r.latest(ctx, change.Name)
	switch {
	case errors.Is(err, registry.ErrUnknownSubject):
		return nil // by another meanwhile
	case err != nil && change.ID != "":
		return err
	case err == nil && change.ID != "" && strconv.Itoa(latest.ID) != change.ID:
		return fmt.Errorf("its latest version is %d, of schema id %d, which is not what the plan shows (id %s): plan again", latest.Version, latest.ID, change.ID)
	}
	return r.deleteSubject(ctx, change.Name)
}
