package handler

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"openbank/environment"
	"openbank/health"
	_ "openbank/monotonic"
)

// Kafka says how to reach the brokers.
type Kafka struct {
	// Brokers are host:port pairs, separated by commas.
	Brokers string
	// TLS is used when CA is set.
	TLS TLS
	// Certificates says, for whoever is told that TLS fails, what was read for it: settings, files and until when they are valid.
	Certificates string
	// Dial opens a connection to a broker, of Brokers or as brokers tell of each other, for what the client library has no call for, or
	// none that is safe; with TLS it must do the handshake. Default: plain TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// TLS is a client's identity and whom it trusts, in PEM.
type TLS struct {
	CA, Cert, Key string
	// Text says that CA, Cert and Key are not files but what stands in them.
	Text bool
	// KeyPassword decrypts Key; empty when the key is not encrypted.
	KeyPassword string
	// SkipHostnameCheck trusts any certificate of CA, whatever host it names.
	SkipHostnameCheck bool
}

// config is what all clients have in common.
func (k Kafka) config(clientID string, logs chan kafka.LogEvent) kafka.ConfigMap {
	c := kafka.ConfigMap{
		"bootstrap.servers":                  k.Brokers,
		"client.id":                          clientID,
		"enable.metrics.push":                false, // a broker without a receiver for it makes log lines
		"reconnect.backoff.max.ms":           2000,  // default 10 s: a broker that is back is found soon
		"socket.keepalive.enable":            true,  // finds half-open connections
		"log.connection.close":               false, // idle connections are closed all the time
		"go.logs.channel.enable":             true,
		"go.logs.channel":                    logs,
		"topic.metadata.refresh.interval.ms": 60000,
	}
	if k.TLS.CA != "" {
		c["security.protocol"] = "ssl"
		form := "location"
		if k.TLS.Text {
			form = "pem"
		}
		c["ssl.ca."+form] = k.TLS.CA
		c["ssl.certificate."+form] = k.TLS.Cert
		c["ssl.key."+form] = k.TLS.Key
		if k.TLS.KeyPassword != "" {
			c["ssl.key.password"] = k.TLS.KeyPassword
		}
		if k.TLS.SkipHostnameCheck {
			c["ssl.endpoint.identification.algorithm"] = "none"
		}
	}
	return c
}

// threadName is what librdkafka puts before its messages.
var threadName = regexp.MustCompile(`^\[thrd:[^\]]*\]: `)

// link turns the many errors and log lines of a Kafka client into one line when its brokers go away and one when they
// are back.
type link struct {
	kafka Kafka
	log   *slog.Logger
	logs  chan kafka.LogEvent
	done  sync.WaitGroup

	unexplained string // what to say when the client gives no reason

	mu    sync.Mutex
	away  bool
	tried time.Time // when it went away, or the client was let try last
	// condition is that the brokers answer, of a client that is asked for them from time to time; else nil.
	condition *health.Condition
	reason    string // the latest error, for the line that says that Kafka is away
	tls       string // what is to be done about it when it is about TLS
	said      string // tls as it was logged last
}

// tlsReason is environment.TLSReason with what this handler has read.
func (k Kafka) tlsReason(err error) string {
	reason := environment.TLSReason(err)
	if reason != "" && k.Certificates != "" {
		reason += ". " + k.Certificates
	}
	return reason
}

func newLink(log *slog.Logger, k Kafka) *link {
	l := &link{kafka: k, log: log, unexplained: "no broker answers", logs: make(chan kafka.LogEvent, 256)}
	if k.TLS.CA == "" {
		l.unexplained = "the brokers do not answer in plaintext: if they want TLS, set the four KAFKA_SSL_* or the three SSL_*"
	}
	l.done.Go(func() {
		for e := range l.logs {
			l.log.Debug("librdkafka", "fac", e.Tag, "client", e.Name, "message", e.Message)
			if e.Level <= 3 { // what failed and why: more than the error events say
				l.note(threadName.ReplaceAllString(e.Message, ""))
			}
		}
	})
	return l
}

// close ends the reading of logs; the client that writes them must be closed.
func (l *link) close() {
	close(l.logs)
	l.done.Wait()
}

func (l *link) note(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.because(reason)
}

// because takes a reason. That TLS fails shows when the client connects again, and that the brokers are away was said by then, without it.
func (l *link) because(reason string) {
	l.reason, l.tls = reason, l.kafka.tlsReason(errors.New(reason))
	if l.away && l.tls != "" && l.tls != l.said {
		l.said = l.tls
		l.log.Warn("no TLS with Kafka: waiting for it", "reason", l.why())
	}
}

// latest is why the brokers do not answer, as far as is known.
func (l *link) latest() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why()
}

func (l *link) why() string {
	switch {
	case l.reason == "":
		return l.unexplained
	case l.tls != "":
		return l.reason + ": " + l.tls
	}
	return l.reason
}

// lost takes an error event of the client. That all brokers are down is what one sees; the reason is an earlier error.
func (l *link) lost(err kafka.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err.Code() != kafka.ErrAllBrokersDown {
		l.because(err.Error())
		return
	}
	l.goes()
}

// reaches is asked before the client is made to ask the brokers something on its administrative side: with no broker to ask, the client
// tries to connect without any pause for as long as the question waits (librdkafka 2.15). Error: why none of the named brokers answers. Once a
// minute the client may try all the same: it may know others.
func (l *link) reaches(ctx context.Context) error {
	l.mu.Lock()
	ask := l.away
	if ask && time.Since(l.tried) > time.Minute {
		l.tried, ask = time.Now(), false
	}
	l.mu.Unlock()
	if !ask {
		return nil
	}
	return l.kafka.askAll(ctx, l.kafka.addresses(), apiVersions, nil, func(*fields) (enough bool, err error) { return true, nil })
}

// unanswered takes a question that failed for a reason of the brokers', or that none answered.
func (l *link) unanswered(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.As(err, new(net.Error)) || isKafka(err, kafka.ErrTimedOut, kafka.ErrTimedOutQueue, kafka.ErrTransport, kafka.ErrAllBrokersDown, kafka.ErrResolve, kafka.ErrSsl) {
		l.goes()
		return
	}
	l.condition.Fails(err.Error())
}

func (l *link) goes() {
	if l.condition != nil {
		l.condition.Fails("no connection to the brokers: " + l.why())
	}
	if !l.away {
		l.away, l.tried, l.said = true, time.Now(), l.tls
		l.log.Warn("no connection to Kafka: waiting for it", "reason", l.why())
	}
}

// answered takes the answer to a question that shows that all is well.
func (l *link) answered() {
	l.ok()
	l.condition.Holds()
}

// ok takes a sign of life.
func (l *link) ok() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		l.away, l.reason, l.tls = false, "", ""
		l.log.Info("connected to Kafka again")
	}
}
