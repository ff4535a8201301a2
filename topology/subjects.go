package topology

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"openbank/registry"
)

// version is what a registry has under a subject.
type version struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	Type       string      `json:"schemaType"`
	Text       string      `json:"schema"`
	References []Reference `json:"references"`
}

func (v version) kind() string {
	if v.Type == "" {
		return typeAvro
	}
	return v.Type
}

// question is a schema as the registry's API takes it.
type question struct {
	Text       string      `json:"schema"`
	Type       string      `json:"schemaType,omitempty"`
	References []Reference `json:"references,omitempty"`
}

const (
	codeNoLevel = 40408 // the subject has no compatibility level of its own
	writeTries  = 3     // each of our writes may be made twice without harm

	listedAtOnce = 1_000 // what Confluent's registry gives at most
	worthListing = 50    // from so many subjects on, one request for all of them is tried
	askedAtOnce  = 16    // requests to the registry under way
)

func (t *Target) subjects(ctx context.Context) ([]string, error) {
	var subjects []string
	err := t.Registry.Ask(ctx, registry.Question{Method: http.MethodGet, Path: []string{"subjects"}}, &subjects)
	return subjects, err
}

// listLatest is the latest version of every subject, in as few requests as there can be; nil where the registry has no such
// list. It may lack some: a subject that is not in it is asked for by its name.
func (t *Target) listLatest(ctx context.Context) map[string]version {
	all := map[string]version{}
	for offset := 0; ; offset += listedAtOnce {
		query := url.Values{"latestOnly": {"true"}, "offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(listedAtOnce)}}
		var page []version
		err := t.Registry.Ask(ctx, registry.Question{Method: http.MethodGet, Path: []string{"schemas"}, Query: query, Tries: 1}, &page)
		if err != nil {
			return nil
		}
		before := len(all)
		for _, v := range page {
			if v.Subject == "" || v.Text == "" || v.Version == 0 {
				return nil
			}
			if known, twice := all[v.Subject]; !twice || known.Version < v.Version {
				all[v.Subject] = v
			}
		}
		if len(page) != listedAtOnce || len(all) == before { // the last page, or a registry that knows no pages
			return all
		}
	}
}

// latest is a subject's latest version, or registry.ErrUnknownSubject.
func (t *Target) latest(ctx context.Context, subject string) (version, error) {
	return t.oneVersion(ctx, subject, "latest")
}

// oneVersion is a version of a subject, or registry.ErrUnknownSubject. Of a subject that has a level and no versions some registries
// say null, or 404 without one of their codes.
func (t *Target) oneVersion(ctx context.Context, subject, number string) (version, error) {
	var v version
	err := t.Registry.Ask(ctx, registry.Question{Method: http.MethodGet, Path: []string{"subjects", subject, "versions", number}}, &v)
	var refused *registry.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound && !errors.Is(err, registry.ErrNoRegistry) || err == nil && v.Version == 0 && v.Text == "" {
		return version{}, registry.ErrUnknownSubject
	}
	return v, err
}

// version is one version of a subject, or registry.ErrUnknownSubject when there is none.
func (t *Target) version(ctx context.Context, subject string, number int) (version, error) {
	return t.oneVersion(ctx, subject, strconv.Itoa(number))
}

// find is the version that a schema has under a subject, or registry.ErrUnknownSubject or ErrUnknownSchema.
func (t *Target) find(ctx context.Context, subject string, schema question) (version, error) {
	var v version
	err := t.Registry.Ask(ctx, registry.Question{Method: http.MethodPost, Path: []string{"subjects", subject}, Body: schema}, &v)
	return v, err
}

// level is a subject's own compatibility level, or the registry's for "". Empty when the subject has none.
func (t *Target) level(ctx context.Context, subject string) (string, error) {
	q := registry.Question{Method: http.MethodGet, Path: []string{"config"}}
	if subject != "" {
		q.Path = append(q.Path, subject)
		q.Query = url.Values{"defaultToGlobal": {"false"}}
	}
	var answer struct {
		Level string `json:"compatibilityLevel"`
	}
	err := t.Registry.Ask(ctx, q, &answer)
	if isWithoutLevel(err) {
		return "", nil
	}
	return answer.Level, err
}

func (t *Target) setLevel(ctx context.Context, subject, level string) error {
	path := []string{"config"}
	if subject != "" {
		path = append(path, subject)
	}
	body := map[string]string{"compatibility": level}
	return t.Registry.Ask(ctx, registry.Question{Method: http.MethodPut, Path: path, Body: body, Tries: writeTries}, nil)
}

// deleteLevel has the registry's level hold for a subject again.
func (t *Target) deleteLevel(ctx context.Context, subject string) error {
	err := t.Registry.Ask(ctx, registry.Question{Method: http.MethodDelete, Path: []string{"config", subject}, Tries: writeTries}, nil)
	if isWithoutLevel(err) {
		return nil // by another, or by a try whose answer was lost
	}
	return err
}

// isWithoutLevel says that a subject has no level of its own.
func isWithoutLevel(err error) bool {
	var refused *registry.Error
	return errors.Is(err, registry.ErrUnknownSubject) || errors.As(err, &refused) && refused.Code == codeNoLevel
}

// compatible is the registry's verdict on a new version, with its reasons where it says no.
func (t *Target) compatible(ctx context.Context, subject string, schema question) (yes bool, reasons []string, err error) {
	var answer struct {
		Yes      *bool    `json:"is_compatible"`
		Messages []string `json:"messages"`
		Reason   string   `json:"reason"` // Apicurio's
	}
	for _, path := range [][]string{
		{"compatibility", "subjects", subject, "versions"}, // all versions that the level is about
		{"compatibility", "subjects", subject, "versions", "latest"},
	} {
		err = t.Registry.Ask(ctx, registry.Question{
			Method: http.MethodPost, Path: path, Body: schema, Query: url.Values{"verbose": {"true"}}, Tries: readTries,
		}, &answer)
		var refused *registry.Error
		if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusMethodNotAllowed) {
			continue // registries of before 6.1 know only the second
		}
		break
	}
	switch {
	case err != nil:
		return false, nil, err
	case answer.Yes == nil:
		return false, nil, errors.New("the registry's answer has no verdict in it")
	}
	reasons = answer.Messages
	if answer.Reason != "" {
		reasons = append(reasons, answer.Reason)
	}
	return *answer.Yes, reasons, nil
}

