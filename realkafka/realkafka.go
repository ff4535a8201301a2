// Package realkafka answers for real servers where the embedded ones are not enough: Apache Kafka of today, Apache Kafka of
// 2019 with its ZooKeeper, and a schema registry that really checks compatibility. It is for tests.
//
//	Maven ── artefacts ──▶ cache ──▶ java ── Cluster   1 or 3 brokers on localhost, mutual TLS, brokers known by CN alone if wanted
//	        (SHA-256)                     ├─ Registry  Apicurio with Confluent's API
//	                                      └─ Bank      both, and a Postgres
//
// It needs Java 17 or newer and, the first time, Maven, which keeps to the mirrors in its own settings. Servers are children
// of this process and end with it; each takes 250 to 400 MB. Whatever is missing is an error that says how to get it.
//
// Not here: SASL, anything about brokers that a test of the bank doesn't ask for.
package realkafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"openbank/certs"
	"openbank/embedded"
	"openbank/process"
)

// Version is a version of Apache Kafka that can be run.
type Version string

const (
	// Current has KRaft, with broker and controller in one process.
	Current Version = "4.3.1"
	// Old is the stack's of 2019. It has a ZooKeeper beside it, no topic ids, and no fencing by a group's generation.
	Old Version = "2.3.0"
)

// Admin is whom brokers that authorize let do everything: User:CN=admin, and Client's identity then.
const Admin = "admin"

// Host is where all servers listen, and what their certificates are for.
const Host = "localhost"

// group is the command handler's.
const group = "command-handler"

const (
	startDeadline = 3 * time.Minute // three JVMs on a busy machine
	stopDeadline  = 20 * time.Second
	askInterval   = 100 * time.Millisecond
)

// Config says what to start. The zero value is one broker of the current version.
type Config struct {
	// Version. Default: Current.
	Version Version
	// Brokers, 1 or 3. Default: 1. Three replicate everything three times, with two in sync.
	Brokers int
	// CNOnly gives the brokers a certificate without alternative names: its CN is Host, and that is all.
	CNOnly bool
	// Clients are whom certificates are made for. Default: the stack's.
	Clients []string
	// Authorize refuses whatever no access control list allows, to all but Admin and the brokers themselves. Admin must be one
	// of Clients. Current alone knows it here.
	Authorize bool
	// Brief is for brokers that live for a minute: they start in half the time and do less in a second.
	Brief bool
	// Ports on Host, one for each broker of the current version. Default: free ones.
	Ports []int
	// Advertised are the ports on Host that clients are told, for proxies that stand before the brokers, one for each; they
	// reach each other past them. Default: their own.
	Advertised []int
	// Settings of all brokers, by their names in server.properties, in place of those that they have here.
	Settings map[string]string
	// Dir gets data, logs and certificates. Default: a temporary directory that goes at Close.
	Dir string

	making archive // what a broker is started for that rehearses
}

// Cluster is a running Kafka.
type Cluster struct {
	config  Config
	dir     string
	certs   certs.Options
	java    java
	jars    string
	classes archive

	zookeeper *process.Process
	brokers   []*broker

	close sync.Once
	err   error
}

// Start fetches what is not in the cache yet, starts the brokers and returns when all of them are there. ctx bounds the
// start alone.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	for tries := 1; ; tries++ {
		c, err := launch(ctx, config)
		// A port that was free a moment ago may be somebody else's when the broker comes to it.
		if err == nil || tries == 3 || len(config.Ports) > 0 || config.Dir != "" || !strings.Contains(err.Error(), "Address already in use") {
			return c, err
		}
	}
}

