module openbank

go 1.26.0

require (
	// the report's pictures as PNG: lines with dashes; the kept successor of fogleman/gg, which gonum/plot draws with (released 2026-05)
	git.sr.ht/~sbinet/gg v0.8.0
	// latencies of the demo: percentiles without keeping every sample
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	// the handler's metrics: with an HTTP server around it, it adds 0.3 MB to the static binary, prometheus/client_golang 2.5 MB, which is too much
	// (released 2026-11; two small packages besides). Its metrics of the process, without types and help, are not used
	github.com/VictoriaMetrics/metrics v1.45.0
	// flags and help of synchronizer and open-bank; the handler, which is weighed, has the flag package
	github.com/alecthomas/kong v1.17.0
	// exponential backoff with jitter, for the registry client
	github.com/cenkalti/backoff/v5 v5.0.3
	// tests of the report in a real browser alone: the DevTools protocol's messages, and a client that pulls in little and is
	// kept up with Chromium (released 2026-11; go-rod's last release is of 2024)
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	// the handler's Kafka client: librdkafka, transactions and cooperative groups. v2@latest goes back to v2.11.1: keep the pin
	github.com/confluentinc/confluent-kafka-go/v2 v2.15.1
	// lint: syntax and imports of .proto files; brings nothing along (released 2026-02). bufbuild/protocompile checks more and brings
	// google.golang.org/protobuf; the registry compiles them anyway
	github.com/emicklei/proto v1.14.3
	// finds, fetches and checks PostgreSQL binaries where none are installed; starting them is ours, since it can't drop privileges
	github.com/fergusstrange/embedded-postgres v1.34.0
	// the handler's queries
	github.com/jmoiron/sqlx v1.4.0
	// the handler's Postgres driver: prepared statements with binary arrays over one connection a lane
	github.com/lib/pq v1.12.3
	// Avro binary by the writer's schema
	github.com/linkedin/goavro/v2 v2.15.0
	// the Schema Registry's REST calls; @latest does not resolve: keep the pin
	github.com/riferrei/srclient v0.7.4
	// lint: whether JSON Schema files are any; tests: the JSON Schema of topology.yaml is held to files; srclient brings it along anyway
	github.com/santhosh-tekuri/jsonschema/v5 v5.3.1
	// whether one Avro schema reads what another wrote, without a registry; kept (1.9 of 2026-11), and brings nothing along
	github.com/twmb/avro v1.9.1
	// the tools' Kafka client in pure Go, so that what checks the handler shares no client with it
	github.com/twmb/franz-go v1.22.2
	// topics of the synchronizer
	github.com/twmb/franz-go/pkg/kadm v1.19.0
	// the embedded Kafka: speaks the real protocol, with groups and persistence; has no releases, so a commit is pinned
	github.com/twmb/franz-go/pkg/kfake v0.0.0-20260918054303-01f206a7e32c
	// requests that the tests have the embedded Kafka refuse
	github.com/twmb/franz-go/pkg/kmsg v1.15.0
	// srfake, the embedded registry
	github.com/twmb/franz-go/pkg/sr v1.8.0
	// encrypted PKCS#8 keys, as the stack's certificates have them; the standard library reads none
	github.com/youmark/pkcs8 v0.0.0-20240726163527-a2c0da244d78
	// tests: no goroutine outlives what started it
	go.uber.org/goleak v1.3.0
	// topology.yaml with the line and column of each node, strictly; the YAML organization's own (4.0 of 2026-11), and brings nothing along.
	// goccy/go-yaml refuses [User:shop] and takes {a: b: c}
	go.yaml.in/yaml/v4 v4.0.0
	// the Go fonts and their outlines, for the text in those pictures
	golang.org/x/image v0.48.0
	// single flight of registry requests; errgroup
	golang.org/x/sync v0.25.0
	// whether somebody sits at a terminal, to be asked; /dev/null is a character device too
	golang.org/x/term v0.47.0
	// tests by property
	pgregory.net/rapid v1.3.0
	// PKCS#12 stores of Java, RC2-40 of old JDKs included, trust stores too; librdkafka's OpenSSL 3 reads neither (released 2026-10)
	software.sslmate.com/src/go-pkcs12 v0.7.4
)

require (
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/go-sql-driver/mysql v1.10.1 // indirect
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/golang/snappy v1.0.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	github.com/valyala/fastrand v1.1.0 // indirect
	github.com/valyala/histogram v1.2.0 // indirect
	github.com/xi2/xz v0.0.0-20171230120015-48954b6210f8 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/text v0.44.0 // indirect
)
