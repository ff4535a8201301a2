package topology

import (
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

var wholeNumber = regexp.MustCompile(`^-?[0-9]+$`)

func (d *decoder) scalar(node *yaml.Node, into reflect.Value, path string, tag reflect.StructTag) {
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

// tagFits says whether a node has no tag, or one that says what it is anyway. All values are read as they are written: what a tag would
// make of one (!!binary the bytes, !!set the keys) would be another value than the one that is taken.
func (d *decoder) tagFits(node *yaml.Node) bool {
	if node.Style&yaml.TaggedStyle == 0 {
		return true
	}
	fits := false
	switch node.Tag {
	case "!!str":
		fits = node.Kind == yaml.ScalarNode
	case "!!int", "!!float", "!!bool", "!!null":
		var any any
		fits = node.Kind == yaml.ScalarNode && node.Decode(&any) == nil
	case "!!seq":
		fits = node.Kind == yaml.SequenceNode
	case "!!map":
		fits = node.Kind == yaml.MappingNode
	default:
		d.add(at(node), node.Tag, "this tag means nothing here", "leave it out, and write the value in plain text")
		return false
	}
	if !fits {
		d.add(at(node), node.Tag, "this tag is for another kind of value than stands behind it", "leave it out")
	}
	return fits
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
func scalarText(node *yaml.Node) (string, bool) {
	return node.Value, node.Kind == yaml.ScalarNode && !isNull(node)
}

// shown is what an error quotes of a node.
func shown(node *yaml.Node) string {
	if text, ok := scalarText(node); ok {
		return text
	}
	return ""
}
