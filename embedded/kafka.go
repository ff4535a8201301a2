package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"
)

// ClusterID is what the brokers give for the id of their cluster, by which others know them for embedded ones: that of Apache Kafka is
// a random UUID.
const ClusterID = "open-bank"

// defaultBrokers allows the stack's three replicas.
const defaultBrokers = 3

// KafkaConfig says which brokers run where. The zero value is three brokers without TLS in a temporary directory.
type KafkaConfig struct {
	// Dir keeps topics, records, groups and offsets from run to run. Default: a temporary directory that goes at Close,
	// or with the next temporary one that is made after this process was killed.
	Dir string
	// Brokers is how many there are. Default: 3, or as many as Ports.
	Brokers int
	// Ports on 127.0.0.1, one for each broker. Default: free ones, the same ones for as long as the Kafka lives.
	Ports []int
	// Advertised are the ports on 127.0.0.1 that clients are told, for proxies that stand before the brokers. Default: Ports.
	Advertised []int
	// TLS is the brokers' configuration, see certs.ServerTLS. Default: plaintext.
	TLS *tls.Config
	// MaxVersions holds the brokers to an older Kafka. Default: the newest that they know.
	MaxVersions *kversion.Versions
	// Options are further options for the brokers, such as ACLs or SASL.
	Options []kfake.Opt
	// Logger gets the brokers' warnings. Default: nothing is logged.
	Logger *slog.Logger
}

// Kafka is a set of brokers in this process, on 127.0.0.1. Topics are not created by being asked for. Its methods may be
// called from several goroutines.
//
// The brokers are kfake's, which differ from Apache Kafka in what can be seen from outside: transactions are complete at
// once, so their speed says nothing; replicas and min.insync.replicas are kept and not acted on; whatever a topic's
// configuration says is accepted, and retention is not applied by itself. A record that was acknowledged survives the
// death of the process, not that of the machine.
type Kafka struct {
	config KafkaConfig
	home   *home

	mu      sync.Mutex
	ports   []int
	cluster *kfake.Cluster // nil when stopped
	groups  *groups        // of cluster
}

// StartKafka starts the brokers with what Dir holds. They take connections when it returns.
func StartKafka(ctx context.Context, config KafkaConfig) (*Kafka, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Brokers == 0 {
		config.Brokers = defaultBrokers
		if len(config.Ports) > 0 {
			config.Brokers = len(config.Ports)
		}
	}
	if len(config.Ports) > 0 && len(config.Ports) != config.Brokers {
		return nil, fmt.Errorf("starting Kafka: %d ports for %d brokers", len(config.Ports), config.Brokers)
	}
	if len(config.Advertised) > 0 && len(config.Advertised) != config.Brokers {
		return nil, fmt.Errorf("starting Kafka: %d advertised ports for %d brokers", len(config.Advertised), config.Brokers)
	}
	// Brokers run in this process: unlike Postgres they reach what it reaches.
	h, err := openHome(config.Dir, identity{})
	if err != nil {
		return nil, fmt.Errorf("starting Kafka: %w", err)
	}
	k := &Kafka{config: config, home: h, ports: config.Ports}
	if err := k.Start(ctx); err != nil {
		return nil, errors.Join(err, h.leave())
	}
	return k, nil
}

// Addresses are the brokers' as clients are told them, HOST:PORT with commas between.
func (k *Kafka) Addresses() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	ports := k.ports
	if len(k.config.Advertised) > 0 {
		ports = k.config.Advertised
	}
	addresses := make([]string, len(ports))
	for i, port := range ports {
		addresses[i] = loopback(port)
	}
	return strings.Join(addresses, ",")
}

// Cluster is what runs at the moment, for faults and inspection; nil when stopped. It is another one after each Start.
func (k *Kafka) Cluster() *kfake.Cluster {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cluster
}

// Start starts the brokers again, after Stop, on the same ports and with what they had.
func (k *Kafka) Start(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.start(ctx); err != nil {
		return fmt.Errorf("starting Kafka: %w", err)
	}
	return nil
}

func (k *Kafka) start(ctx context.Context) (err error) {
	if k.cluster != nil {
		return errors.New("it is running already")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := k.home.acquire(); err != nil {
		return err
	}
	listeners, err := k.listen()
	if err != nil {
		return errors.Join(err, k.home.release())
	}
	next := 0
	options := append([]kfake.Opt{
		kfake.NumBrokers(len(listeners)),
		kfake.ClusterID(ClusterID),
		kfake.DataDir(k.home.dir),
		kfake.WithLogger(brokerLogger{k.config.Logger}),
		kfake.ListenFn(func(string, string) (net.Listener, error) {
			next++
			if len(k.config.Advertised) > 0 {
				return advertised{listeners[next-1], k.config.Advertised[next-1]}, nil
			}
			return listeners[next-1], nil
		}),
	}, k.config.Options...)
	if k.config.TLS != nil {
		options = append(options, kfake.TLS(k.config.TLS))
	}
	if k.config.MaxVersions != nil {
		options = append(options, kfake.MaxVersions(k.config.MaxVersions))
	}
	if k.cluster, err = kfake.NewCluster(options...); err != nil {
		for _, listener := range listeners {
			_ = listener.Close() // some are closed already
		}
		return errors.Join(fmt.Errorf("with the state in %s: %w", k.home.dir, err), k.home.release())
	}
	if k.groups, err = newGroups(k.cluster, listeners, k.config.TLS); err != nil {
		k.cluster.Close()
		k.cluster = nil
		return errors.Join(err, k.home.release())
	}
	return nil
}

// advertised is a listener under another port: the one that the brokers tell their clients.
type advertised struct {
	net.Listener
	port int
}

func (l advertised) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.port} }

// listen takes the ports, free ones at the first time.
func (k *Kafka) listen() ([]net.Listener, error) {
	var listeners []net.Listener
	var ports []int
	for i := range k.config.Brokers {
		var listener net.Listener
		var err error
		if i < len(k.ports) {
			listener, err = listen(k.ports[i])
		} else {
			listener, err = listenFree()
		}
		if err != nil {
			for _, listener := range listeners {
				_ = listener.Close()
			}
			return nil, err
		}
		listeners = append(listeners, listener)
		ports = append(ports, portOf(listener))
	}
	k.ports = ports
	return listeners, nil
}

// Stop breaks off every connection and leaves everything on disk. Stopping stopped brokers does nothing.
func (k *Kafka) Stop(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cluster == nil {
		return nil
	}
	k.groups.stop()
	k.cluster.Close()
	k.cluster, k.groups = nil, nil
	if err := k.home.release(); err != nil {
		return fmt.Errorf("stopping Kafka: %w", err)
	}
	return nil
}

// Close is Stop, and the end of a temporary directory. The brokers cannot be started again after it.
func (k *Kafka) Close(ctx context.Context) error { return errors.Join(k.Stop(ctx), k.home.leave()) }

// brokerLogger passes the brokers' warnings and errors on.
type brokerLogger struct{ logger *slog.Logger }

// endOfTransactionIsSlow begins a warning that is no news: kfake gives it for each transaction that takes more than 5 ms to end, and writing
// the markers of all its partitions takes as long wherever other work is on the cores or the disk.
const endOfTransactionIsSlow = "txn: EndTxn slow"

func (l brokerLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch {
	case level == kfake.LogLevelError:
		l.logger.Error("Kafka: " + fmt.Sprintf(format, args...))
	case level == kfake.LogLevelWarn && !strings.HasPrefix(format, endOfTransactionIsSlow):
		l.logger.Warn("Kafka: " + fmt.Sprintf(format, args...))
	default: // requests, one by one
	}
}
