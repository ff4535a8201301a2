package topology

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRolesStandForWhatKafkasToolsGrant(t *testing.T) {
	t.Parallel()
	entry := fileACL{
		Principal: "User:shop", Reads: []string{"orders"}, Writes: []string{"orders", "refunds.*"}, Groups: []string{"shop"}, TransactionalIDs: []string{"*"}, IdempotentWrite: true,
		Rules: []fileRule{{Resource: "topic", Name: "orders", Operations: []string{"delete"}, Permission: "deny"}},
	}
	got := uniqueACLs(entry.expand())
	want := uniqueACLs([]ACL{
		{"User:shop", "*", "topic", "orders", "literal", "describe", "allow"},
		{"User:shop", "*", "topic", "orders", "literal", "read", "allow"},
		{"User:shop", "*", "topic", "orders", "literal", "write", "allow"},
		{"User:shop", "*", "topic", "orders", "literal", "delete", "deny"},
		{"User:shop", "*", "topic", "refunds.", "prefixed", "describe", "allow"},
		{"User:shop", "*", "topic", "refunds.", "prefixed", "write", "allow"},
		{"User:shop", "*", "group", "shop", "literal", "read", "allow"},
		{"User:shop", "*", "transactional_id", "*", "literal", "describe", "allow"},
		{"User:shop", "*", "transactional_id", "*", "literal", "write", "allow"},
		{"User:shop", "*", "cluster", "kafka-cluster", "literal", "idempotent_write", "allow"},
	})
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if back := fileACLs(got); !reflect.DeepEqual(back, []fileACL{entry}) {
		t.Errorf("written back: %+v", back)
	}
}

func TestWhatIsNoRoleIsWrittenAsItIs(t *testing.T) {
	t.Parallel()
	readOnly := ACL{"User:a", "10.0.0.1", "topic", "orders", "literal", "read", "allow"}
	got := fileACLs([]ACL{readOnly})
	want := []fileACL{{Principal: "User:a", Host: "10.0.0.1", Rules: []fileRule{{Resource: "topic", Name: "orders", Operations: []string{"read"}}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// Whatever a cluster has, its written form says the same.
func TestEveryACLSurvivesBeingWrittenAndRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.Custom(func(t *rapid.T) ACL {
			resource := rapid.SampledFrom([]string{"topic", "group", "cluster", "transactional_id", "delegation_token"}).Draw(t, "resource")
			acl := ACL{
				Principal: rapid.SampledFrom([]string{"User:a", "User:CN=b,O=c", "Group:d"}).Draw(t, "principal"),
				Host:      rapid.SampledFrom([]string{"*", "10.0.0.1"}).Draw(t, "host"), Resource: resource,
				Name:       rapid.SampledFrom([]string{"*", "orders", "orders.", "odd*name"}).Draw(t, "name"),
				Pattern:    rapid.SampledFrom([]string{"literal", "prefixed"}).Draw(t, "pattern"),
				Operation:  rapid.SampledFrom(operationsOf[resource]).Draw(t, "operation"),
				Permission: rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, "permission"),
			}
			if resource == "cluster" {
				acl.Name, acl.Pattern = clusterName, literal
			}
			return acl
		})
		all := uniqueACLs(rapid.SliceOf(one).Draw(t, "all"))
		var back []ACL
		for _, entry := range fileACLs(all) {
			back = append(back, entry.expand()...)
		}
		if back = uniqueACLs(back); !slices.Equal(back, all) && len(all)+len(back) > 0 {
			t.Fatalf("%v became %v", all, back)
		}
	})
}
