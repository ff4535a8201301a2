// Package fault holds the tests that make every fault we can make: handlers that are really killed (SIGKILL) at named points
// between two steps, networks that cut, stall and lose replies, servers that die and come back, groups whose members come and
// go. Whatever happens, the books of the bank must be right in the end, and package audit says whether they are.
//
//	schedule (drawn from a seed) ─▶ world ── proxies ── brokers, registry, Postgres
//	                                  ├─ handlers, built with the tag crashpoints: they die, others take their places
//	                                  ├─ load: transfers, logins, duplicates, garbage
//	                                  └─ audit ─▶ no violation, or the logs are kept and the seed is printed
//
// Brokers and registry are the embedded ones; with the tag realkafka three brokers of Apache Kafka and a real registry.
//
// The same seed draws the same schedule and the same commands; how the processes interleave is up to the machine.
package fault
