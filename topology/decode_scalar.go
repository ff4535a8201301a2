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
