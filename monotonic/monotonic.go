// Package monotonic has the Kafka client's threads wait by the monotonic clock. librdkafka waits by the wall clock (its issue 2145): set back by
// an hour, it has a thread that meant to wait for a tenth of a second wait for an hour, while heartbeats, and with them the place in the group,
// are missed. A program that imports the package waits as long as it means to, whatever is done to the machine's clock.
//
// It does so on Linux, by the C library's calls cnd_init and cnd_timedwait, in whose place its own are linked; elsewhere it does nothing.
package monotonic
