package topology

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// checker turns a decoded file into a topology, and tells what is wrong with its values.
type checker struct {
	*decoder
	file     fileTopology
	readFile func(string) ([]byte, error)

	topics   map[string]place
	folded   map[string]string // topic names with the dots that Kafka's metrics can't tell from underscores
	subjects map[string]place
}

func (c *checker) topology() *Topology {
	t := &Topology{Compatibility: c.file.Registry.Compatibility}
	t.Internal = slices.Concat(builtinInternal, c.file.Internal)
	t.Protected = Protected(c.file.Protected)
	c.configs("defaults.config", c.file.Defaults.Config)
	for i, topic := range c.file.Topics {
		t.Topics = append(t.Topics, c.topic(fmt.Sprintf("topics[%d]", i), topic, t))
	}
	for i, schema := range c.file.Subjects {
		path := fmt.Sprintf("subjects[%d]", i)
		if schema.Subject == "" && schema.File != "" {
			c.add(c.places[path], schema.File, "a schema of no topic has no strategy to name its subject", "add subject: …")
			continue
		}
		if read, ok := c.schema(path, schema, "", fileTopic{}); ok {
			t.Subjects = append(t.Subjects, read)
		}
	}
	_, t.ManagesACLs = c.places["acls"]
	t.ACLs = c.acls(t)
	c.references(t)
	if len(c.found) == 0 && len(t.Topics)+len(t.Subjects)+len(t.ACLs) == 0 && t.Compatibility == "" {
		c.add(place{}, "", "it lists no topics, no subjects and no acls", "write topics: with at least one")
	}
	return t
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func validName(name string) bool {
	return topicName.MatchString(name) && name != "." && name != ".."
}

func (c *checker) topic(path string, file fileTopic, t *Topology) Topic {
	topic := Topic{Name: file.Name, Purpose: file.Purpose, Partitions: file.Partitions, Replicas: file.Replicas, origin: c.places[path]}
	if file.Name == "" {
		return topic // told already
	}
	c.topicName(path+".name", file.Name, t)
	if topic.Partitions == 0 {
		topic.Partitions = c.file.Defaults.Partitions
	}
	if topic.Partitions == 0 && !c.given(path+".partitions") && !c.given("defaults.partitions") {
		c.add(c.places[path], file.Name, "the topic has no partitions", "add partitions: with a number from 1, here or under defaults")
	}
	if topic.Replicas.Count == 0 {
		topic.Replicas = c.file.Defaults.Replicas
	}
	if topic.Replicas.Count == 0 && !c.given(path+".replicas") && !c.given("defaults.replicas") {
		c.add(c.places[path], file.Name, "the topic has no replicas", "add replicas: with a number from 1, or max, here or under defaults")
	}
	topic.Config = maps.Clone(c.file.Defaults.Config)
	if topic.Config == nil && file.Config != nil {
		topic.Config = map[string]string{}
	}
	maps.Copy(topic.Config, file.Config)
	c.configs(path+".config", file.Config)
	topic.places = c.placesOf(path, topic.Config)
	if file.Key.File != "" {
		if schema, ok := c.schema(path+".key", file.Key, "key", file); ok {
			topic.Schemas = append(topic.Schemas, schema)
		}
	}
	for i, entry := range file.Schemas {
		if entry.File == "" {
			continue
		}
		if schema, ok := c.schema(fmt.Sprintf("%s.schemas[%d]", path, i), entry, "value", file); ok {
			topic.Schemas = append(topic.Schemas, schema)
		}
	}
	return topic
}

// placesOf is where what a topic has comes from: its own keys, or those of defaults.
func (c *checker) placesOf(path string, config map[string]string) map[string]place {
	places := map[string]place{}
	keys := []string{"name", "partitions", "replicas"}
	for name := range config {
		keys = append(keys, "config."+name)
	}
	for _, key := range keys {
		for _, above := range []string{path, "defaults"} {
			if there, ok := c.places[above+"."+key]; ok {
				places[key] = there
				break
			}
		}
	}
	return places
}

func (c *checker) given(path string) bool {
	_, ok := c.places[path]
	return ok
}

func (c *checker) topicName(path, name string, t *Topology) {
	here := c.places[path]
	if !validName(name) {
		c.add(here, name, "this is no topic's name", "use up to 249 letters, digits, dots, dashes and underscores")
		return
	}
	if before, twice := c.topics[name]; twice {
		c.add(here, name, fmt.Sprintf("the topic is listed twice, first in line %d", before.line), "keep one of them")
		return
	}
	if t.internal(name) {
		c.add(here, name, "an internal topic can't be listed", "leave it out, or take it out of internal")
	}
	folded := strings.ReplaceAll(name, ".", "_")
	if other, collides := c.folded[folded]; collides {
		c.add(here, name, "Kafka takes this and "+other+" for the same name, in its metrics", "use dots or underscores, not both")
	}
	c.topics[name], c.folded[folded] = here, name
}

func (c *checker) configs(path string, config map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(config)) {
		value := config[name]
		here := c.places[path+"."+name]
		if value == "" && topicConfigs[name].kind != configOther {
			c.add(here, name, "it has no value", "give it one, or leave the key out")
			continue
		}
		if wrong, mend := configFault(name, value); wrong != "" {
			if _, known := topicConfigs[name]; !known {
				value = name
			}
			c.add(here, value, wrong, mend)
		}
	}
}

