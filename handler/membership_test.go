package handler

import "testing"

// serialized is what the library keeps of a member.
func serialized(generation, names string) []byte { return []byte("CGMDv2:" + generation + names) }

func TestAMembershipLastsThroughGenerations(t *testing.T) {
	t.Parallel()
	const names = "group\x00member\x00\x00place\x00"
	before, generation, err := memberOf(serialized("\x07\x00\x00\x00", names))
	if err != nil || before == "" || generation != 7 {
		t.Fatalf("what is read is %q, of generation %d: %v", before, generation, err)
	}
	if now, generation, _ := memberOf(serialized("\x09\x00\x00\x00", names)); now != before || generation != 9 {
		t.Errorf("two generations later it is %q, of %d, instead of %q", now, generation, before)
	}
	if now, _, _ := memberOf(serialized("\x09\x00\x00\x00", "group\x00another\x00\x00place\x00")); now == before || now == "" {
		t.Errorf("another member is %q", now)
	}
	for name, none := range map[string][]byte{
		"without an id":        serialized("\x07\x00\x00\x00", "group\x00\x00\x00place\x00"),
		"without a generation": serialized("\xff\xff\xff\xff", names),
	} {
		if member, _, err := memberOf(none); member != "" || err != nil {
			t.Errorf("%s: %q, %v", name, member, err)
		}
	}
	for name, none := range map[string][]byte{
		"of a version that nobody knows yet": []byte("CGMDv3:\x07\x00\x00\x00" + names),
		"cut short":                          []byte("CGMDv2:\x07\x00"),
	} {
		if _, _, err := memberOf(none); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
