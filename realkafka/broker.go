package realkafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// broker is one broker of a cluster.
type broker struct {
	server
	port int // its own
	told int // what clients are told
}

// settings that all versions share.
func (c *Cluster) settings(id int) map[string]string {
	replicas, inSync := "1", "1"
	if c.config.Brokers == 3 {
		replicas, inSync = "3", "2"
	}
	files := c.certs.Stores(Host)
	return map[string]string{
		"log.dirs":                                 filepath.Join(c.dir, "data-"+strconv.Itoa(id)),
		"default.replication.factor":               replicas,
		"min.insync.replicas":                      inSync,
		"offsets.topic.replication.factor":         replicas,
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            inSync,
		// Fewer than in production: they are made at a group's and a transaction's first request, and that is waited for.
		"offsets.topic.num.partitions":         "8",
		"transaction.state.log.num.partitions": "8",
		"group.initial.rebalance.delay.ms":     "0",
		"auto.create.topics.enable":            "false",
		"ssl.keystore.type":                    "PKCS12",
		"ssl.keystore.location":                files.KeyStore,
		"ssl.keystore.password":                files.Password,
		"ssl.key.password":                     files.Password,
		"ssl.truststore.type":                  "PKCS12",
		"ssl.truststore.location":              files.TrustStore,
		"ssl.truststore.password":              files.Password,
		"ssl.client.auth":                      "required",
	}
}

// prepare makes what brokers need before they start: their settings, the old ones' ZooKeeper, the new ones' formatted
// directories.
func (c *Cluster) prepare(ctx context.Context) error {
	if c.config.Version == Old {
		return c.prepareOld(ctx)
	}
	ports, err := freePorts(3 * c.config.Brokers)
	if err != nil {
		return err
	}
	ports, controllers, internal := ports[:c.config.Brokers], ports[c.config.Brokers:2*c.config.Brokers], ports[2*c.config.Brokers:]
	if len(c.config.Ports) > 0 {
		ports = c.config.Ports
	}
	told := ports
	if len(c.config.Advertised) > 0 {
		told = c.config.Advertised
	}
	voters := make([]string, c.config.Brokers)
	for i := range voters {
		voters[i] = fmt.Sprintf("%d@%s:%d", i+1, Host, controllers[i])
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	cluster := base64.RawURLEncoding.EncodeToString(id)
	for i := range c.config.Brokers {
		settings := c.settings(i + 1)
		maps.Copy(settings, map[string]string{
			"node.id":                        strconv.Itoa(i + 1),
			"process.roles":                  "broker,controller",
			"controller.quorum.voters":       strings.Join(voters, ","),
			"controller.listener.names":      "CONTROLLER",
			"listeners":                      fmt.Sprintf("SSL://%[1]s:%[2]d,INTERNAL://%[1]s:%[3]d,CONTROLLER://%[1]s:%[4]d", Host, ports[i], internal[i], controllers[i]),
			"advertised.listeners":           fmt.Sprintf("SSL://%[1]s:%[2]d,INTERNAL://%[1]s:%[3]d", Host, told[i], internal[i]),
			"inter.broker.listener.name":     "INTERNAL",
			"listener.security.protocol.map": "SSL:SSL,INTERNAL:SSL,CONTROLLER:SSL",
			// Share groups are not used, but their topic's defaults are for three brokers.
			"share.coordinator.state.topic.replication.factor": settings["offsets.topic.replication.factor"],
			"share.coordinator.state.topic.min.isr":            settings["min.insync.replicas"],
			// A killed broker is missed after 3 seconds instead of 9.
			"broker.session.timeout.ms":    "3000",
			"broker.heartbeat.interval.ms": "500",
		})
		if c.config.Authorize {
			settings["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
			settings["super.users"] = "User:CN=" + Host + ";User:CN=" + Admin
		}
		path, err := c.addBroker(i+1, ports[i], told[i], settings)
		if err != nil {
			return err
		}
		// A word by itself that begins with a dash, as one id in 64 does, would be taken for a flag.
		if err := c.java.run(ctx, slices.Concat([]string{quickStart}, c.program("kafka.tools.StorageTool", "format", "--cluster-id="+cluster, "-c", path))...); err != nil {
			return fmt.Errorf("formatting broker %d: %w", i+1, err)
		}
	}
	return nil
}

// prepareOld starts the ZooKeeper.
func (c *Cluster) prepareOld(ctx context.Context) error {
	ports, err := freePorts(c.config.Brokers + 1)
	if err != nil {
		return err
	}
	zookeeperPort := ports[c.config.Brokers]
	path, err := c.writeSettings("zookeeper", map[string]string{
		"dataDir":            filepath.Join(c.dir, "zookeeper"),
		"clientPort":         strconv.Itoa(zookeeperPort),
		"clientPortAddress":  "127.0.0.1",
		"maxClientCnxns":     "0",
		"admin.enableServer": "false",
	})
	if err != nil {
		return err
	}
	zookeeper := server{java: c.java, name: "zookeeper", log: filepath.Join(c.dir, "zookeeper.log")}
	// Its beans for log4j are for log4j 1, which is not there.
	zookeeper.args = slices.Concat([]string{"-Xmx128m", "-Dzookeeper.jmx.log4j.disable=true"}, c.program("org.apache.zookeeper.server.quorum.QuorumPeerMain", path))
	if err := zookeeper.start(ctx); err != nil {
		return err
	}
	c.zookeeper = zookeeper.process
	for i := range c.config.Brokers {
		settings := c.settings(i + 1)
		address := fmt.Sprintf("SSL://%s:%d", Host, ports[i])
		maps.Copy(settings, map[string]string{
			"broker.id":                       strconv.Itoa(i + 1),
			"listeners":                       address,
			"advertised.listeners":            address,
			"security.inter.broker.protocol":  "SSL",
			"zookeeper.connect":               "127.0.0.1:" + strconv.Itoa(zookeeperPort),
			"zookeeper.connection.timeout.ms": "60000", // ZooKeeper may still be starting
		})
		if _, err := c.addBroker(i+1, ports[i], ports[i], settings); err != nil {
			return err
		}
	}
	return nil
}

// Options of the JVM. The usual heap is that of Kafka's own start script; of its collectors the parallel one stops a broker on two cores for
// 5 to 7 ms, the serial one for 35 to 39, and G1, which the script has, takes more of the cores than it gives back.
var (
	usual = []string{"-Xms1g", "-Xmx1g", "-XX:+UseParallelGC"}
	brief = []string{quickStart, "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC"}
)

// addBroker writes the settings of a broker and returns where.
func (c *Cluster) addBroker(id, port, told int, settings map[string]string) (string, error) {
	name := "broker-" + strconv.Itoa(id)
	maps.Copy(settings, c.config.Settings)
	path, err := c.writeSettings(name, settings)
	if err != nil {
		return "", err
	}
	b := &broker{server: server{java: c.java, name: name, log: filepath.Join(c.dir, name+".log")}, port: port, told: told}
	options := usual
	if c.config.Brief {
		options = brief
	}
	b.args = slices.Concat(options, c.config.making.make(), c.program("kafka.Kafka", path))
	c.brokers = append(c.brokers, b)
	return path, nil
}

// program is what a JVM is told after its options to run one of the release's classes.
func (c *Cluster) program(class string, args ...string) []string {
	return slices.Concat(c.classes.use(), []string{"-cp", filepath.Join(c.jars, "*"), class}, args)
}

func (c *Cluster) writeSettings(name string, settings map[string]string) (string, error) {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s=%s\n", key, settings[key])
	}
	path := filepath.Join(c.dir, name+".properties")
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
}
