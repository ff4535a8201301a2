package main

import (
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
		t.Log(name) // not run beside each other: others wait for the real servers
		s.run(t, "plan", "--topology", write(t, c.topology, shopFiles())).check(t, 2, "! subject payment", c.says, "+ subject order")
	}
}

func TestWhatThePlanRegistersFirstIsThereByThen(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	s.register(t, "shop.Address", sr.Schema{Schema: addressV1})
	files := shopFiles()
	files["address.avsc"] = addressV2
	file := write(t, "subjects: [{file: ./payment.avsc, subject: payment, references: [{name: shop.Address, subject: shop.Address, version: 2}]}, {file: ./address.avsc, subject: shop.Address}]", files)
	s.run(t, "plan", "--topology", file).check(t, 2, "reference shop.Address  shop.Address version 2", "Plan: 2 to create, 0 to change, 0 to delete; 0 as")
	s.settle(t, file, "2 created")
}
