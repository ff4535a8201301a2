package schemas_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"openbank/schemas"
)

// goavro makes a value of each item, and an item of one byte can have a thousand values.
func TestARecordCannotGrowInMemory(t *testing.T) {
	nulls := make([]string, 900)
	for i := range nulls {
		nulls[i] = fmt.Sprintf(`{"name":"n%d","type":"null"}`, i)
	}
	withMore := func(more string) string {
		return strings.TrimSuffix(strings.TrimSpace(schemas.Text("Heartbeat")), "]\n}") + `,{"name":"more","type":` + more + `}]}`
	}
	for name, test := range map[string]struct {
		more, item string
		items      int // that may be read
	}{
		"booleans":             {`{"type":"array","items":"boolean"}`, "\x01", 131_000},
		"records of 901 types": {`{"type":"array","items":{"type":"record","name":"N","fields":[{"name":"b","type":"boolean"},` + strings.Join(nulls, ",") + `]}}`, "\x01", 270},
		"empty arrays":         {`{"type":"array","items":{"type":"array","items":"int"}}`, "\x00", 87_000},
	} {
		t.Run(name, func(t *testing.T) {
			decoder := schemas.NewDecoder()
			decoder.Learn(7, withMore(test.more))
			wire := func(items int) []byte {
				b := []byte{0, 0, 0, 0, 7, 2}
				for items > 0 {
					n := min(items, 16000)
					b = append(binary.AppendVarint(b, int64(n)), strings.Repeat(test.item, n)...)
					items -= n
				}
				return append(b, 0)
			}
			before := allocated(t, func() {
				if _, err := decoder.Decode(wire(test.items)); err != nil {
					t.Errorf("%d items: %v", test.items, err)
				}
			})
			if before > 64<<20 {
				t.Errorf("%d items cost %d MB", test.items, before>>20)
			}
			var unreadable *schemas.UnreadableError
			more := allocated(t, func() {
				if _, err := decoder.Decode(wire(1_000_000 / len(test.item))); !errors.As(err, &unreadable) || !strings.Contains(unreadable.Reason, "may have") {
					t.Errorf("1 MB: %v", err)
				}
			})
			if more > 8<<20 { // to make the record itself
				t.Errorf("to refuse 1 MB costs %d MB", more>>20)
			}
		})
	}
}

// allocated is how many bytes f allocates. Nothing else may run beside it.
func allocated(t *testing.T, f func()) uint64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestADecoderKeepsNotMoreSchemasThanMemoryShould(t *testing.T) {
	t.Parallel()
	decoder := schemas.NewDecoder()
	nulls := make([]string, 900)
	for i := range nulls {
		nulls[i] = fmt.Sprintf(`{"name":"n%d","type":"null"}`, i)
	}
	large := strings.TrimSuffix(strings.TrimSpace(schemas.Text("Heartbeat")), "]\n}") + `,` + strings.Join(nulls, ",") + `]}`
	known := func(id byte) bool {
		_, err := decoder.Decode([]byte{0, 0, 0, 0, id, 2})
		var unknown *schemas.UnknownSchemaError
		return !errors.As(err, &unknown)
	}
	for id := range byte(60) {
		if decoder.Learn(int(id), large); !known(id) {
			t.Fatalf("schema %d is not known after it was learned", id)
		}
	}
	if known(0) || !known(59) {
		t.Error("60 schemas of 900 types are kept")
	}
	decoder.Refuse(0, "it is larger than 2 MB")
	if _, err := decoder.Decode([]byte{0, 0, 0, 0, 0, 2}); err == nil || !strings.Contains(err.Error(), "schema 0: it is larger than 2 MB") {
		t.Error(err)
	}
}

// A schema that is asked for again takes no more memory than before, so the others are not forgotten for it.
func TestASchemaThatIsLearntAgainCountsOnce(t *testing.T) {
	t.Parallel()
	decoder := schemas.NewDecoder()
	text := schemas.Text("ConfirmMoneyTransfer")
	decoder.Learn(1, text)
	for range 50_000 {
		decoder.Refuse(2, "it changes") // counts as one type
	}
	var unknown *schemas.UnknownSchemaError
	if _, err := decoder.Decode([]byte{0, 0, 0, 0, 1}); errors.As(err, &unknown) {
		t.Error("the other schema is forgotten")
	}
}
