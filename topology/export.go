package topology

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
	"golang.org/x/sync/errgroup"

	"openbank/connect"
	"openbank/registry"
)

// Exported is a topology as files: a name, relative to the topology's directory, and its content.
type Exported struct {
	Files map[string][]byte
	// Notes are what is there and could not be written down.
	Notes []string
	// Topics, Subjects and ACLs are how many were.
	Topics, Subjects, ACLs int
}

// ExportedName is the topology's among Exported.Files.
const ExportedName = "topology.yaml"

// ExportOptions say what is left out.
type ExportOptions struct {
	// Internal are names and patterns of topics to leave out, besides the built-in ones. They are written down as internal.
	Internal []string
	// WithoutACLs leaves access control lists out, so that a plan says nothing about them.
	WithoutACLs bool
}

// Export writes down what is there, so that Load and Plan find nothing to do. Of a subject the latest version is written; of a
// topic's configuration what is the topic's own. A nil Registry leaves subjects out. It waits for brokers and registry as Plan
// does.
func (t *Target) Export(ctx context.Context, options ExportOptions) (*Exported, error) {
	if _, err := t.awaitBrokers(ctx); err != nil {
		return nil, err
	}
	e := &exporter{
		Target: t, out: &Exported{Files: map[string][]byte{}}, byName: map[string]*fileTopic{}, taken: map[string]bool{},
		as: &Topology{Internal: slices.Concat(builtinInternal, options.Internal)},
	}
	e.file.Internal = options.Internal
	if err := e.exportTopics(ctx); err != nil {
		return nil, err
	}
	if t.Registry != nil {
		if err := e.exportSubjects(ctx); err != nil {
			return nil, err
		}
	}
	if !options.WithoutACLs {
		if err := e.exportACLs(ctx); err != nil {
			return nil, err
		}
	}
	text, err := yaml.Dump(written(reflect.ValueOf(e.file)), yaml.WithIndent(2), yaml.WithCompactSeqIndent(false), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("writing the topology: %w", err)
	}
	e.out.Files[ExportedName] = append([]byte("# What was there when `synchronizer export` looked.\n"), text...)
	return e.out, nil
}

type exporter struct {
	*Target
	out    *Exported
	file   fileTopology
	as     *Topology
	byName map[string]*fileTopic
	taken  map[string]bool // names of files, in small letters
}

func (e *exporter) note(format string, args ...any) {
	e.out.Notes = append(e.out.Notes, fmt.Sprintf(format, args...))
}

func (e *exporter) exportTopics(ctx context.Context) error {
	there, err := e.metadata(ctx, "listing the topics")
	if err != nil {
		return err
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if !there[name].IsInternal && !e.as.internal(name) {
			names = append(names, name)
		}
	}
	configured, err := e.configs(ctx, names)
	if err != nil {
		return err
	}
	e.file.Topics = make([]fileTopic, 0, len(names)) // pointers into it must stay good
	for _, name := range names {
		found := there[name]
		if found.Err != nil {
			e.note("topic %s: %v", name, connect.Explain(found.Err))
			continue
		}
		replicas := map[int]int{}
		for _, partition := range found.Partitions {
			replicas[len(partition.Replicas)]++
		}
		usual := slices.MaxFunc(slices.Collect(maps.Keys(replicas)), func(a, b int) int { return replicas[a] - replicas[b] })
		if len(replicas) > 1 {
			e.note("topic %s: its partitions have different numbers of replicas; %d is written, and a plan will say so", name, usual)
		}
		topic := fileTopic{Name: name, Partitions: int32(len(found.Partitions)), Replicas: Replicas{Count: int16(usual)}}
		if err := configured[name].err; err != nil {
			e.note("topic %s: its configuration is left out: %v", name, connect.Explain(err))
		}
		for _, value := range configured[name].values {
			if !value.own || value.secret {
				continue
			}
			if wrong, _ := configFault(value.name, value.value); wrong != "" {
				e.note("topic %s: %s is left out: %s", name, value.name, wrong)
				continue
			}
			if topic.Config == nil {
				topic.Config = map[string]string{}
			}
			topic.Config[value.name] = value.value
		}
		e.file.Topics = append(e.file.Topics, topic)
		e.byName[name] = &e.file.Topics[len(e.file.Topics)-1]
	}
	e.out.Topics = len(e.file.Topics)
	return nil
}