// schema reads an entry of schemas, subjects or key. of is key, value, or nothing for a schema of no topic.
func (c *checker) schema(path string, file fileSchema, of string, topic fileTopic) (Schema, bool) {
	here := c.places[path]
	if at, ok := c.places[path+".file"]; ok {
		here = at
	}
	text, kind, err := loadSchema(file.File, file.Type, c.readFile)
	if err == nil {
		err = validSchema(text, kind, referencesOf(file))
	}
	if err != nil {
		wrong, mend, _ := strings.Cut(err.Error(), ": ")
		c.add(here, file.File, wrong, mend)
		return Schema{}, false
	}
	schema := Schema{Subject: file.Subject, Text: text, Type: kind, origin: here}
	if kind == typeAvro {
		schema.Type = ""
	}
	if schema.Subject == "" {
		strategy := firstOf(file.Strategy, topic.Strategy, c.file.Defaults.Strategy, "topic-record-name")
		schema.Subject, err = subjectOf(strategy, topic.Name, of, text, kind)
		if err != nil {
			wrong, mend, _ := strings.Cut(err.Error(), ": ")
			c.add(here, file.File, wrong, mend)
			return Schema{}, false
		}
	}
	schema.Compatibility = firstOf(file.Compatibility, topic.Compatibility, c.file.Defaults.Compatibility)
	schema.References = referencesOf(file)
	for i := range schema.References {
		schema.References[i].origin = c.places[path+".references["+strconv.Itoa(i)+"].name"]
	}
	if before, twice := c.subjects[schema.Subject]; twice {
		c.add(here, file.File, fmt.Sprintf("the subject %s has a schema already, from line %d", schema.Subject, before.line), "keep one of them, or give this one another subject")
		return Schema{}, false
	}
	c.subjects[schema.Subject] = here
	return schema, true
}

func referencesOf(file fileSchema) []Reference {
	var references []Reference
	for _, reference := range file.References {
		references = append(references, Reference{Name: reference.Name, Subject: reference.Subject, Version: int(reference.Version)})
	}
	return references
}

func firstOf(words ...string) string {
	for _, word := range words {
		if word != "" {
			return word
		}
	}
	return ""
}

func subjectOf(strategy, topic, of, text, kind string) (string, error) {
	if strategy == "topic-name" {
		return topic + "-" + of, nil
	}
	name, err := recordName(text, kind)
	if err != nil {
		return "", err
	}
	if strategy == "record-name" {
		return name, nil
	}
	return topic + "-" + name, nil
}

// references checks that schemas which refer to each other have an order in which they can be registered.
func (c *checker) references(t *Topology) {
	all := t.schemas()
	known := map[string]Schema{}
	for _, schema := range all {
		known[schema.Subject] = schema
	}
	state := map[string]int{} // 1: being followed, 2: done
	var follow func(schema Schema) error
	follow = func(schema Schema) error {
		state[schema.Subject] = 1
		for _, reference := range schema.References {
			next, ours := known[reference.Subject]
			if !ours { // it may be in the registry
				continue
			}
			if state[next.Subject] == 1 {
				return errors.New(schema.Subject + " and " + next.Subject)
			}
			if state[next.Subject] == 0 {
				if err := follow(next); err != nil {
					return err
				}
			}
		}
		state[schema.Subject] = 2
		return nil
	}
	for _, schema := range all {
		if state[schema.Subject] != 0 {
			continue
		}
		if err := follow(schema); err != nil {
			c.add(schema.origin, schema.Subject, "its references lead back to itself, by "+err.Error(), "take one of them out: none could be registered first")
			return
		}
	}
}