func (t *Target) register(ctx context.Context, subject string, schema question) error {
	path := []string{"subjects", subject, "versions"}
	return t.Registry.Ask(ctx, registry.Question{Method: http.MethodPost, Path: path, Body: schema, Tries: writeTries}, nil)
}

// deleteSubject is a soft deletion: the ids of its schemas stay readable, and the registry can be told to bring it back.
func (t *Target) deleteSubject(ctx context.Context, subject string) error {
	err := t.Registry.Ask(ctx, registry.Question{Method: http.MethodDelete, Path: []string{"subjects", subject}, Tries: writeTries}, nil)
	if errors.Is(err, registry.ErrUnknownSubject) {
		return nil // by another, or by a try whose answer was lost
	}
	return err
}

// ask is a schema with the versions that its references stand for at this moment. unknown is a referenced subject that is not
// there yet.
func (t *Target) ask(ctx context.Context, schema Schema, latestOf func(ctx context.Context, subject string) (version, error)) (q question, unknown string, err error) {
	q = question{Text: schema.Text, Type: schema.Type}
	for _, reference := range schema.References {
		if reference.Version == 0 {
			there, err := latestOf(ctx, reference.Subject)
			if errors.Is(err, registry.ErrUnknownSubject) {
				return q, reference.Subject, nil
			}
			if err != nil {
				return q, "", err
			}
			reference.Version = there.Version
		}
		q.References = append(q.References, reference)
	}
	return q, "", nil
}
