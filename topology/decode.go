package topology

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// decoder reads YAML into the types of file.go. It goes on after a fault, so that all are told at once, and remembers where
// each value stood, under its path (topics[2].partitions), for the checks that follow.
type decoder struct {
	*faults
	places map[string]place
	again  int // above 0 while a key is read that was given before
	values int // read so far, through aliases too
	merges int // mappings that merge keys have brought so far
	merged int // and their keys
}

// Aliases and merge keys make much of a small file: what they come to grows with the power of their depth.
const (
	mostValues = 1_000_000
	mostMerges = 1_000
	mostMerged = 100_000
)

func newDecoder(name string, text []byte) *decoder {
	return &decoder{faults: &faults{file: name, lines: strings.Split(string(text), "\n")}, places: map[string]place{}}
}

func (d *decoder) decode(text []byte, into any) {
	text, fine := d.characters(text)
	if !fine {
		return
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text), yaml.WithUniqueKeys(false))
	if err != nil {
		d.syntax(err)
		return
	}
	var body *yaml.Node
	for {
		var document yaml.Node
		err := loader.Load(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.syntax(err)
			return
		}
		if len(document.Content) == 0 || isNull(document.Content[0]) {
			continue
		}
		if body != nil {
			d.add(at(document.Content[0]), "", "a second document begins here", "keep one document in the file, without --- between")
			return
		}
		body = document.Content[0]
	}
	if body != nil {
		d.value(body, reflect.ValueOf(into).Elem(), "", "the topology", "")
	}
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func at(node *yaml.Node) place { return place{node.Line, node.Column} }

// resolve looks through an alias.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

var textUnmarshaler = reflect.TypeFor[interface{ UnmarshalText(text []byte) error }]()

// value reads a node into a field. what names, in an error, the thing that the value belongs to.
func (d *decoder) value(node *yaml.Node, into reflect.Value, path, what string, tag reflect.StructTag) {
	if d.values++; d.values > mostValues {
		if d.values == mostValues+1 {
			d.found = nil // of what is read in part nothing can be said
			d.add(at(node), "", fmt.Sprintf("with its aliases the file has more than %d values", mostValues), "use fewer aliases, or several topologies")
		}
		return
	}
	d.stands(path, node)
	node = resolve(node)
	if !d.tagFits(node) {
		return
	}
	if isNull(node) {
		d.add(d.places[path], lastOf(path), "it has no value", "give it one, or leave the key out")
		return
	}
	if into.CanAddr() && into.Addr().Type().Implements(textUnmarshaler) {
		d.text(node, into)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.object(node, into, path, what)
	case reflect.Slice:
		d.list(node, into, path, tag)
	case reflect.Map:
		d.words(node, into, path)
	default:
		d.scalar(node, into, path, tag)
	}
}

// stands remembers where the value of a path is.
func (d *decoder) stands(path string, node *yaml.Node) {
	if _, known := d.places[path]; !known {
		d.places[path] = at(node)
	}
}

func lastOf(path string) string {
	return strings.TrimPrefix(path[strings.LastIndexByte(path, '.')+1:], ".")
}

func (d *decoder) text(node *yaml.Node, into reflect.Value) {
	text, ok := scalarText(node)
	if ok && into.Addr().Interface().(interface{ UnmarshalText(text []byte) error }).UnmarshalText([]byte(text)) == nil {
		return
	}
	d.add(at(node), shown(node), "this is not a number of replicas", "write a number from 1, max, or max N")
}

