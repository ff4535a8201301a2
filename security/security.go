// Package security holds docs/security.md to what is so: what each program must be allowed in Kafka and in Postgres, and what
// is refused to it; that no secret gets out; that hostile records, a backlog and servers that are away cost no more memory
// than is promised. It has tests alone; the programs run in them as they are built for users.
//
//	docs/security.md ── lists, SQL ──▶ tests ── embedded or real Kafka, real Postgres
//	                                     └───── command-handler, synchronizer, open-bank as processes
package security
