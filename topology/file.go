package topology

import "strings"

// The types below are topology.yaml, key by key. Reading, the list of keys in an error, and the JSON Schema all come of them:
// the tag doc is what an editor shows, enum, min and required are checked.

type fileTopology struct {
	Defaults  fileDefaults  `yaml:"defaults" doc:"What holds for every topic that does not say otherwise."`
	Registry  fileRegistry  `yaml:"registry" doc:"Settings of the schema registry itself."`
	Topics    []fileTopic   `yaml:"topics" doc:"The topics that there must be."`
	Subjects  []fileSchema  `yaml:"subjects" doc:"Schemas of no one topic, such as those that others refer to."`
	ACLs      []fileACL     `yaml:"acls" doc:"Who may do what. Without this key access control lists are not looked at."`
	Internal  []string      `yaml:"internal" doc:"Topics that are never looked at or touched: names, or patterns with *. __*, _schemas and _confluent* always are."`
	Protected fileProtected `yaml:"protected" doc:"What is never deleted, whatever --allow-delete says: names, or patterns with *."`
}

type fileDefaults struct {
	Partitions    int32             `yaml:"partitions" min:"1" doc:"Number of partitions."`
	Replicas      Replicas          `yaml:"replicas" doc:"Number of replicas: exactly that many, or max (three, or one on each broker when there are fewer), or max N."`
	Config        map[string]string `yaml:"config" doc:"Topic configuration in Kafka's names; a topic's own wins."`
	Strategy      string            `yaml:"strategy" enum:"topic-record-name,topic-name,record-name" doc:"How subjects are named: <topic>-<record> (the default), <topic>-value and <topic>-key, or <record>."`
	Compatibility string            `yaml:"compatibility" enum:"level" doc:"Compatibility level of every subject."`
}

type fileRegistry struct {
	Compatibility string `yaml:"compatibility" enum:"level" doc:"The registry's own compatibility level, for subjects without one. Not given: left as it is."`
}

type fileTopic struct {
	Name          string            `yaml:"name" required:"true" doc:"The topic's name."`
	Purpose       string            `yaml:"purpose" doc:"What the topic is for, in words."`
	Partitions    int32             `yaml:"partitions" min:"1" doc:"Number of partitions."`
	Replicas      Replicas          `yaml:"replicas" doc:"Number of replicas: exactly that many, or max (three, or one on each broker when there are fewer), or max N."`
	Config        map[string]string `yaml:"config" doc:"Topic configuration in Kafka's names and spelling. What is not named is left as it is."`
	Strategy      string            `yaml:"strategy" enum:"topic-record-name,topic-name,record-name" doc:"How this topic's subjects are named."`
	Compatibility string            `yaml:"compatibility" enum:"level" doc:"Compatibility level of this topic's subjects."`
	Key           fileSchema        `yaml:"key" doc:"The schema of the keys."`
	Schemas       []fileSchema      `yaml:"schemas" doc:"The schemas of the values."`
}

// fileSchema is a mapping, or the file alone.
type fileSchema struct {
	File          string          `yaml:"file" required:"true" doc:"The schema: a file beside the topology (./order.avsc, .json or .proto), or a record of the bank (Heartbeat)."`
	Subject       string          `yaml:"subject" doc:"The subject, where no strategy is to name it. Required under subjects."`
	Type          string          `yaml:"type" enum:"AVRO,JSON,PROTOBUF" doc:"Type of the schema; follows from the file's name when not given."`
	Strategy      string          `yaml:"strategy" enum:"topic-record-name,topic-name,record-name" doc:"How this subject is named."`
	Compatibility string          `yaml:"compatibility" enum:"level" doc:"Compatibility level of the subject."`
	References    []fileReference `yaml:"references" doc:"Schemas of other subjects that this one needs."`
}

func (s *fileSchema) short() *string { return &s.File }

type fileReference struct {
	Name    string `yaml:"name" required:"true" doc:"How the schema names it: an Avro type's full name, a Protobuf import, a JSON $ref."`
	Subject string `yaml:"subject" required:"true" doc:"The subject that has it."`
	Version int32  `yaml:"version" min:"1" doc:"Which version of it. Not given: the latest one when this schema is registered."`
}

type fileACL struct {
	Principal        string     `yaml:"principal" required:"true" doc:"Whose rights, such as User:alice or User:CN=alice."`
	Host             string     `yaml:"host" doc:"From which address; every one when not given."`
	Reads            []string   `yaml:"reads" doc:"Topics to read: Read and Describe. NAME, NAME* for all that begin so, * for all."`
	Writes           []string   `yaml:"writes" doc:"Topics to write: Write and Describe. Names as for reads."`
	Groups           []string   `yaml:"groups" doc:"Consumer groups to be in: Read. Names as for reads."`
	TransactionalIDs []string   `yaml:"transactional_ids" doc:"Transactional ids to write with: Write and Describe. Names as for reads."`
	IdempotentWrite  bool       `yaml:"idempotent_write" doc:"IdempotentWrite on the cluster, which idempotent producers need before Kafka 2.8."`
	Rules            []fileRule `yaml:"rules" doc:"Anything else, as Kafka has it."`
}

type fileRule struct {
	Resource   string   `yaml:"resource" required:"true" enum:"topic,group,cluster,transactional_id,delegation_token,user" doc:"Type of the resource."`
	Name       string   `yaml:"name" doc:"Name of the resource, literally; for cluster it is kafka-cluster and may be left out."`
	Pattern    string   `yaml:"pattern" enum:"literal,prefixed" doc:"What the name means; literal when not given."`
	Operations []string `yaml:"operations" required:"true" enum:"operation" doc:"Kafka's operations."`
	Permission string   `yaml:"permission" enum:"allow,deny" doc:"allow when not given."`
}

type fileProtected struct {
	Topics     []string `yaml:"topics" doc:"Topics that are never deleted."`
	Subjects   []string `yaml:"subjects" doc:"Subjects that are never deleted."`
	Principals []string `yaml:"principals" doc:"Principals whose access control lists are never deleted."`
}

var operations = []string{
	"all", "read", "write", "create", "delete", "alter", "describe", "cluster_action", "describe_configs", "alter_configs",
	"idempotent_write", "create_tokens", "describe_tokens",
}

// choices are what a tag enum allows.
func choices(tag string) []string {
	switch tag {
	case "":
		return nil
	case "level":
		return levels
	case "operation":
		return operations
	}
	return strings.Split(tag, ",")
}