// object reads a mapping, or a lone scalar where that is short for one.
func (d *decoder) object(node *yaml.Node, into reflect.Value, path, what string) {
	keys := map[string]int{}
	var names []string
	for i := range into.NumField() {
		if name := into.Type().Field(i).Tag.Get("yaml"); name != "" {
			keys[name] = i
			names = append(names, name)
		}
	}
	short, hasShort := into.Addr().Interface().(interface{ short() *string })
	if text, scalar := scalarText(node); scalar && hasShort {
		*short.short() = text
		return
	}
	entries, ok := mapping(node)
	if !ok && hasShort {
		d.add(at(node), shown(node), "this must be one file, or a mapping", "write ./FILE, or the keys "+strings.Join(names, ", ")+", each with a colon and its value")
		return
	}
	if !ok {
		d.add(at(node), shown(node), "this must be a mapping", "write one of the keys "+strings.Join(names, ", ")+", with a colon and its value")
		return
	}
	seen := map[string]place{}
	for _, entry := range d.withMerged(entries) {
		name, ok := d.name(entry.key)
		if !ok {
			continue
		}
		here := at(entry.key)
		before, twice := seen[name]
		if twice {
			d.add(here, name, fmt.Sprintf("this key is given twice, first in line %d", before.line), "keep one of them")
		} else {
			seen[name] = here
		}
		index, known := keys[name]
		if !known {
			if twice {
				continue
			}
			d.add(here, name, "there is no such key in "+what, didYouMean(name, names))
			if meant := closest(name, names); meant != "" {
				seen[meant] = here // it is not missing besides
				d.places[join(path, meant)] = here
			}
			continue
		}
		field, value, below := into.Type().Field(index), into.Field(index), join(path, name)
		if twice { // what is wrong with it is told besides
			d.again++
			if kind := value.Kind(); kind != reflect.Slice && kind != reflect.Map {
				value = reflect.New(value.Type()).Elem()
			}
		}
		d.value(entry.value, value, below, thing(name, what), field.Tag)
		if twice {
			d.again--
		}
	}
	for _, name := range names {
		field := into.Type().Field(keys[name])
		if _, there := seen[name]; !there && field.Tag.Get("required") != "" {
			d.add(d.places[path], "", fmt.Sprintf("%s has no %s", what, name), "add "+name+": …")
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// thing names an element of a list, or an object, in an error.
func thing(key, what string) string {
	switch key {
	case "topics":
		if what == "protected" {
			return what
		}
		return "a topic"
	case "schemas", "subjects", "key":
		return "a schema"
	case "acls":
		return "an entry of acls"
	case "rules":
		return "a rule"
	case "references":
		return "a reference"
	}
	return key
}

// entry is a key of a mapping and its value.
type entry struct{ key, value *yaml.Node }

// name is a key's, or false when it is none.
func (d *decoder) name(key *yaml.Node) (string, bool) {
	key = resolve(key)
	if key.Kind != yaml.ScalarNode {
		d.add(at(key), "", "a key must be a single word", "write KEY: VALUE")
		return "", false
	}
	return key.Value, d.tagFits(key)
}

// withMerged puts the entries of merge keys (<<) after the others, as far as these don't say the same.
func (d *decoder) withMerged(entries []entry) []entry {
	var own, others []entry
	has := map[string]bool{}
	for _, e := range entries {
		if e.key.Tag != "!!merge" {
			own = append(own, e)
			has[resolve(e.key).Value] = true
			continue
		}
		sources := []*yaml.Node{e.value}
		if list := resolve(e.value); list.Kind == yaml.SequenceNode {
			sources = list.Content
		}
		for _, source := range sources {
			if d.merges++; d.merges > mostMerges || d.merged > mostMerged {
				if d.merges == mostMerges+1 || d.merges <= mostMerges {
					d.add(at(e.key), "<<", fmt.Sprintf("the merge keys of the file bring more than %d mappings, or %d keys", mostMerges, mostMerged), "merge fewer, or write their keys out")
				}
				d.merges = mostMerges + 1
				continue
			}
			from := resolve(source)
			d.tagFits(from)
			more, ok := mapping(from)
			if !ok {
				d.add(at(e.key), "<<", "what is merged must be a mapping", "name an anchor of one, such as <<: *defaults")
			}
			d.merged += len(more)
			others = append(others, d.withMerged(more)...)
		}
	}
	for _, e := range others {
		if name := resolve(e.key).Value; !has[name] {
			has[name] = true
			own = append(own, e)
		}
	}
	return own
}

func mapping(node *yaml.Node) ([]entry, bool) {
	if node.Kind != yaml.MappingNode {
		return nil, false
	}
	entries := make([]entry, 0, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		entries = append(entries, entry{node.Content[i], node.Content[i+1]})
	}
	return entries, true
}

func (d *decoder) list(node *yaml.Node, into reflect.Value, path string, tag reflect.StructTag) {
	if node.Kind != yaml.SequenceNode {
		d.add(at(node), shown(node), "this must be a list", "write - before each element, or [a, b]")
		return
	}
	what := thing(lastOf(path), "")
	first := into.Len() // above 0 when the key is given twice
	for i, element := range node.Content {
		value := reflect.New(into.Type().Elem()).Elem()
		d.value(element, value, path+"["+strconv.Itoa(first+i)+"]", what, tag)
		into.Set(reflect.Append(into, value))
	}
	if into.IsNil() {
		into.Set(reflect.MakeSlice(into.Type(), 0, 0)) // given and empty is not the same as not given
	}
}

// words reads a mapping of scalars.
func (d *decoder) words(node *yaml.Node, into reflect.Value, path string) {
	entries, ok := mapping(node)
	if !ok {
		d.add(at(node), shown(node), "this must be a mapping", "write each as NAME: VALUE, on a line of its own")
		return
	}
	if into.IsNil() {
		into.Set(reflect.MakeMap(into.Type()))
	}
	seen := map[string]place{}
	for _, entry := range d.withMerged(entries) {
		name, ok := d.name(entry.key)
		if !ok {
			continue
		}
		if before, twice := seen[name]; twice {
			d.add(at(entry.key), name, fmt.Sprintf("this key is given twice, first in line %d", before.line), "keep one of them")
			continue
		}
		seen[name] = at(entry.key)
		if d.again == 0 {
			d.stands(path+"."+name, entry.value)
		} else { // the later value is the one that is checked
			d.places[path+"."+name] = at(entry.value)
		}
		value := resolve(entry.value)
		if !d.tagFits(value) {
			continue
		}
		text, scalar := scalarText(value)
		if isNull(value) {
			d.add(at(entry.key), name, "it has no value", "give it one, or leave the key out")
			continue
		}
		if !scalar {
			mend := "write the value as one word or number"
			if value.Kind == yaml.SequenceNode {
				mend = "write a list as Kafka does, with commas between: \"a,b\""
			}
			d.add(at(value), name, "this must be a single value", mend)
			continue
		}
		into.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(text))
	}
}
