package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ACL is one entry of a cluster's access control lists: one operation on one resource for one principal. All words are in
// small letters, as topology.yaml has them.
type ACL struct {
	Principal  string `json:"principal"`
	Host       string `json:"host"`
	Resource   string `json:"resource"`
	Name       string `json:"name"`
	Pattern    string `json:"pattern"` // literal or prefixed
	Operation  string `json:"operation"`
	Permission string `json:"permission"` // allow or deny
}

const (
	clusterName = "kafka-cluster"
	literal     = "literal"
	prefixed    = "prefixed"
	allow       = "allow"
)

// operationsOf are what Kafka's authorizer knows of each resource.
var operationsOf = map[string][]string{
	"topic":            {"all", "read", "write", "create", "delete", "alter", "describe", "describe_configs", "alter_configs"},
	"group":            {"all", "read", "delete", "describe", "describe_configs", "alter_configs"},
	"cluster":          {"all", "create", "alter", "describe", "cluster_action", "describe_configs", "alter_configs", "idempotent_write"},
	"transactional_id": {"all", "write", "describe"},
	"delegation_token": {"all", "describe"},
	"user":             {"all", "create_tokens", "describe_tokens"},
}

func (a ACL) String() string {
	name := a.Name
	if a.Pattern == prefixed {
		name += "*"
	}
	from := ""
	if a.Host != "*" {
		from = " from " + a.Host
	}
	return fmt.Sprintf("%s: %s %s on %s %s%s", a.Principal, a.Permission, a.Operation, strings.ReplaceAll(a.Resource, "_", " "), name, from)
}

func compareACLs(a, b ACL) int {
	return cmp.Or(
		cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Permission, b.Permission), cmp.Compare(a.Operation, b.Operation),
	)
}

func uniqueACLs(all []ACL) []ACL {
	slices.SortFunc(all, compareACLs)
	return slices.Compact(all)
}

// role is what a key of an entry of acls stands for.
type role struct {
	resource   string
	operations []string
	names      func(*fileACL) *[]string
}

var roles = []role{
	{"topic", []string{"describe", "read"}, func(e *fileACL) *[]string { return &e.Reads }},
	{"topic", []string{"describe", "write"}, func(e *fileACL) *[]string { return &e.Writes }},
	{"group", []string{"read"}, func(e *fileACL) *[]string { return &e.Groups }},
	{"transactional_id", []string{"describe", "write"}, func(e *fileACL) *[]string { return &e.TransactionalIDs }},
}

// expand is the entry as Kafka has it.
func (e fileACL) expand() []ACL {
	var all []ACL
	host := firstOf(e.Host, "*")
	add := func(resource, name, pattern, permission string, operations ...string) {
		for _, operation := range operations {
			all = append(all, ACL{e.Principal, host, resource, name, pattern, operation, permission})
		}
	}
	for _, r := range roles {
		for _, name := range *r.names(&e) {
			pattern := literal
			if bare, cut := strings.CutSuffix(name, "*"); cut && bare != "" {
				name, pattern = bare, prefixed
			}
			add(r.resource, name, pattern, allow, r.operations...)
		}
	}
	if e.IdempotentWrite {
		add("cluster", clusterName, literal, allow, "idempotent_write")
	}
	for _, rule := range e.Rules {
		name := rule.Name
		if rule.Resource == "cluster" {
			name = clusterName
		}
		add(rule.Resource, name, firstOf(rule.Pattern, literal), firstOf(rule.Permission, allow), rule.Operations...)
	}
	return all
}

