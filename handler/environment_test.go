package handler_test

import (
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/lib/pq"
	"github.com/twmb/franz-go/pkg/kadm"
	"software.sslmate.com/src/go-pkcs12"

	"openbank/bank"
	"openbank/certs"
)

// javaStores are the identity in files, as Java 8 would have it.
func (b *bundle) javaStores(files certs.Files) (keyStore, trustStore string) {
	b.t.Helper()
	config, err := certs.ClientTLS(files)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := files.Text()
	if err != nil {
		b.t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text.CA))
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		b.t.Fatal(err)
	}
	own := config.Certificates[0]
	key, err := pkcs12.LegacyRC2.Encode(own.PrivateKey, own.Leaf, nil, files.Password)
	if err != nil {
		b.t.Fatal(err)
	}
	trust, err := pkcs12.LegacyRC2.EncodeTrustStoreEntries([]pkcs12.TrustStoreEntry{{Cert: ca, FriendlyName: "caroot"}}, files.Password)
	if err != nil {
		b.t.Fatal(err)
	}
	dir := b.t.TempDir()
	keyStore, trustStore = filepath.Join(dir, "kafka.command-handler.keystore.jks"), filepath.Join(dir, "kafka.command-handler.truststore.jks")
	for path, content := range map[string][]byte{keyStore: key, trustStore: trust} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	return keyStore, trustStore
}

// The Clojure handler's environment is all that this one is told.
func TestTheClojureHandlersEnvironmentIsEnough(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.synchronize()
	database, err := url.Parse(b.bank.Postgres.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	b.execute(
		`CREATE ROLE clojure_ch LOGIN PASSWORD 'open-bank'`,
		`ALTER DATABASE balancedb OWNER TO clojure_ch`, // and with it of the schema public
	)
	files := b.bank.Certificate("command-handler")
	keyStore, trustStore := b.javaStores(files)
	h := b.start(
		"DATABASE_URL=", "KAFKA_SSL_CA_LOCATION=", "KAFKA_SSL_CERT_LOCATION=", "KAFKA_SSL_KEY_LOCATION=", "KAFKA_SSL_KEY_PASSWORD=", "KAFKA_GROUP=",
		"DB_HOSTNAME="+database.Hostname(), "DB_PORT="+database.Port(), "DB_PASSWORD=open-bank", "KAFKA_CLIENT_ID=ch",
		"SSL_STORE_DIRECTORY="+filepath.Dir(keyStore), "SSL_KEYSTORE_LOCATION="+filepath.Base(keyStore), "SSL_TRUSTSTORE_LOCATION="+trustStore, "SSL_PASSWORD="+files.Password,
	)
	w := b.watch(creationAnswers, transferAnswers, events)
	var n ids
	account := b.open(w, n.next())
	deposit := bank.ConfirmMoneyTransfer{ID: n.next(), Amount: 1, From: bank.Cash, To: account.IBAN}
	b.send(b.command(&deposit))
	w.wait(transferAnswers, deposit.ID.String(), 1)
	members, err := kadm.NewClient(b.client).DescribeGroups(t.Context(), "ch")
	if err != nil {
		t.Fatal(err)
	}
	clients := map[string]bool{}
	for _, member := range members["ch"].Members {
		clients[member.ClientID] = true
	}
	if !clients["ch-cac"] || !clients["ch-cmt"] {
		t.Errorf("the group ch has the members %v", members["ch"].Members)
	}
	b.stop(h)
	b.answered(reasonableTimeout, false)
}

// execute changes the database as its superuser.
func (b *bundle) execute(statements ...string) {
	b.t.Helper()
	db, err := sql.Open("postgres", b.bank.Postgres.URL(""))
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range statements {
		if _, err := db.ExecContext(b.t.Context(), statement); err != nil {
			b.t.Fatalf("%s: %v", statement, err)
		}
	}
}
