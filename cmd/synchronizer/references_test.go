//go:build !realkafka

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
)

const addressV2 = `{"type":"record","name":"Address","namespace":"shop","fields":[{"name":"city","type":"string"},{"name":"zip","type":"string","default":""}]}`

func TestAReferenceThatCantBeResolvedIsNotPossible(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.register(t, "shop.Address", sr.Schema{Schema: addressV1})
	payment := func(reference string) string {
		return "subjects: [{file: ./payment.avsc, subject: payment, references: [{name: shop.Address, " + reference + "}]}, {file: ./order.avsc, subject: order}]"
	}
	for name, c := range map[string]struct{ topology, says string }{
		"a version that is not there": {payment("subject: shop.Address, version: 7"), "not possible: it refers to version 7 of subject shop.Address, which there is not: the latest is 1"},
		"a subject that is not there": {payment("subject: nope"), "not possible: it refers to subject nope, which is neither in the registry nor in the topology"},
		"one that is not possible itself": {
			strings.Replace(payment("subject: other"), "]}, {", "]}, {file: ./payment.avsc, subject: other, references: [{name: shop.Address, subject: nope}]}, {", 1),
			"not possible: it refers to subject other, which can't be registered",
		},
		"a version beyond the one that is made": {
			strings.Replace(payment("subject: other, version: 2"), "]}, {", "]}, {file: ./address.avsc, subject: other}, {", 1),
			"not possible: it refers to version 2 of subject other, which there is not: the latest is 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := write(t, c.topology, shopFiles())
			s.run(t, "plan", "--topology", file).check(t, 2, "! subject payment", c.says, "+ subject order")
		})
	}
	t.Run("what the plan registers first is there by then", func(t *testing.T) {
		t.Parallel()
		s := startServers(t)
		s.register(t, "shop.Address", sr.Schema{Schema: addressV1})
		files := shopFiles()
		files["address.avsc"] = addressV2
		file := write(t, strings.Replace(payment("subject: shop.Address, version: 2"), "subjects: [", "subjects: [{file: ./address.avsc, subject: shop.Address}, ", 1), files)
		s.run(t, "plan", "--topology", file).check(t, 2, "reference shop.Address  shop.Address version 2", "Plan: 3 to create, 0 to change, 0 to delete; 0 as")
		s.run(t, "apply", "--topology", file).check(t, 0, "3 created")
		s.run(t, "plan", "--topology", file).check(t, 0)
	})
}

func TestAnotherReferenceAloneIsShown(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.register(t, "shop.Address", sr.Schema{Schema: addressV1})
	s.register(t, "shop.Address", sr.Schema{Schema: addressV2})
	s.register(t, "payment", sr.Schema{Schema: paymentV1, References: []sr.SchemaReference{{Name: "shop.Address", Subject: "shop.Address", Version: 1}}})
	file := write(t, "subjects: [{file: ./payment.avsc, subject: payment, references: [{name: shop.Address, subject: shop.Address, version: 2}]}]", shopFiles())
	s.run(t, "plan", "--topology", file).check(t, 2, "reference shop.Address  shop.Address version 1 -> shop.Address version 2")
	var said struct {
		Changes []struct {
			Fields []struct{ Name, From, To string }
		}
	}
	plan := s.run(t, "plan", "--output=json", "--topology", file)
	if err := json.Unmarshal([]byte(plan.stdout), &said); err != nil || len(said.Changes) != 1 || len(said.Changes[0].Fields) != 2 || said.Changes[0].Fields[1].From != "shop.Address version 1" {
		t.Errorf("%v, %s", err, plan.stdout)
	}
	s.run(t, "apply", "--topology", file).check(t, 0, "1 created")
	s.run(t, "plan", "--topology", file).check(t, 0)
	gone := write(t, "subjects: [{file: ./payment.avsc, subject: payment}]", map[string]string{"payment.avsc": strings.Replace(paymentV1, `"shop.Address"`, `"string"`, 1)})
	s.run(t, "plan", "--topology", gone).check(t, 2, "reference shop.Address  shop.Address version 2 -> none")
}

func TestWhatAListedSchemaRefersToIsNotDeleted(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.register(t, "deep", sr.Schema{Schema: addressV1})
	s.register(t, "shop.Address", sr.Schema{Schema: addressV2, References: []sr.SchemaReference{{Name: "deep", Subject: "deep", Version: 1}}})
	file := write(t, "subjects: [{file: ./payment.avsc, subject: payment, references: [{name: shop.Address, subject: shop.Address}]}]", shopFiles())
	s.run(t, "apply", "--yes", "--allow-delete=subjects", "--topology", file).check(t, 0, "1 created, 0 changed, 0 deleted")
}