// fileACLs writes entries as topology.yaml has them: by role where the operations on a resource are exactly a role's, as rules
// otherwise. expand of the result is what went in.
func fileACLs(all []ACL) []fileACL {
	type owner struct{ principal, host string }
	type resource struct {
		owner
		kind, name, pattern, permission string
	}
	var owners []owner
	entries := map[owner]*fileACL{}
	operations := map[resource][]string{}
	var resources []resource
	for _, a := range uniqueACLs(slices.Clone(all)) {
		o := owner{a.Principal, a.Host}
		if entries[o] == nil {
			entries[o] = &fileACL{Principal: a.Principal}
			if a.Host != "*" {
				entries[o].Host = a.Host
			}
			owners = append(owners, o)
		}
		r := resource{o, a.Resource, a.Name, a.Pattern, a.Permission}
		if operations[r] == nil {
			resources = append(resources, r)
		}
		operations[r] = append(operations[r], a.Operation)
	}
	for _, r := range resources {
		entry, ops := entries[r.owner], operations[r]
		if r.permission == allow && r.kind == "cluster" && slices.Equal(ops, []string{"idempotent_write"}) {
			entry.IdempotentWrite = true
			continue
		}
		if r.permission != allow || !entry.byRole(r.kind, r.name, r.pattern, ops) {
			rule := fileRule{Resource: r.kind, Operations: ops}
			if r.kind != "cluster" {
				rule.Name = r.name
			}
			if r.pattern != literal {
				rule.Pattern = r.pattern
			}
			if r.permission != allow {
				rule.Permission = r.permission
			}
			entry.Rules = append(entry.Rules, rule)
		}
	}
	written := make([]fileACL, len(owners))
	for i, o := range owners {
		written[i] = *entries[o]
	}
	return written
}

// byRole adds a resource to the roles that together are exactly its operations, if there are any.
func (e *fileACL) byRole(kind, name, pattern string, operations []string) bool {
	if pattern == prefixed {
		name += "*"
	} else if strings.HasSuffix(name, "*") && name != "*" {
		return false // a role would take it for a prefix
	}
	var fitting []role
	var covered []string
	for _, r := range roles {
		inside := !slices.ContainsFunc(r.operations, func(o string) bool { return !slices.Contains(operations, o) })
		if r.resource == kind && inside {
			fitting = append(fitting, r)
			covered = append(covered, r.operations...)
		}
	}
	slices.Sort(covered)
	if len(fitting) == 0 || !slices.Equal(slices.Compact(covered), operations) {
		return false
	}
	for _, r := range fitting {
		names := r.names(e)
		*names = append(*names, name)
	}
	return true
}

// The words of topology.yaml and Kafka's numbers for them.
var (
	resourceNumbers = map[string]kmsg.ACLResourceType{
		"topic": kmsg.ACLResourceTypeTopic, "group": kmsg.ACLResourceTypeGroup, "cluster": kmsg.ACLResourceTypeCluster,
		"transactional_id": kmsg.ACLResourceTypeTransactionalId, "delegation_token": kmsg.ACLResourceTypeDelegationToken,
		"user": kmsg.ACLResourceTypeUser,
	}
	operationNumbers = map[string]kmsg.ACLOperation{
		"all": kmsg.ACLOperationAll, "read": kmsg.ACLOperationRead, "write": kmsg.ACLOperationWrite, "create": kmsg.ACLOperationCreate,
		"delete": kmsg.ACLOperationDelete, "alter": kmsg.ACLOperationAlter, "describe": kmsg.ACLOperationDescribe,
		"cluster_action": kmsg.ACLOperationClusterAction, "describe_configs": kmsg.ACLOperationDescribeConfigs,
		"alter_configs": kmsg.ACLOperationAlterConfigs, "idempotent_write": kmsg.ACLOperationIdempotentWrite,
		"create_tokens": kmsg.ACLOperationCreateTokens, "describe_tokens": kmsg.ACLOperationDescribeTokens,
	}
	patternNumbers = map[string]kmsg.ACLResourcePatternType{
		literal: kmsg.ACLResourcePatternTypeLiteral, prefixed: kmsg.ACLResourcePatternTypePrefixed,
	}
	permissionNumbers = map[string]kmsg.ACLPermissionType{allow: kmsg.ACLPermissionTypeAllow, "deny": kmsg.ACLPermissionTypeDeny}
)

// wordFor is the word for one of Kafka's numbers, or "" for one that is not known here.
func wordFor[N comparable](words map[string]N, number N) string {
	for word, n := range words {
		if n == number {
			return word
		}
	}
	return ""
}