func launch(ctx context.Context, config Config) (_ *Cluster, err error) {
	if config.Version == "" {
		config.Version = Current
	}
	if config.Brokers == 0 {
		config.Brokers = 1
	}
	if config.Brokers != 1 && config.Brokers != 3 {
		return nil, fmt.Errorf("starting Kafka: %d brokers: choose 1 or 3", config.Brokers)
	}
	for _, ports := range [][]int{config.Ports, config.Advertised} {
		if len(ports) > 0 && (len(ports) != config.Brokers || config.Version == Old) {
			return nil, fmt.Errorf("starting Kafka %s: the ports %v for %d brokers: give each of them one, and those of 2019 none", config.Version, ports, config.Brokers)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	c := &Cluster{config: config, dir: config.Dir}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting Kafka %s: %w", config.Version, err), c.Close())
		}
	}()
	if c.java, err = findJava(); err != nil {
		return nil, err
	}
	if c.jars, err = kafkaJars(ctx, config.Version); err != nil {
		return nil, err
	}
	if config.Version == Current && config.making == "" { // brokers of 2019 have none: few are started
		if c.classes, err = c.java.archive(ctx, c.jars, func(into archive) error { return rehearseBroker(ctx, into) }); err != nil {
			return nil, err
		}
	}
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "openbank-kafka-"); err != nil {
			return nil, err
		}
	}
	c.certs = certs.Options{Dir: filepath.Join(c.dir, "certs"), Servers: []string{Host}, Clients: config.Clients, CNOnly: config.CNOnly, Readable: true}
	if err := certs.Generate(c.certs); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	for _, b := range c.brokers {
		if err := b.start(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.awaitBrokers(ctx); err != nil {
		return nil, err
	}
	if err := c.knows(ctx, config.Settings); err != nil {
		return nil, err
	}
	return c, c.awaitCoordinator(ctx)
}

// knows fails for a setting that the brokers do not have: they pass over what they do not know.
func (c *Cluster) knows(ctx context.Context, settings map[string]string) error {
	if len(settings) == 0 {
		return nil
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	request, resource := kmsg.NewPtrDescribeConfigsRequest(), kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	request.Resources = append(request.Resources, resource)
	described, err := request.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(described.Resources[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("asking which settings the brokers have: %w", err)
	}
	known := map[string]bool{}
	for _, have := range described.Resources[0].Configs {
		known[have.Name] = have.ConfigType != 0 // what they do not know is there as well, without a type
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !known[name] {
			return fmt.Errorf("brokers have no setting %q: write one that server.properties takes, such as num.io.threads", name)
		}
	}
	return nil
}

// Addresses are the brokers' as clients are told them, host:port.
func (c *Cluster) Addresses() []string {
	addresses := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		addresses[i] = Host + ":" + strconv.Itoa(b.told)
	}
	return addresses
}

// PIDs are the process ids of the brokers.
func (c *Cluster) PIDs() []int {
	pids := make([]int, len(c.brokers))
	for i, b := range c.brokers {
		pids[i] = b.process.PID()
	}
	return pids
}

// Certificates are the set that the brokers trust, with an identity for each of the stack's clients. Every user may read it.
func (c *Cluster) Certificates() certs.Options { return c.certs }

// Client is a client under the command handler's certificate, or Admin's. The caller closes it.
func (c *Cluster) Client(more ...kgo.Opt) (*kgo.Client, error) {
	options, err := c.options(more...)
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(options...)
}

func (c *Cluster) options(more ...kgo.Opt) ([]kgo.Opt, error) {
	name := "command-handler"
	if c.config.Authorize {
		name = Admin
	}
	config, err := certs.ClientTLS(c.certs.Files(name))
	if err != nil {
		return nil, err
	}
	return append([]kgo.Opt{kgo.SeedBrokers(c.Addresses()...), kgo.DialTLSConfig(config)}, more...), nil
}

// Kill ends broker i, counted from 0, as a crash does, and waits until it is gone.
func (c *Cluster) Kill(i int) { c.brokers[i].process.Kill() }

// Restart starts broker i again, on the port and with the data that it had, and returns when all brokers are there.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	b := c.brokers[i]
	if b.process.Running() {
		return fmt.Errorf("restarting broker %d: it runs", i)
	}
	if err := b.start(ctx); err != nil {
		return fmt.Errorf("restarting broker %d: %w", i, err)
	}
	return c.awaitBrokers(ctx)
}

// Stop kills all brokers, which is all that others can notice of an end.
func (c *Cluster) Stop(context.Context) error {
	for i := range c.brokers {
		c.Kill(i)
	}
	return nil
}

// Start starts the brokers again after Stop, on the ports and with the data that they had, and returns when all are there.
func (c *Cluster) Start(ctx context.Context) error {
	starts, ctx := errgroup.WithContext(ctx) // a broker is not there before a majority is
	for i := range c.brokers {
		starts.Go(func() error { return c.Restart(ctx, i) })
	}
	return starts.Wait()
}

// Close stops all servers and removes a temporary directory; in a directory that stays they stop in order, when that takes no more
// than 20 seconds. Further calls return what the first one did.
func (c *Cluster) Close() error {
	c.close.Do(func() {
		var running []*process.Process
		for _, b := range c.brokers {
			if b.process != nil {
				running = append(running, b.process)
			}
		}
		stop := killAll // nobody misses what they have
		if c.config.Dir != "" || c.config.making != "" {
			stop = stopAll
		}
		stop(running)
		if c.zookeeper != nil {
			stop([]*process.Process{c.zookeeper})
		}
		if c.config.Dir == "" && c.dir != "" {
			c.err = os.RemoveAll(c.dir)
		}
	})
	return c.err
}

func killAll(running []*process.Process) {
	for _, p := range running {
		p.Kill()
	}
}

func stopAll(running []*process.Process) {
	ctx, cancel := context.WithTimeout(context.Background(), stopDeadline)
	defer cancel()
	for _, p := range running {
		p.Signal(syscall.SIGTERM)
	}
	for _, p := range running {
		select {
		case <-p.Exited():
		case <-ctx.Done(): // the last of three has no quorum to take leave of
			p.Kill()
		}
	}
}

// awaitBrokers waits until all brokers say that all of them are there.
func (c *Cluster) awaitBrokers(ctx context.Context) error {
	for i, b := range c.brokers {
		err := b.await(ctx, func() error {
			return c.ask(b, func(client *kgo.Client) error {
				metadata, err := kadm.NewClient(client).BrokerMetadata(ctx)
				if err != nil {
					return err
				}
				ids := metadata.Brokers.NodeIDs()
				slices.Sort(ids)
				if len(ids) != c.config.Brokers || metadata.Controller < 0 {
					return fmt.Errorf("broker %d knows the brokers %v and the controller %d", i, ids, metadata.Controller)
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitCoordinator waits until the brokers have made and read what they keep about groups. Whoever joins one before is told to come
// back, and librdkafka does so after three seconds.
func (c *Cluster) awaitCoordinator(ctx context.Context) error {
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{group}
	return c.brokers[0].await(ctx, func() error {
		coordinator, err := c.coordinator(ctx)
		if err != nil {
			return err
		}
		return c.ask(coordinator, func(client *kgo.Client) error {
			answer, err := describe.RequestWith(ctx, client.SeedBrokers()[0])
			if err != nil {
				return err
			}
			err = kerr.ErrorForCode(answer.Groups[0].ErrorCode)
			if errors.Is(err, kerr.GroupIDNotFound) { // so it has read what there is
				return nil
			}
			return err
		})
	})
}

// coordinator is the group's, by the word of the first broker.
func (c *Cluster) coordinator(ctx context.Context) (coordinator *broker, err error) {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey, find.CoordinatorKeys = group, []string{group} // before version 4 and since
	err = c.ask(c.brokers[0], func(client *kgo.Client) error {
		answer, err := find.RequestWith(ctx, client.SeedBrokers()[0])
		if err != nil {
			return err
		}
		code, id := answer.ErrorCode, answer.NodeID
		for _, found := range answer.Coordinators {
			code, id = found.ErrorCode, found.NodeID
		}
		if err := kerr.ErrorForCode(code); err != nil {
			return err
		}
		coordinator = c.brokers[id-1]
		return nil
	})
	return coordinator, err
}

// ask has a client of a broker's own address, past the proxy that may stand before it.
func (c *Cluster) ask(b *broker, question func(*kgo.Client) error) error {
	client, err := c.Client(kgo.SeedBrokers(Host+":"+strconv.Itoa(b.port)), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	return question(client)
}

// freePorts are ports that were free a moment ago.
func freePorts(count int) ([]int, error) {
	ports := make([]int, 0, count)
	for len(ports) < count {
		port, err := embedded.FreePort()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports, nil
}
