package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"openbank/schemas"
)

// The tests of this file run on the embedded brokers and registry, and with the tag realkafka on Apache Kafka and a registry that
// checks compatibility.

const (
	orderV1   = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"}]}`
	orderV2   = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"},{"name":"note","type":"string","default":""}]}`
	orderBad  = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"},{"name":"amount","type":"long"}]}`
	addressV1 = `{"type":"record","name":"Address","namespace":"shop","fields":[{"name":"city","type":"string"}]}`
	paymentV1 = `{"type":"record","name":"Payment","namespace":"shop","fields":[{"name":"to","type":"shop.Address"}]}`
)

const shop = `
topics:
  - name: orders
    partitions: 2
    replicas: 2
    config: {retention.ms: 3600000, cleanup.policy: "compact,delete"}
    key: {file: ./key.avsc, strategy: topic-name}
    schemas: [./order.avsc]
  - name: payments
    partitions: 1
    replicas: max
    schemas:
      - {file: ./payment.avsc, compatibility: FULL, references: [{name: shop.Address, subject: shop.Address}]}
subjects:
  - {file: ./address.avsc, subject: shop.Address}
`

func shopFiles() map[string]string {
	return map[string]string{"order.avsc": orderV1, "payment.avsc": paymentV1, "address.avsc": addressV1, "key.avsc": `"string"`}
}

func TestTheDefaultIsMadeAndThenThereIsNothingToDo(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.run(t, "plan").check(t, 2, "+ topic heartbeat", "Plan: 16 to create, 0 to change, 0 to delete")
	if topics := s.topics(t); len(topics) != 0 {
		t.Fatalf("plan made %v", topics.Names())
	}
	s.run(t, "apply").check(t, 0, "Applied: 16 created, 0 changed, 0 deleted.")
	topics := s.topics(t)
	for name, partitions := range map[string]int{"confirm_money_transfer": 9, "confirm_money_transfer.dead-letter": 9, "heartbeat": 1} {
		if topic := topics[name]; len(topic.Partitions) != partitions || topic.Partitions.NumReplicas() != 3 {
			t.Errorf("%s: %d partitions, %d replicas", name, len(topic.Partitions), topic.Partitions.NumReplicas())
		}
	}
	if got := s.config(t, "heartbeat", "retention.ms"); got != "900000" {
		t.Errorf("retention.ms %s", got)
	}
	if got := s.subjects(t); len(got) != len(schemas.Names) {
		t.Errorf("subjects: %q", got)
	}
	s.run(t, "plan").check(t, 0, "Nothing to do: all 16 topics and subjects are as they must be.")
	s.run(t, "apply").check(t, 0, "Nothing to do")
}

func TestEachChangeIsPlannedAndMade(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.settle(t, write(t, shop, shopFiles()), "6 created")
	if got := s.subjects(t); !slices.Equal(got, []string{"orders-key", "orders-shop.Order", "payments-shop.Payment", "shop.Address"}) {
		t.Errorf("subjects: %q", got)
	}

	changed := strings.NewReplacer("partitions: 2", "partitions: 4", "retention.ms: 3600000", "retention.ms: 7200000", "compatibility: FULL", "compatibility: NONE").Replace(shop)
	files := shopFiles()
	files["order.avsc"] = orderV2
	file := write(t, changed, files)
	plan := s.run(t, "plan", "--topology", file)
	plan.check(t, 2, "partitions  2 -> 4", "retention.ms  3600000 -> 7200000", "warning: records with the same key go to other partitions",
		"compatibility  FULL -> NONE", "version 1", `+       "name": "note"`, "Plan: 1 to create, 3 to change, 0 to delete")
	refused := s.run(t, "apply", "--topology", file)
	refused.check(t, 1, "--yes", "--create-only", "nothing was applied")
	if got := len(s.topics(t)["orders"].Partitions); got != 2 {
		t.Fatalf("%d partitions without consent", got)
	}
	s.settle(t, file, "Applied: 1 created, 3 changed, 0 deleted.")
	if got := s.config(t, "orders", "retention.ms"); got != "7200000" {
		t.Errorf("retention.ms %s", got)
	}
	if got := len(s.topics(t)["orders"].Partitions); got != 4 {
		t.Errorf("%d partitions", got)
	}
}

