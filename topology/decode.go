package topology

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decoder reads YAML into the types of file.go. It goes on after a fault, so that all are told at once, and remembers where
// each value stood, under its path (topics[2].partitions), for the checks that follow.
type decoder struct {
	*faults
	places  map[string]place
	anchors map[string]ast.Node
	merges  int // mappings that merge keys have brought so far
}

// mostMerges bounds what merge keys within merge keys come to, which grows with the power of their depth.
const mostMerges = 1000

func newDecoder(name string, text []byte) *decoder {
	return &decoder{
		faults: &faults{file: name, lines: strings.Split(string(text), "\n")},
		places: map[string]place{}, anchors: map[string]ast.Node{},
	}
}

func (d *decoder) decode(text []byte, into any) {
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return
	}
	var body ast.Node
	for _, document := range parsed.Docs {
		switch {
		case document.Body == nil || document.Body.Type() == ast.CommentType:
		case body != nil:
			d.add(at(document.Body), "", "a second document begins here", "keep one document in the file, without --- between")
			return
		default:
			body = document.Body
		}
	}
	if body == nil {
		return
	}
	ast.Walk(anchorFinder{d}, body)
	d.value(body, reflect.ValueOf(into).Elem(), "", "the topology", "")
}

type anchorFinder struct{ *decoder }

// Visit implements ast.Visitor.
func (f anchorFinder) Visit(node ast.Node) ast.Visitor {
	if anchor, ok := node.(*ast.AnchorNode); ok {
		f.anchors[anchor.Name.GetToken().Value] = anchor.Value
	}
	return f
}

// syntax tells of YAML that can't be parsed: the parser stops at the first fault.
func (d *decoder) syntax(err error) {
	var told yaml.Error
	if !errors.As(err, &told) || told.GetToken() == nil {
		d.add(place{}, "", "it is not YAML", err.Error())
		return
	}
	position := told.GetToken().Position
	message := told.GetMessage()
	mend := "mend the YAML"
	if strings.Contains(message, "tab") || strings.Contains(d.line(position.Line), "\t") {
		mend = "indent with spaces, not tabs"
	}
	d.add(place{position.Line, position.Column}, "", "it is not YAML ("+message+")", mend)
}

func (d *decoder) line(number int) string {
	if number < 1 || number > len(d.lines) {
		return ""
	}
	return d.lines[number-1]
}

func at(node ast.Node) place {
	switch n := node.(type) {
	case *ast.MappingNode: // its token is the first key's colon
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return at(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return at(n.Key)
	}
	position := node.GetToken().Position
	return place{position.Line, position.Column}
}

// resolve looks through anchors and aliases.
func (d *decoder) resolve(node ast.Node) ast.Node {
	for range 16 { // an alias inside its own anchor would have no end
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.AliasNode:
			target, ok := d.anchors[n.Value.GetToken().Value]
			if !ok {
				d.add(at(n), "*"+n.Value.GetToken().Value, "there is no such anchor", "define it before, as &"+n.Value.GetToken().Value)
				return nil
			}
			node = target
		default:
			return node
		}
	}
	d.add(at(node), "", "an alias leads to itself", "write the value out")
	return nil
}

var textUnmarshaler = reflect.TypeFor[interface{ UnmarshalText(text []byte) error }]()