var principalType = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// principalFault is what is wrong with a principal, and what would be right; nothing when it is one.
func principalFault(principal string) (wrong, mend string) {
	kind, name, typed := strings.Cut(principal, ":")
	switch {
	case !typed || !principalType.MatchString(kind):
		return "a principal has a type before its name", "write User:" + principal
	case strings.TrimSpace(name) == "":
		return "the principal has no name after its type", "write one there, such as " + kind + ":alice, or " + kind + ":* for all"
	case name != strings.TrimSpace(name):
		return "there is a space at the name's beginning or end, which is no part of it", "write " + kind + ":" + strings.TrimSpace(name)
	case kind != "User" && strings.EqualFold(kind, "User"):
		return "Kafka writes the type as User", "write User:" + name
	}
	return "", ""
}

func (c *checker) acls(t *Topology) []ACL {
	var all []ACL
	t.aclOrigins = map[ACL]place{}
	seen := map[string]place{}
	for i, entry := range c.file.ACLs {
		path := fmt.Sprintf("acls[%d]", i)
		here := c.places[path+".principal"]
		if entry.Principal == "" {
			continue
		}
		if wrong, mend := principalFault(entry.Principal); wrong != "" {
			c.add(here, entry.Principal, wrong, mend)
			continue
		}
		host := firstOf(entry.Host, "*")
		if before, twice := seen[entry.Principal+"\x00"+host]; twice {
			c.add(here, entry.Principal, fmt.Sprintf("this principal has an entry already, in line %d", before.line), "put both into one")
			continue
		}
		seen[entry.Principal+"\x00"+host] = here
		if len(entry.Reads)+len(entry.Writes)+len(entry.Groups)+len(entry.TransactionalIDs)+len(entry.Rules) == 0 && !entry.IdempotentWrite && !c.misread(path, entry) {
			c.add(here, entry.Principal, "nothing is allowed to it", "add reads, writes, groups, transactional_ids, idempotent_write or rules, or leave the entry out")
		}
		for j, rule := range entry.Rules {
			c.rule(path+".rules["+strconv.Itoa(j)+"]", rule)
		}
		for _, role := range []struct {
			key   string
			names []string
		}{{"reads", entry.Reads}, {"writes", entry.Writes}} {
			for j, name := range role.names {
				if bare := strings.TrimSuffix(name, "*"); bare != "" && !topicName.MatchString(bare) {
					c.add(c.places[path+"."+role.key+"["+strconv.Itoa(j)+"]"], name, "this is no topic's name", "write NAME, NAME* for all that begin so, or * for all")
				}
			}
		}
		for _, acl := range entry.expand() {
			t.aclOrigins[acl] = here
			all = append(all, acl)
		}
	}
	return uniqueACLs(all)
}

// misread says whether an entry has a list that could not be read, which is told already.
func (c *checker) misread(path string, entry fileACL) bool {
	for key, read := range map[string]bool{
		"reads": entry.Reads != nil, "writes": entry.Writes != nil, "groups": entry.Groups != nil,
		"transactional_ids": entry.TransactionalIDs != nil, "rules": entry.Rules != nil,
	} {
		if _, given := c.places[path+"."+key]; given && !read {
			return true
		}
	}
	return false
}

func (c *checker) rule(path string, rule fileRule) {
	if rule.Resource == "cluster" && rule.Name != "" && rule.Name != clusterName {
		c.add(c.places[path+".name"], rule.Name, "there is one cluster, and its name is "+clusterName, "leave the name out")
	}
	if rule.Resource != "" && rule.Resource != "cluster" && rule.Name == "" {
		c.add(c.places[path], rule.Resource, "the rule has no name", "add name: with the name of the "+rule.Resource+", or \"*\" for all")
	}
	if rule.Operations != nil && len(rule.Operations) == 0 {
		c.add(c.places[path+".operations"], "", "the rule is about no operation", "name some, or leave the rule out")
	}
	for j, operation := range rule.Operations {
		allowed := operationsOf[rule.Resource]
		if rule.Resource != "" && operation != "" && !slices.Contains(allowed, operation) {
			c.add(c.places[path+".operations["+strconv.Itoa(j)+"]"], operation, "a "+rule.Resource+" has no such operation", "write one of "+strings.Join(allowed, ", "))
		}
	}
}