func TestReplicasAreMovedAndWaitedFor(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.create(t, "orders", 6, 1, nil)
	file := write(t, "topics: [{name: orders, partitions: 6, replicas: 3}]", nil)
	s.run(t, "plan", "--topology", file).check(t, 2, "replicas  1 -> 3", "6 partitions will be copied")
	applied := s.run(t, "apply", "--yes", "--topology", file)
	if !onRealServers { // they accept it, and move nothing
		applied.check(t, 1, "replicas of topic orders: the brokers accepted the reassignment, and the partitions are where they were")
		return
	}
	applied.check(t, 0, "1 changed")
	for _, partition := range s.topics(t)["orders"].Partitions.Sorted() {
		if len(partition.Replicas) != 3 {
			t.Errorf("partition %d: replicas %v", partition.Partition, partition.Replicas)
		}
	}
	s.run(t, "plan", "--topology", file).check(t, 0)
	fewer := write(t, "topics: [{name: orders, partitions: 6, replicas: 2}]", nil)
	s.settle(t, fewer, "replicas  3 -> 2")
	capped := write(t, "topics: [{name: orders, partitions: 6, replicas: max 1}]", nil)
	s.run(t, "plan", "--topology", capped).check(t, 0)
}

func TestMoreReplicasThanBrokersAreNotPossible(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, "topics: [{name: orders, partitions: 1, replicas: 5}, {name: payments, partitions: 1, replicas: max 5}]", nil)
	s.run(t, "plan", "--topology", file).check(t, 2, "! topic orders", "there are 3 brokers, and 5 replicas are wanted", "1 not possible")
	s.run(t, "apply", "--topology", file).check(t, 1, "topic orders: there are 3 brokers", "applied:\n  topic payments")
	if got := s.topics(t)["payments"].Partitions.NumReplicas(); got != 3 {
		t.Errorf("%d replicas", got)
	}
}

func TestFewerPartitionsAreNotPossible(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.create(t, "orders", 4, 1, nil)
	file := write(t, "topics: [{name: orders, partitions: 2, replicas: 1}]", nil)
	s.run(t, "plan", "--topology", file).check(t, 2, "not possible: Kafka takes no partitions away: write 4", "1 not possible")
	s.run(t, "apply", "--yes", "--topology", file).check(t, 1, "partitions of topic orders: Kafka takes no partitions away", "applied: nothing")
	s.run(t, "apply", "--create-only", "--topology", file).check(t, 0, "left as it is", "partitions of topic orders", "Nothing is missing. What is not as it must be is left")
	s.run(t, "apply", "--create-only", "--output", "json", "--topology", file).check(t, 0, `"left": [`, "partitions of topic orders")
}

func TestValuesThatMeanTheSameAreNoDifference(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	value := func(text string) *string { return &text }
	s.create(t, "orders", 1, 1, map[string]*string{"cleanup.policy": value("compact,delete"), "min.cleanable.dirty.ratio": value("0.50"), "segment.ms": value("1000000")})
	text := "topics: [{name: orders, partitions: 1, replicas: 1, config: {cleanup.policy: 'delete, compact', min.cleanable.dirty.ratio: 0.5, compression.type: producer}}]"
	file := write(t, text, nil)
	// compression.type is the brokers' default, and segment.ms is not named.
	s.run(t, "plan", "--topology", file).check(t, 0, "Configured besides what is named, left (--prune-config): orders")
	s.run(t, "plan", "--prune-config", "--topology", file).check(t, 2, "segment.ms  1000000 -> the default")
	s.settle(t, file, "1 changed", "--prune-config")
	if got := s.config(t, "orders", "segment.ms"); got != "604800000" {
		t.Errorf("segment.ms %s", got)
	}
}

func TestDriftIsFoundAndMended(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, shop, shopFiles())
	s.run(t, "apply", "--topology", file).check(t, 0)
	value := "60000"
	if _, err := s.admin(t).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin(t).DeleteTopics(t.Context(), "payments"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "payments is gone", func() bool { return !s.topics(t).Has("payments") })
	s.run(t, "plan", "--topology", file).check(t, 2, "+ topic payments", "retention.ms  60000 -> 3600000", "Plan: 1 to create, 1 to change")
	// What is missing is made without a question, what was changed is left.
	s.run(t, "apply", "--create-only", "--topology", file).check(t, 0, "Applied: 1 created, 0 changed", "left as it is", "config of topic orders")
	s.settle(t, file, "Applied: 0 created, 1 changed")
}

