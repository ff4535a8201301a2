package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"openbank/bank"
	"openbank/fleet"
)

func TestABankThatRunsIsJoinedAndKeptFromRunToRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // Postgres' user has to pass it
		t.Fatal(err)
	}
	opened := openBank(t, dir)

	account := execute(t, dir, nil, "account", "--id", "00000000-0000-4000-8000-000000000001")
	first := values(account.stdout)
	if account.code != 0 || !bank.ValidIBAN(first["iban"]) || len(first["token"]) != 20 || first["id"] != "00000000-0000-4000-8000-000000000001" {
		t.Fatalf("account: %+v", account)
	}
	if again := execute(t, dir, nil, "account", "--id", first["id"], "--type=AUTO"); again.stdout != account.stdout {
		t.Errorf("the same id again: %+v", again)
	}
	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"a deposit":          {[]string{"--from=cash", "--to=" + first["iban"], "--amount=1250", "--description=first"}, 0, "confirmed", ""},
		"a wrong token":      {[]string{"--from=" + first["iban"], "--to=cash", "--amount=1", "--token=1"}, 1, "", "was rejected: invalid token\n"},
		"no token":           {[]string{"--from=" + first["iban"], "--to=cash", "--amount=1"}, 1, "", "was rejected: invalid token (no --token given)"},
		"a negative amount":  {[]string{"--from=cash", "--to=" + first["iban"], "--amount=-1"}, 1, "", "was rejected: amount must be positive"},
		"an id that is none": {[]string{"--from=cash", "--to=x", "--amount=1", "--id=7"}, 1, "", "--id: parsing id"},
	} {
		got := execute(t, dir, nil, append([]string{"transfer"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := execute(t, dir, nil, "balance", first["iban"]); got.stdout != "balance 12.50 euro, limit -500.00 euro, type MANUAL, changed 1 time\n" {
		t.Errorf("balance: %+v", got)
	}
	if got := execute(t, dir, nil, "balance", "NL00"); got.code != 1 || !strings.Contains(got.stderr, `"NL00" is no account of this bank`) {
		t.Errorf("balance of nobody: %+v", got)
	}
	checkTail(t, dir, first["iban"])
	if got := execute(t, dir, nil, "verify"); got.code != 0 || got.stdout != "2 accounts, 1 creation and 5 transfers (4 of them rejected), 1 change of balances\nopenings 1000000000000000.00 + in 12.50 - out 0.00 = balances 1000000000000012.50 euro\nthe books add up\n" {
		t.Errorf("verify: %+v", got)
	}
	checkBankFile(t, dir)

	opened.stop(t)
	if _, err := os.Stat(filepath.Join(dir, ".openbank", "bank.env")); err == nil {
		t.Error("bank.env is still there and leads nowhere")
	}
	openBank(t, dir, "--only=surroundings")
	if got := execute(t, dir, nil, "balance", first["iban"]); !strings.HasPrefix(got.stdout, "balance 12.50 euro") {
		t.Errorf("balance after a restart: %+v", got)
	}
	got := execute(t, dir, nil, "account", "--timeout=500ms")
	if got.code != 1 || !strings.Contains(got.stderr, "is a command handler running?") {
		t.Errorf("without a handler: %+v", got)
	}
}

func checkTail(t *testing.T, dir, iban string) {
	t.Helper()
	got := execute(t, dir, nil, "tail", "balance_changed", "--from-beginning", "--until-end")
	var line struct {
		Key, Record string
		Headers     map[string]string
		Value       map[string]any
	}
	if err := json.Unmarshal([]byte(got.stdout), &line); err != nil || got.code != 0 {
		t.Fatalf("tail: %v: %+v", err, got)
	}
	if line.Key != iban || line.Record != "BalanceChanged" || line.Headers["account-version"] != "1" || line.Value["new_balance"] != 1250.0 || line.Value["from_to"] != "cash" {
		t.Errorf("tail: %s", got.stdout)
	}
	if got := execute(t, dir, nil, "tail", "money_transfer_feedback", "--from-beginning", "-n", "2"); got.code != 0 || strings.Count(got.stdout, "\n") != 2 {
		t.Errorf("tail of two: %+v", got)
	}
	if got := execute(t, dir, nil, "tail", "nothing"); got.code != 1 || !strings.Contains(got.stderr, "there is no topic nothing; there are: account_creation_feedback, ") {
		t.Errorf("tail of nothing: %+v", got)
	}
	if got := execute(t, dir, nil, "tail", "balance_changed", "--until-end"); got.code != 0 || got.stdout != "" {
		t.Errorf("tail from the end to the end: %+v", got)
	}
	checkTailOfWhatComes(t, dir, iban)
}

func checkTailOfWhatComes(t *testing.T, dir, iban string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout bytes.Buffer
	said, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = said.Close() }()
	tail := command(ctx, dir, nil, "tail", "money_transfer_feedback", "-n", "1")
	tail.Stdout, tail.Stderr = &stdout, tell
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tell.Close()
	line, err := bufio.NewReader(said).ReadString('\n')
	if line != "waiting for new records on money_transfer_feedback; --from-beginning shows those that are there\n" {
		t.Errorf("it says %q (%v)", line, err)
	}
	sent := execute(t, dir, nil, "transfer", "--from=cash", "--to="+iban, "--amount=0")
	if err := tail.Wait(); err != nil || !strings.Contains(stdout.String(), "amount must be positive") {
		t.Errorf("%v %s after %+v", err, &stdout, sent)
	}
}

func checkBankFile(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, ".openbank", "bank.env")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("bank.env: %v %v", info, err)
	}
	if variables, err := readBankFile(path); err != nil || variables["KAFKA_GROUP"] != "command-handler" {
		t.Errorf("a handler that joins would be in the group %q (%v)", variables["KAFKA_GROUP"], err)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", `set -a; . "$1"; cd /; "$2" balance NL66OPEN0000000000`, "sh", path, filepath.Join(binaries, "open-bank"))
	shell.Env = fleet.Environment()
	if out, err := shell.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "balance 1000000000000000.00 euro") {
		t.Errorf("a shell that sourced bank.env: %v: %s", err, out)
	}
}

