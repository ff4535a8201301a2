package store

import (
	"context"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"openbank/bank"
	"openbank/tpcb"
)

// What the benchmark measures, and for how long: every case once a round, what is compared right after one another, so
// that whatever else the machine does falls on both alike. Rates are medians of the rounds; ratios are medians of the
// rounds' ratios.
const (
	benchRounds     = 5
	benchTime       = 3 * time.Second // of each case, in each round
	benchAccounts   = 10_000
	benchRows       = 1_000_000 // commands already handled
	benchDuplicates = 20        // one in so many is a duplicate
	tpcbScale       = 50
	tpcbClients     = 16
)

var (
	executeSizes = []int{1, 10, 100, 1000, 4000}
	bareSizes    = []int{100, 1000, 4000}
)

// BenchmarkStore compares Execute with pgbench's TPC-B and with the bare writes that Execute comes down to, on one
// server in one run, and prints a table. Run it with -benchtime=1x.
func BenchmarkStore(b *testing.B) {
	s := migrated(b)
	w := newWorkload(b, s)
	yardstick, err := tpcb.Prepare(b.Context(), tpcb.Config{URL: database(b), Binaries: server.Binaries(), Scale: tpcbScale, Clients: tpcbClients})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = yardstick.Close(context.Background()) })

	rates := map[string][]float64{}
	measured := func(name string, rate float64) { rates[name] = append(rates[name], rate) }
	for range b.N * benchRounds {
		rate, err := yardstick.Run(b.Context(), benchTime)
		if err != nil {
			b.Fatal(err)
		}
		measured("tpcb", rate)
		for _, n := range executeSizes {
			measured(fmt.Sprint("execute ", n), w.execute(b, n))
			if slices.Contains(bareSizes, n) {
				measured(fmt.Sprint("bare ", n), w.bare(b, n))
			}
		}
	}
	report(b, s, yardstick.How(), rates)
}

func report(b *testing.B, s *Store, how string, rates map[string][]float64) {
	median := func(values []float64) float64 {
		r := slices.Sorted(slices.Values(values))
		return r[len(r)/2]
	}
	ratio := func(name, to string) float64 {
		r := slices.Clone(rates[name])
		for i := range r {
			r[i] /= rates[to][i]
		}
		return median(r)
	}
	spread := func(name string) string {
		r := rates[name]
		return fmt.Sprintf("%.0f to %.0f", slices.Min(r), slices.Max(r))
	}
	fmt.Printf("\n%d cores, %s, %s\n", runtime.NumCPU(), runtime.Version(), setting(b, s, "server_version"))
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers", "max_wal_size", "checkpoint_timeout"} {
		fmt.Printf("%s=%s ", name, setting(b, s, name))
	}
	var rows, size int64
	s.query(b, &rows, `SELECT count(*) FROM {cmt}`)
	s.query(b, &size, `SELECT pg_total_relation_size('{cmt}') / 1048576`)
	fmt.Printf("\n%d accounts, uniform; %d rows at the start, %d (%d MiB) at the end; 1 in %d a duplicate; one session; medians of %d rounds of %v, of ratios as well\n",
		benchAccounts, benchRows, rows, size, benchDuplicates, len(rates["tpcb"]), benchTime)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer func() { _ = t.Flush() }()
	fmt.Fprintln(t, "batch\tcommands/s\trange\tx TPC-B\tbare writes/s\tof the bare writes\t")
	base := median(rates["tpcb"])
	for _, n := range executeSizes {
		name := fmt.Sprint("execute ", n)
		rate := median(rates[name])
		line := fmt.Sprintf("%d\t%.0f\t%s\t%.1f", n, rate, spread(name), ratio(name, "tpcb"))
		b.ReportMetric(rate, fmt.Sprintf("commands/s@%d", n))
		if slices.Contains(bareSizes, n) {
			bare := fmt.Sprint("bare ", n)
			line += fmt.Sprintf("\t%.0f\t%.0f%%\t", median(rates[bare]), 100*ratio(name, bare))
		} else {
			line += "\t\t\t"
		}
		fmt.Fprintln(t, line)
	}
	fmt.Fprintf(t, "TPC-B\t%.0f\t%s\t1.0\t\t\t\n", base, spread("tpcb"))
	fmt.Fprintf(t, "TPC-B: %s\n", how)
	b.ReportMetric(base, "tpcb/s")
	b.ReportMetric(0, "ns/op")
}

func setting(b *testing.B, s *Store, name string) (value string) {
	// Of a session that executes, with what the store sets there.
	if err := s.executing.GetContext(b.Context(), &value, `SELECT current_setting($1)`, name); err != nil {
		b.Fatal(err)
	}
	return value
}

