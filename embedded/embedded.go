// Package embedded answers for a bank's surroundings on one machine: Kafka brokers, a Schema Registry and a Postgres
// server, all on 127.0.0.1, with their state in one directory.
//
//	          Dir
//	           ├── certs      the development CA and the certificates of the brokers and of every client
//	Kafka ─────┼── kafka      records, groups, offsets (in this process, mutual TLS)
//	Registry ──┼── registry   subjects and ids (in this process)
//	Postgres ──┴── postgres   a real server, a child of this process
//
// Each of the three can be started alone, taken away (in order, or at once as by a crash) and given back on the same
// port with what it had. It is for trials and tests: nothing here is meant to hold money that anybody misses.
//
// Whatever is needed and cannot be had is an error that names it; nothing is left running or half made then.
package embedded