func TestWhatIsWrongIsASentenceAndExitsWith1(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	here := []string{"KAFKA_BROKERS=127.0.0.1:1", "SCHEMA_REGISTRY_URL=http://127.0.0.1:1", "DATABASE_URL=postgres://u:hush@127.0.0.1:1/d"}
	for name, c := range map[string]struct {
		environment []string
		args        []string
		want        []string
	}{
		"no command":             {nil, nil, []string{"expected one of", "open-bank --help"}},
		"an unknown flag":        {nil, []string{"demo", "--transfer=1"}, []string{"unknown flag --transfer", "(see open-bank demo --help)"}},
		"no letter":              {nil, []string{"dead-letters", "show"}, []string{"(see open-bank dead-letters show --help)"}},
		"no handler":             {nil, []string{"demo", "--handler=/nowhere/command-handler"}, []string{"/nowhere/command-handler", "make build", "--handler"}},
		"no handler to run":      {nil, []string{"run", "--handler=/nowhere/command-handler"}, []string{"make build"}},
		"numbers beyond memory":  {nil, []string{"demo", "--accounts=99999999999"}, []string{"--accounts: 99999999999 is above 1,000,000, the most"}},
		"nonsense numbers":       {nil, []string{"demo", "--accounts=1", "--transfers=0", "--rate=-1"}, []string{"--accounts", "--transfers", "--rate"}},
		"no bank to ask":         {nil, []string{"account"}, []string{"no bank is running in this directory: start open-bank run, source its bank.env, or set KAFKA_BROKERS and SCHEMA_REGISTRY_URL\n"}},
		"no bank to tail":        {nil, []string{"tail", "x"}, []string{"set KAFKA_BROKERS and SCHEMA_REGISTRY_URL\n"}},
		"no bank but a database": {[]string{"DATABASE_URL=postgres://u:hush@h/d"}, []string{"account"}, []string{"set KAFKA_BROKERS and SCHEMA_REGISTRY_URL\n"}},
		"no database":            {nil, []string{"balance", "NL66OPEN0000000000"}, []string{"no bank is running in this directory", "or set DATABASE_URL\n"}},
		"no database to verify":  {nil, []string{"verify"}, []string{"no bank is running in this directory", "or set DATABASE_URL\n"}},
		"nobody at the registry": {nil, []string{"account", "--schema-registry-url=http://127.0.0.1:1", "--timeout=1s"}, []string{"nothing was sent within 1s: fetching the"}},
		"a database of another":  {nil, []string{"balance", "x", "--database-url=mysql://u:hush@h/d"}, []string{"DATABASE_URL"}},
		"a # in the password":    {nil, []string{"verify", "--database-url=postgres://u:4711#hush@127.0.0.1:1/d"}, []string{"DATABASE_URL (--database-url) is not a Postgres URL", "%2F, %40"}},
		"a key for its path":     {[]string{"KAFKA_SSL_CA_LOCATION=/ca", "KAFKA_SSL_CERT_LOCATION=/cert", "KAFKA_SSL_KEY_LOCATION=-----BEGIN KEY-----\nhush", "KAFKA_SSL_KEY_PASSWORD=hush"}, []string{"dead-letters", "list", "--schema-registry-url=http://127.0.0.1:1"}, []string{"KAFKA_SSL_KEY_LOCATION (--kafka-ssl-key-location) holds a key or certificate itself; it must be the path of a file"}},
		"a broker with password": {nil, []string{"tail", "x", "--kafka-brokers=SASL://u:hush@h:1"}, []string{"KAFKA_BROKERS (--kafka-brokers) is a URL; it must be HOST:PORT"}},
		"nobody at the database": {nil, []string{"balance", "x", "--database-url=postgres://u:hush@127.0.0.1:1/d"}, []string{"looking x up", "refused"}},
		"nobody at its parts":    {[]string{"DB_HOSTNAME=127.0.0.1", "DB_PORT=1", "DB_PASSWORD=hush"}, []string{"balance", "x"}, []string{"looking x up", "refused"}},
		"some of the stores":     {[]string{"SSL_PASSWORD=hush"}, []string{"account"}, []string{"SSL_KEYSTORE_LOCATION and SSL_TRUSTSTORE_LOCATION missing"}},
		"half of TLS":            {[]string{"KAFKA_SSL_KEY_PASSWORD=hush"}, []string{"account"}, []string{"KAFKA_SSL_CA_LOCATION"}},
		"no amount":              {nil, []string{"transfer", "--from=cash", "--to=x"}, []string{"missing flags: --amount=CENTS", "(see open-bank transfer --help)"}},
		"nobody to pay":          {here, []string{"transfer", "--from=cash", "--to=", "--amount=1"}, []string{"--from and --to must name somebody"}},
		"an amount of letters":   {nil, []string{"transfer", "--from=cash", "--to=x", "--amount=ten"}, []string{"--amount"}},
		"an amount in euro":      {nil, []string{"transfer", "--from=cash", "--to=x", "--amount=12.50"}, []string{"--amount: amounts are whole cents: 1250 is 12.50 euro"}},
		"more than there is":     {nil, []string{"transfer", "--from=cash", "--to=x", "--amount=99999999999999999999"}, []string{"64 bits"}},
		"no such account type":   {nil, []string{"account", "--type=ROBOT"}, []string{"--type", "AUTO"}},
		"no time":                {here, []string{"account", "--timeout=0s"}, []string{"--timeout is a duration"}},
		"two topics of one name": {append([]string{"KAFKA_CMT_TOPIC=confirm_account_creation"}, here...), []string{"transfer", "--from=cash", "--to=x", "--amount=1"}, []string{"KAFKA_CMT_TOPIC", "is the topic of KAFKA_CAC_TOPIC already"}},
		"the same to check":      {here, []string{"check", "--balance-changed-topic=confirm_account_creation"}, []string{"KAFKA_BC_TOPIC", "is the topic of KAFKA_CAC_TOPIC already"}},
		"no topic's name":        {here, []string{"dead-letters", "list", "--confirm-money-transfer-topic=a b"}, []string{`"a b" is no name for this topic`}},
		"nobody at the brokers":  {here, []string{"dead-letters", "list"}, []string{"nothing answers there (named in KAFKA_BROKERS, or by a broker)"}},
		"nobody to tail":         {here, []string{"tail", "x"}, []string{"listing the topics", "(named in KAFKA_BROKERS"}},
		"a tail of nothing":      {here, []string{"tail", "x", "-n", "0"}, []string{"-n (--count) must be at least 1"}},
		"no brokers":             {nil, []string{"tail", "x", "--kafka-brokers=nowhere"}, []string{`"nowhere" is not HOST:PORT`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := execute(t, dir, c.environment, c.args...)
			if got.code != 1 || got.stdout != "" {
				t.Errorf("%+v", got)
			}
			for _, want := range append(c.want, "open-bank: ") {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("%q is not in %s", want, got.stderr)
				}
			}
			if strings.Contains(got.stderr, "hush") {
				t.Errorf("a password in %s", got.stderr)
			}
		})
	}
}