// workload makes batches for one store.
type workload struct {
	s      *Store
	made   []Outcome
	sent   []Command // a sample of what was executed, to be sent again
	offset int64
}

func newWorkload(b *testing.B, s *Store) *workload {
	b.Helper()
	w := &workload{s: s, made: accounts(b, s, benchAccounts, 1_000_000_000_00)}
	for w.offset < benchRows {
		execute(b, s, w.batch(4000)...)
	}
	s.exec(b, `VACUUM ANALYZE`)
	s.exec(b, `CHECKPOINT`)
	return w
}

func (w *workload) batch(n int) []Command {
	commands := make([]Command, n)
	for i := range commands {
		w.offset++
		at := Origin{Topic: "confirm_money_transfer", TopicID: [16]byte{1}, Partition: int32(w.offset % 9), Offset: w.offset}
		if len(w.sent) > 0 && mrand.IntN(benchDuplicates) == 0 {
			commands[i] = w.sent[mrand.IntN(len(w.sent))]
			commands[i].Origin = at
			continue
		}
		from, to := mrand.IntN(len(w.made)), mrand.IntN(len(w.made)-1)
		if to >= from {
			to++
		}
		c := bank.ConfirmMoneyTransfer{Token: w.made[from].Token, Amount: 1 + mrand.Int64N(10_000), From: w.made[from].IBAN, To: w.made[to].IBAN, Description: "groceries, week 34"}
		_, _ = rand.Read(c.ID[:])
		commands[i] = Command{Transfer: &c, Origin: at}
		if len(w.sent) < 100_000 {
			w.sent = append(w.sent, commands[i])
		} else {
			w.sent[mrand.IntN(len(w.sent))] = commands[i]
		}
	}
	return commands
}

// execute runs batches of n for benchTime and returns commands a second. Making the commands is not timed.
func (w *workload) execute(b *testing.B, n int) float64 {
	b.Helper()
	var spent time.Duration
	done := 0
	for spent < benchTime {
		batch := Batch{Commands: w.batch(n), Progress: []Progress{{Topic: "confirm_money_transfer", TopicID: [16]byte{1}, Partition: 0, ExecutedTo: w.offset, PublishedTo: -1}}}
		start := time.Now()
		if _, err := w.s.Execute(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		spent += time.Since(start)
		done += n
	}
	return float64(done) / spent.Seconds()
}

// bare runs transactions that update the balances of n transfers and insert their rows, by the very statements of
// Execute, and do nothing else: what is to be written is decided and encoded beforehand, untimed.
func (w *workload) bare(b *testing.B, n int) float64 {
	b.Helper()
	ctx := context.WithoutCancel(b.Context())
	all, byIBAN, seq := w.everyAccount(b)
	var spent time.Duration
	done := 0
	for spent < benchTime {
		sent := w.sent
		w.sent = nil // no duplicates
		writes := newBatch(w.batch(n), make([]Outcome, n))
		w.sent = sent
		writes.locked, writes.accounts, writes.seq = all, byIBAN, seq
		writes.decide()
		seq += int64(n)
		balances, transfers := writes.changedBalances(), writes.transferRows()
		err := w.s.lend(ctx, func(t *session) error {
			start := time.Now()
			defer func() { spent += time.Since(start) }()
			if err := t.begin(ctx, newBatch(nil, nil)); err != nil {
				return err
			}
			if err := t.put(ctx, t.writeTransfers, progressRows(nil), balances, transfers); err != nil {
				return err
			}
			return t.Commit()
		})
		if err != nil {
			b.Fatal(err)
		}
		done += n
		for i := range all {
			all[i].before = all[i].Version
		}
	}
	return float64(done) / spent.Seconds()
}

// everyAccount reads the accounts, and a number above every seq.
func (w *workload) everyAccount(b *testing.B) (all []lockedAccount, byIBAN bank.Accounts, seq int64) {
	b.Helper()
	byIBAN = bank.Accounts{}
	rows, err := w.s.reading.QueryContext(b.Context(), w.s.layout.sql(`SELECT balance_id, iban, token, amount, lmt, version FROM {balance} ORDER BY iban COLLATE "C"`))
	if err != nil {
		b.Fatal(err)
	}
	err = eachRow(rows, func() error {
		var a lockedAccount
		if err := rows.Scan(&a.id, &a.IBAN, &a.Token, &a.Balance, &a.Limit, &a.Version); err != nil {
			return err
		}
		a.before = a.Version
		all = append(all, a)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range all {
		byIBAN[all[i].IBAN] = &all[i].Account
	}
	w.s.query(b, &seq, `SELECT nextval('{command_seq}')`)
	return all, byIBAN, seq
}