func TestOnlyWhatIsAllowedIsDeletedAndNothingProtected(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	text := `
topics: [{name: orders, partitions: 1, replicas: 1, schemas: [./order.avsc]}]
internal: ["*-changelog"]
protected: {topics: [audit.*], subjects: [kept]}
`
	file := write(t, text, shopFiles())
	s.run(t, "apply", "--topology", file).check(t, 0)
	for _, name := range []string{"old", "audit.2019", "app-changelog"} {
		s.create(t, name, 1, 1, nil)
	}
	for _, subject := range []string{"old-value", "kept", "app-changelog-value", "audit.2019-key"} {
		s.register(t, subject, sr.Schema{Schema: orderV1})
	}
	client := s.client(t)
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "old", Value: []byte("x")}, &kgo.Record{Topic: "old", Value: []byte("y")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	s.run(t, "plan", "--topology", file).check(t, 0, "Not listed, left (--allow-delete topics): old\n", "Not listed, left (--allow-delete subjects): old-value\n")
	s.run(t, "apply", "--yes", "--topology", file).check(t, 0, "Nothing to do")
	const deletions = "--allow-delete=topics,subjects"
	s.run(t, "plan", deletions, "--topology", file).check(t, 2, "- topic old", "about 2 records would be lost", "- subject old-value", "2 to delete")
	s.run(t, "apply", deletions, "--topology", file).check(t, 1, "there is no terminal to ask at")
	s.run(t, "apply", "--create-only", deletions, "--topology", file).check(t, 1, "--create-only changes and deletes nothing")
	if !s.topics(t).Has("old") {
		t.Fatal("it was deleted without consent")
	}
	s.run(t, "apply", "--yes", deletions, "--topology", file).check(t, 0, "2 deleted")
	s.await(t, "old is gone", func() bool { return !s.topics(t).Has("old") })
	for _, name := range []string{"orders", "audit.2019", "app-changelog"} {
		if !s.topics(t).Has(name) {
			t.Errorf("%s was deleted", name)
		}
	}
	if got := s.subjects(t); !slices.Equal(got, []string{"app-changelog-value", "audit.2019-key", "kept", "orders-shop.Order"}) {
		t.Errorf("subjects: %q", got)
	}
	s.run(t, "plan", deletions, "--topology", file).check(t, 0)
}

func TestAnIncompatibleSchemaIsToldWithTheReasonAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	files := shopFiles()
	s.run(t, "apply", "--topology", write(t, shop, files)).check(t, 0)
	files["order.avsc"] = orderBad
	more := strings.Replace(shop, "subjects:", "  - {name: refunds, partitions: 1, replicas: 1}\nsubjects:", 1)
	file := write(t, more, files)
	s.run(t, "plan", "--topology", file).check(t, 2, "! subject orders-shop.Order", "not compatible (BACKWARD): ", "+ topic refunds", "1 not possible")
	s.run(t, "apply", "--yes", "--topology", file).check(t, 1, "subject orders-shop.Order: the registry says that it is not compatible", "applied:\n  topic refunds")
	// A level that the plan itself changes is waited for.
	none := write(t, "registry: {compatibility: NONE}\n"+more, files)
	s.settle(t, none, "compatibility  BACKWARD -> NONE")
}

func TestAHalfThatFailsIsFinishedByTheNextRun(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.create(t, "shop_orders", 1, 1, nil)
	file := write(t, "topics: [{name: a, partitions: 1, replicas: 1}, {name: shop.orders, partitions: 1, replicas: 1}, {name: z, partitions: 1, replicas: 1, schemas: [Heartbeat]}]", nil)
	s.run(t, "plan", "--topology", file).check(t, 2, "! topic shop.orders", "the brokers refuse it: ")
	s.run(t, "apply", "--topology", file).check(t, 1, "not applied:\n  topic shop.orders: the brokers refuse it", "applied:\n  subject z-nl.openweb.data.Heartbeat\n  topic a\n  topic z")
	if _, err := s.admin(t).DeleteTopics(t.Context(), "shop_orders"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "shop_orders is gone", func() bool { return !s.topics(t).Has("shop_orders") })
	s.settle(t, file, "Applied: 1 created")
}