func TestABankWhosePostgresEndsStops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // Postgres' user has to pass it
		t.Fatal(err)
	}
	opened := openBank(t, dir, "--only=surroundings")
	for _, args := range [][]string{{"verify"}, {"balance", "x"}} {
		if got := execute(t, dir, nil, args...); got.code != 1 || got.stderr != "open-bank: "+errNoTables.Error()+"\n" {
			t.Errorf("%q: %+v", args, got)
		}
	}
	endPostgres(t, filepath.Join(dir, defaultDirectory))
	var ended *exec.ExitError
	if err := opened.child.Err(); !errors.As(err, &ended) || ended.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	if said := opened.output(t); !strings.Contains(said, "Postgres ended by itself: stopping\n") || !strings.Contains(said, "postgres.log: exit status") {
		t.Errorf("%s", said)
	}
}

// endPostgres ends the server of the bank in dir at once, as if it had done so itself.
func endPostgres(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
}

func TestABankThatIsInterruptedWhileItStartsEndsInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // Postgres' user has to pass it
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = said.Close() }()
	run := command(ctx, dir, nil, "run", "--only=surroundings")
	run.Stderr = tell
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tell.Close()
	lines := bufio.NewScanner(said)
	lines.Scan() // it is starting
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // or it can't write
		t.Log(lines.Text())
	}
	if err := run.Wait(); err != nil {
		t.Error(err)
	}
}

func TestVersionAndHelpExitWith0(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"--version": "open-bank ", "--help": "surroundings"} {
		args := []string{flag}
		if flag == "--help" {
			args = []string{"run", flag}
		}
		if got := execute(t, t.TempDir(), nil, args...); got.code != 0 || !strings.Contains(got.stdout, want) || got.stderr != "" {
			t.Errorf("%s: %+v", flag, got)
		}
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for cents, want := range map[string]string{"7": "0.07", "-123456789012345678901234": "-1234567890123456789012.34"} {
		if got := euroText(cents); got != want {
			t.Errorf("%s: %s", cents, got)
		}
	}
	for cents, want := range map[int64]string{0: "0.00", 5: "0.05", -1250: "-12.50", -9: "-0.09"} {
		if got := euro(cents); got != want {
			t.Errorf("%d: %s", cents, got)
		}
	}
}