// value reads a node into a field. what names, in an error, the thing that the value belongs to.
func (d *decoder) value(node ast.Node, into reflect.Value, path, what string, tag reflect.StructTag) {
	if _, known := d.places[path]; !known {
		d.places[path] = at(node)
	}
	node = d.resolve(node)
	if node == nil {
		return
	}
	if _, null := node.(*ast.NullNode); null {
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

func lastOf(path string) string {
	return strings.TrimPrefix(path[strings.LastIndexByte(path, '.')+1:], ".")
}

func (d *decoder) text(node ast.Node, into reflect.Value) {
	text, ok := scalarText(node)
	if ok && into.Addr().Interface().(interface{ UnmarshalText(text []byte) error }).UnmarshalText([]byte(text)) == nil {
		return
	}
	d.add(at(node), shown(node), "this is not a number of replicas", "write a number from 1, max, or max N")
}

// object reads a mapping, or a lone scalar where that is short for one.
func (d *decoder) object(node ast.Node, into reflect.Value, path, what string) {
	keys := map[string]int{}
	var names []string
	for i := range into.NumField() {
		if name := into.Type().Field(i).Tag.Get("yaml"); name != "" {
			keys[name] = i
			names = append(names, name)
		}
	}
	if text, scalar := scalarText(node); scalar {
		if short, ok := into.Addr().Interface().(interface{ short() *string }); ok {
			*short.short() = text
			return
		}
	}
	entries, ok := mapping(node)
	if !ok {
		d.add(at(node), shown(node), "this must be a mapping", "write one of the keys "+strings.Join(names, ", ")+", with a colon and its value")
		return
	}
	seen := map[string]place{}
	for _, entry := range d.merged(entries) {
		name := entry.Key.GetToken().Value
		here := at(entry.Key)
		if before, twice := seen[name]; twice {
			d.add(here, name, fmt.Sprintf("this key is given twice, first in line %d", before.line), "keep one of them")
			continue
		}
		seen[name] = here
		index, known := keys[name]
		if !known {
			d.add(here, name, "there is no such key in "+what, didYouMean(name, names))
			if meant := closest(name, names); meant != "" {
				seen[meant] = here // it is not missing besides
				d.places[join(path, meant)] = here
			}
			continue
		}
		field := into.Type().Field(index)
		below := join(path, name)
		if _, known := d.places[below]; !known {
			d.places[below] = at(entry.Value)
		}
		d.value(entry.Value, into.Field(index), below, thing(name, what), field.Tag)
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

// merged puts the entries of merge keys (<<) after the others, as far as these don't say the same.
func (d *decoder) merged(entries []*ast.MappingValueNode) []*ast.MappingValueNode {
	var own, others []*ast.MappingValueNode
	for _, entry := range entries {
		if !entry.Key.IsMergeKey() {
			own = append(own, entry)
			continue
		}
		sources := []ast.Node{entry.Value}
		if list, ok := d.resolve(entry.Value).(*ast.SequenceNode); ok {
			sources = list.Values
		}
		for _, source := range sources {
			resolved := d.resolve(source)
			if resolved == nil {
				continue
			}
			if d.merges++; d.merges > mostMerges {
				if d.merges == mostMerges+1 {
					d.add(at(entry.Key), "<<", "the merge keys of the file bring more than 1000 mappings", "merge fewer, or write their keys out")
				}
				continue
			}
			more, ok := mapping(resolved)
			if !ok {
				d.add(at(entry.Key), "<<", "what is merged must be a mapping", "name an anchor of one, such as <<: *defaults")
			}
			others = append(others, d.merged(more)...)
		}
	}
	has := func(name string) bool {
		return slices.ContainsFunc(own, func(e *ast.MappingValueNode) bool { return e.Key.GetToken().Value == name })
	}
	for _, entry := range others {
		if !has(entry.Key.GetToken().Value) {
			own = append(own, entry)
		}
	}
	return own
}

func mapping(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func (d *decoder) list(node ast.Node, into reflect.Value, path string, tag reflect.StructTag) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		d.add(at(node), shown(node), "this must be a list", "write - before each element, or [a, b]")
		return
	}
	what := thing(lastOf(path), "")
	for i, element := range sequence.Values {
		value := reflect.New(into.Type().Elem()).Elem()
		d.value(element, value, path+"["+strconv.Itoa(i)+"]", what, tag)
		into.Set(reflect.Append(into, value))
	}
	if len(sequence.Values) == 0 {
		into.Set(reflect.MakeSlice(into.Type(), 0, 0)) // given and empty is not the same as not given
	}
}

// words reads a mapping of scalars.
func (d *decoder) words(node ast.Node, into reflect.Value, path string) {
	entries, ok := mapping(node)
	if !ok {
		d.add(at(node), shown(node), "this must be a mapping", "write each as NAME: VALUE, on a line of its own")
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	seen := map[string]place{}
	for _, entry := range d.merged(entries) {
		name := entry.Key.GetToken().Value
		if before, twice := seen[name]; twice {
			d.add(at(entry.Key), name, fmt.Sprintf("this key is given twice, first in line %d", before.line), "keep one of them")
			continue
		}
		seen[name] = at(entry.Key)
		below := path + "." + name
		d.places[below] = at(entry.Value)
		value := d.resolve(entry.Value)
		if value == nil {
			continue
		}
		text, scalar := scalarText(value)
		if _, null := value.(*ast.NullNode); null {
			d.add(at(entry.Key), name, "it has no value", "give it one, or leave the key out")
			continue
		}
		if !scalar {
			mend := "write the value as one word or number"
			if _, list := value.(*ast.SequenceNode); list {
				mend = "write a list as Kafka does, with commas between: \"a,b\""
			}
			d.add(at(value), name, "this must be a single value", mend)
			continue
		}
		into.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(text))
	}
}

var wholeNumber = regexp.MustCompile(`^-?[0-9]+$`)

func (d *decoder) scalar(node ast.Node, into reflect.Value, path string, tag reflect.StructTag) {
	text, ok := scalarText(node)
	if !ok {
		d.add(at(node), shown(node), lastOf(path)+" must be a single value", "write one word or number")
		return
	}
	switch into.Kind() {
	case reflect.String:
		allowed := choices(tag.Get("enum"))
		if allowed != nil && !slices.Contains(allowed, text) {
			d.add(at(node), text, "this is no "+noun(nameOf(path)), didYouMean(text, allowed))
			return
		}
		if text == "" {
			d.add(at(node), lastOf(path), "it is empty", "give it a value, or leave the key out")
			return
		}
		into.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			d.add(at(node), text, lastOf(path)+" must be true or false", "write true or false")
			return
		}
		into.SetBool(text == "true")
	default: // int32
		n, err := strconv.ParseInt(text, 10, 32)
		if wholeNumber.MatchString(text) && err != nil {
			d.add(at(node), text, lastOf(path)+" is beyond what Kafka can count", "write a number up to 2147483647")
			return
		}
		if err != nil {
			d.add(at(node), text, lastOf(path)+" must be a whole number", "write a number from "+tag.Get("min"))
			return
		}
		if least, err := strconv.ParseInt(tag.Get("min"), 10, 32); err == nil && n < least {
			d.add(at(node), text, lastOf(path)+" is too small", "write a number from "+tag.Get("min"))
			return
		}
		into.SetInt(n)
	}
}

// noun is what a value of a key with choices is called.
func noun(key string) string {
	if key == "compatibility" {
		return "compatibility level"
	}
	return strings.TrimSuffix(key, "s")
}

// nameOf is the last key of a path, without an index.
func nameOf(path string) string {
	name, _, _ := strings.Cut(lastOf(path), "[")
	return name
}

// scalarText is a scalar as it is written, without quotes.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return node.GetToken().Value, true
	case *ast.TagNode:
		return scalarText(n.Value)
	}
	return "", false
}

// shown is what an error quotes of a node.
func shown(node ast.Node) string {
	if text, ok := scalarText(node); ok {
		return text
	}
	return ""
}
