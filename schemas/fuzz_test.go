package schemas_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"openbank/schemas"
)

// FuzzDecode feeds bytes to a decoder that knows our schemas, the JVM's and an evolved one. Whatever comes, it answers
// with a message that can be written again, or with one of its two errors.
func FuzzDecode(f *testing.F) {
	decoder := schemas.NewDecoder()
	encoders := map[uint32]*schemas.Encoder{}
	for i, record := range schemas.Names {
		for j, schema := range []string{schemas.Text(record), jvm(record)} {
			id := uint32(2*i + j)
			decoder.Learn(int(id), schema)
			encoder, err := schemas.NewEncoder(record, int(id), schema)
			if err != nil {
				f.Fatal(err)
			}
			encoders[id] = encoder
			wire := bytesOf(f, golden[i].wire)
			binary.BigEndian.PutUint32(wire[1:], id)
			f.Add(wire)
			f.Add(wire[:len(wire)-1])
		}
	}
	const evolved = 100
	decoder.Learn(evolved, transferSchema(fieldID, `{"name":"amount","type":["null","int","long"]}`,
		`{"name":"more","type":{"type":"array","items":{"type":"map","values":["null","double",{"type":"array","items":"boolean"}]}}}`,
		`{"name":"from","type":["string","null"]}`, `{"name":"to","type":"bytes"}`, `{"name":"again","type":"Uuid"}`))
	f.Add([]byte("\x00\x00\x00\x00\x64" + string(uuid[:]) + "\x02\x07\x02\x02\x02k\x04\x02\x01\x00\x00\x00\x00\x02x\x02y" + string(uuid[:])))
	f.Add([]byte("\x00\xff\xff\xff\xff"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, wire []byte) {
		message, err := decoder.Decode(wire)
		if err != nil {
			var unknown *schemas.UnknownSchemaError
			var unreadable *schemas.UnreadableError
			if !errors.As(err, &unknown) && !errors.As(err, &unreadable) || message != nil {
				t.Fatalf("got %v, %v", message, err)
			}
			return
		}
		id := binary.BigEndian.Uint32(wire[1:])
		if id == evolved {
			return
		}
		again, err := encoders[id].Append(nil, message)
		if err != nil || len(again) > len(wire) { // numbers can be written longer than need be
			t.Fatalf("%+v becomes %x, %v, from %x", message, again, err, wire)
		}
	})
}

// FuzzLearn feeds schemas: none may stop the process, whatever record follows.
func FuzzLearn(f *testing.F) {
	for i, record := range schemas.Names {
		f.Add(schemas.Text(record), bytesOf(f, golden[i].wire)[5:])
	}
	f.Add(transferSchema(fieldID, fieldToken, `{"name":"amount","type":["null","int","long"]}`, fieldFrom, fieldTo,
		`{"name":"x","type":{"type":"map","values":{"type":"array","items":"Uuid"}}}`), uuid[:])
	f.Fuzz(func(t *testing.T, schema string, payload []byte) {
		decoder := schemas.NewDecoder()
		decoder.Learn(goldenID, schema)
		message, err := decoder.Decode(append([]byte{0, 0, 0, 1, 2}, payload...))
		var unreadable *schemas.UnreadableError
		if err != nil && !errors.As(err, &unreadable) {
			t.Fatalf("got %v, %v", message, err)
		}
		for _, record := range schemas.Names {
			if encoder, err := schemas.NewEncoder(record, 1, schema); err == nil {
				if _, err := encoder.Append(nil, golden[indexOf(record)].message); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func indexOf(record string) int {
	for i, name := range schemas.Names {
		if name == record {
			return i
		}
	}
	return -1
}

func BenchmarkDecode(b *testing.B) {
	for _, test := range golden {
		b.Run(test.record, func(b *testing.B) {
			decoder := schemas.NewDecoder()
			decoder.Learn(goldenID, jvm(test.record))
			wire := bytesOf(b, test.wire)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decoder.Decode(wire); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, test := range golden {
		b.Run(test.record, func(b *testing.B) {
			encoder, err := schemas.NewEncoder(test.record, goldenID, jvm(test.record))
			if err != nil {
				b.Fatal(err)
			}
			buffer := make([]byte, 0, 512)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encoder.Append(buffer, test.message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