func TestTwoAtOnceDoNoHarm(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, shop, shopFiles())
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if got := s.run(t, "apply", "--yes", "--topology", file); got.status != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	both.Wait()
	versions, err := s.registry(t).Schemas(t.Context(), "orders-shop.Order")
	if err != nil || len(versions) == 0 || len(versions) > 1 && !onRealServers { // Apicurio may give the schema of both a version each
		t.Fatalf("versions %v, %v", versions, err)
	}
	for _, v := range versions {
		if v.ID != versions[0].ID {
			t.Errorf("versions %v", versions)
		}
	}
	s.run(t, "plan", "--topology", file).check(t, 0)
}

func TestASavedPlanIsAppliedOnlyIfTheWorldDidNotMove(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.create(t, "orders", 1, 1, nil)
	file := write(t, "topics: [{name: orders, partitions: 2, replicas: 1}, {name: payments, partitions: 3, replicas: 1, schemas: [Heartbeat]}]", nil)
	saved := filepath.Join(t.TempDir(), "plan.json")
	s.run(t, "plan", "--topology", file, "--out", saved).check(t, 2)
	s.create(t, "payments", 1, 1, nil)
	s.run(t, "apply", saved).check(t, 1, "is not any more as it was when the plan was made", "topic payments: nothing to create any more", "partitions of topic payments: to update, which was not planned")
	if got := s.subjects(t); len(got) != 0 {
		t.Fatalf("subjects: %q", got)
	}
	s.run(t, "plan", "--topology", file, "--out", saved).check(t, 2)
	s.run(t, "apply", saved).check(t, 0, "Applied: 1 created, 2 changed")
	s.run(t, "plan", "--topology", file).check(t, 0)

	s.run(t, "plan", "--topology", write(t, "topics: [{name: orders, partitions: 2, replicas: 1}]", nil), "--allow-delete", "topics", "--out", saved).check(t, 2, "- topic payments")
	s.run(t, "apply", saved).check(t, 1, "there is no terminal to ask at")
	s.run(t, "apply", "--yes", saved).check(t, 0, "1 deleted")
	s.create(t, "payments", 3, 1, nil)
	s.run(t, "apply", "--yes", saved).check(t, 1, "topic payments: was planned as id ", ", is now id ")
}

func TestASubjectThatAJVMRegisteredStaysAsItIs(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	const subject = "money_transfer_feedback-nl.openweb.data.MoneyTransferFailed"
	s.register(t, subject, sr.Schema{Schema: strings.ReplaceAll(schemas.Text("MoneyTransferFailed"), `"string"`, `{"type":"string","avro.java.string":"String"}`)})
	s.run(t, "apply").check(t, 0, "Applied: 15 created")
	if versions, err := s.registry(t).SubjectVersions(t.Context(), subject); err != nil || len(versions) != 1 {
		t.Errorf("versions %v, %v", versions, err)
	}
}

func TestASubjectThatHasGoneOnIsNotTurnedBack(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	file := write(t, shop, shopFiles())
	s.run(t, "apply", "--topology", file).check(t, 0)
	s.register(t, "orders-shop.Order", sr.Schema{Schema: orderV2})
	s.run(t, "plan", "--topology", file).check(t, 0, "subject orders-shop.Order has gone on to version 2; the topology's schema is version 1")
}

