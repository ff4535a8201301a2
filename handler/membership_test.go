package handler

import "testing"

// serialized is what the library keeps of a member.
func serialized(generation, names string) []byte { return []byte("CGMDv2:" + generation + names) }

func TestAMembershipLastsThroughGenerations(t *testing.T) {
	t.Parallel()
	const names = "group\x00member\x00\x00place\x00"
	before, generation, in := memberOf(serialized("\x07\x00\x00\x00", names))
	if !in || generation != 7 {
		t.Fatal("no member of generation 7 is read")
	}
	if now, generation, in := memberOf(serialized("\x09\x00\x00\x00", names)); !in || now != before || generation != 9 {
		t.Errorf("two generations later it is %q, %v, instead of %q", now, in, before)
	}
	if now, _, in := memberOf(serialized("\x09\x00\x00\x00", "group\x00another\x00\x00place\x00")); !in || now == before {
		t.Errorf("another member is %q, %v", now, in)
	}
	for name, none := range map[string][]byte{
		"without an id":                      serialized("\x07\x00\x00\x00", "group\x00\x00\x00place\x00"),
		"without a generation":               serialized("\xff\xff\xff\xff", names),
		"of a version that nobody knows yet": []byte("CGMDv3:\x07\x00\x00\x00" + names),
		"cut short":                          []byte("CGMDv2:\x07\x00"),
	} {
		if member, _, in := memberOf(none); in {
			t.Errorf("%s: %q", name, member)
		}
	}
}
