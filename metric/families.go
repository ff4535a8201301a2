package metric

const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// Family is all metrics of one name.
type Family struct {
	Name, Kind string
	Labels     []string
	Help       string
	Buckets    []float64 // upper bounds of a histogram's
}

// The upper bounds, in seconds: what one record takes, what a batch takes, and what somebody waits for.
var (
	forRecords = []float64{1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 0.01}
	forStages  = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	forBatches = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 4000}
)

// Families are all there are, but for those of the process.
var Families = []Family{
	{"openbank_build_info", gauge, []string{"version", "go_version"}, "Always 1; the labels tell what runs.", nil},
	{"openbank_ready", gauge, nil, "1 when /readyz answers 200, 0 when something keeps the handler from its work.", nil},
	{"openbank_live", gauge, nil, "1 when /livez answers 200, 0 when only a restart would help. A scrape asks as /livez does: what stands still is found 5 minutes after a first one.", nil},
	{"openbank_unmet_conditions", gauge, []string{"dependency"}, "How many conditions keep the handler from its work; /readyz says which and why.", nil},
	{"openbank_exactly_once", gauge, nil, "1 when answers and offsets are published in Kafka transactions, 0 when delivery is at least once, or not settled yet.", nil},

	{"openbank_commands_total", counter, []string{"kind", "outcome", "reason", "disposition"}, "Commands whose answer was published. Disposition: executed now, unfinished (executed before a crash, published now) or duplicate (answered again).", nil},
	{"openbank_dead_letters_total", counter, []string{"topic", "reason"}, "Records of a command topic that became dead letters.", nil},
	{"openbank_answer_seconds", histogram, []string{"topic"}, "From the time in a command's record, which is its sender's clock or the broker's, until its answer was published.", forStages},
	{"openbank_handling_seconds", histogram, []string{"topic"}, "From when a record came out of the Kafka client until its answer was published.", forStages},

	{"openbank_decode_seconds", histogram, []string{"topic"}, "What it took to decode a record; one in 16 is timed.", forRecords},
	{"openbank_stage_seconds", histogram, []string{"topic", "stage"}, "Time in a stage. queue: how long the first record of a batch waited; execute: a batch's Postgres transaction; publish: from then until Kafka has a batch's answers and offsets.", forStages},
	{"openbank_batch_records", histogram, []string{"topic"}, "Records in one Postgres transaction.", forBatches},
	{"openbank_queue_records", gauge, []string{"topic"}, "Records that are decoded and wait for the next batch.", nil},
	{"openbank_queue_bytes", gauge, []string{"topic"}, "What they hold in memory, about.", nil},

	{"openbank_lag_records", gauge, []string{"topic", "partition"}, "Offsets from the last published record to the end of a partition that this handler has. Ends of the sender's transactions count, until the partition has been idle for some 10 s.", nil},
	{"openbank_assigned_partitions", gauge, []string{"topic"}, "Partitions that this handler has.", nil},
	{"openbank_topic_partitions", gauge, []string{"topic"}, "Partitions that the topic has.", nil},
	{"openbank_stalled_partitions", gauge, []string{"topic", "reason"}, "Partitions of this handler that wait. start: for the offset to begin at, or for a moment while the group's offset passes the end of a transaction; schema: for the schema of their next record; dead_letter: for the dead letter topic to take their next record.", nil},
	{"openbank_schema_waits_total", counter, []string{"topic"}, "Records that had to wait for their schema.", nil},
	{"openbank_rebalances_total", counter, []string{"topic", "event"}, "Times that the group gave partitions to this handler (assigned), took some (revoked), or had taken them before it could let go (lost), and that this handler found some that nobody had, and had the group share them out again (orphaned).", nil},

	{"openbank_transactions_total", counter, nil, "Kafka transactions that were committed.", nil},
	{"openbank_transaction_aborts_total", counter, []string{"cause"}, "Kafka transactions that were not committed, and whose content was sent again.", nil},
	{"openbank_fencings_total", counter, []string{"client"}, "Times that the brokers took a Kafka client of this handler for replaced.", nil},
	{"openbank_slot_held", gauge, nil, "1 while this handler holds its slot in Postgres, without which it publishes nothing.", nil},
	{"openbank_slot_losses_total", counter, nil, "Times that the session that holds the slot was lost.", nil},
	{"openbank_retries_total", counter, []string{"dependency", "cause"}, "Tries that failed and were made again.", nil},
}