func TestWhatIsExportedIsWhatIsThere(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	value := func(text string) *string { return &text }
	s.create(t, "orders", 3, 2, map[string]*string{"cleanup.policy": value("compact"), "min.insync.replicas": value("2")})
	s.create(t, "clicks", 1, 1, nil)
	s.create(t, "with.dots_and-dashes", 2, 1, map[string]*string{"retention.ms": value("-1")})
	s.create(t, "app-changelog", 1, 1, nil)
	s.register(t, "orders-key", sr.Schema{Schema: `"string"`})
	s.register(t, "orders-value", sr.Schema{Schema: orderV1})
	s.register(t, "orders-value", sr.Schema{Schema: orderV2})
	s.register(t, "clicks-shop.Order", sr.Schema{Schema: orderV1})
	s.register(t, "shop.Address", sr.Schema{Schema: addressV1})
	s.register(t, "shop.Payment", sr.Schema{Schema: paymentV1, References: []sr.SchemaReference{{Name: "shop.Address", Subject: "shop.Address", Version: 1}}})
	s.register(t, "clicks-value", sr.Schema{Type: sr.TypeJSON, Schema: `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"x":{"type":"integer"}}}`})
	s.register(t, "some subject/with signs", sr.Schema{Type: sr.TypeProtobuf, Schema: "syntax = \"proto3\";\npackage shop;\n\nmessage Key {\n  string id = 1;\n}\n"})
	s.registry(t).SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatFullTransitive}, "orders-value")
	dir := filepath.Join(t.TempDir(), "exported")
	s.run(t, "export", "--dir", dir, "--internal", "*-changelog").check(t, 0, "3 topics, 7 subjects")
	s.run(t, "export", "--dir", dir).check(t, 1, "is there already", "--force")
	plan := s.run(t, "plan", "--topology", filepath.Join(dir, "topology.yaml"), "--output", "json", "--prune-config", "--allow-delete", "topics,subjects")
	plan.check(t, 0)
	var said struct {
		Changes []any          `json:"changes"`
		Summary map[string]int `json:"summary"`
	}
	if err := json.Unmarshal([]byte(plan.stdout), &said); err != nil || said.Changes == nil || len(said.Changes) != 0 || said.Summary["existing"] != 10 {
		t.Errorf("%v, %s", err, plan.stdout)
	}
	// On another cluster it makes the same.
	if !onRealServers {
		other := startServers(t)
		other.run(t, "apply", "--yes", "--topology", filepath.Join(dir, "topology.yaml")).check(t, 0)
		other.run(t, "plan", "--topology", filepath.Join(dir, "topology.yaml")).check(t, 0)
		if got := other.config(t, "orders", "min.insync.replicas"); got != "2" {
			t.Errorf("min.insync.replicas %s", got)
		}
	}
}

func TestACLsAreMadeAndDeletedOnlyWhenAllowed(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	text := `
topics: [{name: orders, partitions: 1, replicas: 1}]
acls:
  - {principal: "User:CN=shop", reads: [orders], groups: ["shop-*"], transactional_ids: [shop]}
  - {principal: "User:CN=ops", rules: [{resource: cluster, operations: [describe]}, {resource: topic, name: "*", operations: [delete], permission: deny}]}
protected: {principals: ["User:CN=admin*"]}
`
	file := write(t, text, nil)
	s.run(t, "plan", "--topology", file).check(t, 2, "+ ACL User:CN=shop: allow read on topic orders", "+ ACL User:CN=ops: deny delete on topic *", "Plan: 8 to create")
	s.run(t, "apply", "--topology", file).check(t, 1, "there is no terminal to ask at")
	s.run(t, "apply", "--yes", "--topology", file).check(t, 0, "8 created")
	s.await(t, "all ACLs", func() bool { return s.run(t, "plan", "--topology", file).status == 0 })
	others := kadm.NewACLs().Topics("orders").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpAlter).Allow("User:CN=old", "User:CN=admin-2")
	if _, err := s.admin(t).CreateACLs(t.Context(), others); err != nil {
		t.Fatal(err)
	}
	s.await(t, "the others' ACLs", func() bool {
		return strings.Contains(s.run(t, "plan", "--topology", file).stdout, "Not listed, left (--allow-delete acls): 1 ACL")
	})
	s.run(t, "plan", "--allow-delete", "acls", "--topology", file).check(t, 2, "- ACL User:CN=old: allow alter on topic orders", "1 to delete")
	s.run(t, "apply", "--yes", "--allow-delete", "acls", "--topology", file).check(t, 0, "1 deleted")
	s.await(t, "the old one's ACL is gone", func() bool { return s.run(t, "plan", "--allow-delete", "acls", "--topology", file).status == 0 })

	dir := filepath.Join(t.TempDir(), "exported")
	s.run(t, "export", "--dir", dir).check(t, 0, "1 topic, 0 subjects, 8 ACLs")
	exported := filepath.Join(dir, "topology.yaml")
	s.run(t, "plan", "--allow-delete", "topics,acls", "--topology", exported).check(t, 0)
}