func (e *exporter) exportSubjects(ctx context.Context) error {
	global, err := e.level(ctx, "")
	if isForbidden(err) {
		e.note("the registry's compatibility level is left out: %v", explainRegistry(err))
		err = nil
	}
	if err != nil {
		return fmt.Errorf("reading the registry's compatibility level: %w", explainRegistry(err))
	}
	e.file.Registry.Compatibility = global
	subjects, err := e.subjects(ctx)
	if isForbidden(err) {
		e.note("subjects are left out: %v", explainRegistry(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing the subjects: %w", explainRegistry(err))
	}
	slices.Sort(subjects)
	subjects = slices.DeleteFunc(subjects, e.as.keepsSubject)
	book, err := e.openBook(ctx, len(subjects))
	if err != nil {
		return err
	}
	if note := book.cutShort(); note != "" {
		e.note("%s", note)
	}
	versions, subjectLevels, missing := make([]version, len(subjects)), make([]string, len(subjects)), make([]error, len(subjects))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(askedAtOnce)
	for i, subject := range subjects {
		asking.Go(func() (err error) {
			if versions[i], err = book.latestOf(ctx, subject); err == nil {
				subjectLevels[i], err = e.level(ctx, subject)
			}
			var refused *registry.Error
			if isForbidden(err) || errors.Is(err, registry.ErrUnknownSubject) || errors.As(err, &refused) && refused.Status == http.StatusNotFound {
				missing[i], err = err, nil
			}
			if err != nil {
				return fmt.Errorf("looking up subject %s: %w", subject, explainRegistry(err))
			}
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		return err
	}
	for i, subject := range subjects {
		switch {
		case isForbidden(missing[i]):
			e.note("subject %s is left out, and protected: %v", subject, explainRegistry(missing[i]))
			e.file.Protected.Subjects = append(e.file.Protected.Subjects, subject)
			continue
		case missing[i] != nil:
			e.note("subject %s is left out: it has no versions", subject)
			continue
		}
		level := subjectLevels[i]
		if level == "NONE" && global == level {
			level = "" // Apicurio says NONE of a subject without a level
		}
		e.exportSubject(subject, versions[i], level)
	}
	return nil
}

// exportSubject writes a schema's file and lists it where a strategy names its subject, or by its subject.
func (e *exporter) exportSubject(subject string, found version, level string) {
	kind := found.kind()
	extension := wordFor(schemaTypes, kind)
	err := errors.New("schemas of type " + kind + " are not known here")
	if extension != "" {
		err = validSchema(found.Text, kind, found.References)
	}
	if err != nil {
		e.note("subject %s is left out, and protected: %v", subject, err)
		e.file.Protected.Subjects = append(e.file.Protected.Subjects, subject)
		return
	}
	entry := fileSchema{File: e.fileName(subject, extension), Compatibility: level}
	for _, reference := range found.References {
		entry.References = append(entry.References, fileReference{reference.Name, reference.Subject, int32(reference.Version)})
	}
	e.out.Files[path.Clean(entry.File)] = []byte(layOut(found.Text) + "\n")
	e.out.Subjects++
	if name, ok := strings.CutSuffix(subject, "-key"); ok && e.byName[name] != nil {
		entry.Strategy = "topic-name"
		e.byName[name].Key = entry
		return
	}
	if name, ok := strings.CutSuffix(subject, "-value"); ok && e.byName[name] != nil {
		entry.Strategy = "topic-name"
		e.byName[name].Schemas = append(e.byName[name].Schemas, entry)
		return
	}
	if record, err := recordName(found.Text, kind); err == nil {
		if name, ok := strings.CutSuffix(subject, "-"+record); ok && e.byName[name] != nil {
			e.byName[name].Schemas = append(e.byName[name].Schemas, entry)
			return
		}
	}
	entry.Subject = subject
	e.file.Subjects = append(e.file.Subjects, entry)
}

// fileName is a name of its own for a subject's schema.
func (e *exporter) fileName(subject, extension string) string {
	bare := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, subject)
	if len(bare) > 200 {
		bare = bare[:200]
	}
	name := "schemas/" + bare + extension
	for i := 2; e.taken[strings.ToLower(name)]; i++ { // on some file systems A and a are one file
		name = "schemas/" + bare + "~" + strconv.Itoa(i) + extension
	}
	e.taken[strings.ToLower(name)] = true
	return "./" + name
}

func (e *exporter) exportACLs(ctx context.Context) error {
	all, unknown, err := e.listACLs(ctx)
	switch {
	case errors.Is(err, errNoAuthorizer):
		return nil
	case connect.IsUnauthorised(err):
		e.note("ACLs are left out: %v", err)
		return nil
	case err != nil:
		return err
	}
	if unknown > 0 {
		e.note("%s of a kind that is not known here", count(unknown, "ACL"))
	}
	if e.file.ACLs = fileACLs(all); e.file.ACLs == nil {
		e.file.ACLs = []fileACL{}
	}
	e.out.ACLs = len(all)
	return nil
}

// written is a value of the types of file.go as YAML has it, without what is not given.
func written(value reflect.Value) *yaml.Node {
	switch v := value.Interface().(type) {
	case Replicas:
		return scalar("", v.String())
	case fileSchema:
		if reflect.DeepEqual(v, fileSchema{File: v.File}) {
			return scalar("!!str", v.File)
		}
	}
	switch value.Kind() {
	case reflect.Struct:
		node := &yaml.Node{Kind: yaml.MappingNode}
		for i := range value.NumField() {
			if name := value.Type().Field(i).Tag.Get("yaml"); name != "" && !value.Field(i).IsZero() {
				node.Content = append(node.Content, scalar("!!str", name), written(value.Field(i)))
			}
		}
		return node
	case reflect.Slice:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range value.Len() {
			node.Content = append(node.Content, written(value.Index(i)))
		}
		return node
	case reflect.Map:
		node := &yaml.Node{Kind: yaml.MappingNode}
		config := value.Interface().(map[string]string)
		for _, name := range slices.Sorted(maps.Keys(config)) {
			node.Content = append(node.Content, scalar("!!str", name), scalar("!!str", config[name]))
		}
		return node
	case reflect.String:
		return scalar("!!str", value.String())
	default:
		return scalar("", fmt.Sprint(value.Interface()))
	}
}

// scalar is a word; without a tag it is what it looks like.
func scalar(tag, text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
}
