package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"openbank/audit"
	"openbank/bank"
	"openbank/embedded"
	"openbank/fleet"
	"openbank/progress"
	"openbank/surroundings"
)

// patience is how long nothing may come while something is waited for.
const patience = 60 * time.Second

type demoCommand struct {
	Accounts  int           `default:"1000" help:"How many accounts to open."`
	Transfers int           `default:"50000" help:"How many transfers to send, in all, besides duplicates and garbage."`
	Rate      int           `default:"500" help:"How many records a second to send while latency is measured."`
	Steady    time.Duration `default:"10s" help:"How long latency is measured."`
	Handlers  int           `default:"1" help:"How many command handlers share the work."`
	Handler   string        `placeholder:"FILE" help:"The command-handler to start; the one beside this program when not given."`
	Dir       string        `help:"Where everything is kept, without a bank in it so far; a directory of its own that goes when all is well, when not given."`
	Seed      uint64        `help:"Repeats the commands of a run, ids included. Only in a fresh directory."`
	JSON      bool          `name:"json" help:"Print the summary as JSON."`
	Timeout   time.Duration `default:"15m" help:"How long all of it may take."`
}

func (c *demoCommand) check() error {
	var faults []error
	for _, f := range []struct {
		flag        string
		value, most int // all commands are made in memory
	}{{"--accounts", c.Accounts, 1_000_000}, {"--transfers", c.Transfers, 5_000_000}, {"--rate", c.Rate, 1_000_000}, {"--handlers", c.Handlers, 100}} {
		switch {
		case f.value < 1:
			faults = append(faults, fmt.Errorf("%s must be at least 1", f.flag))
		case f.value > f.most:
			faults = append(faults, fmt.Errorf("%s: %d is above %s, the most", f.flag, f.value, n(f.most)))
		}
	}
	if c.Accounts == 1 {
		faults = append(faults, errors.New("--accounts must be at least 2: money goes from one to another"))
	}
	if c.Steady < 0 || c.Timeout <= 0 {
		faults = append(faults, errors.New("--steady and --timeout are durations such as 10s"))
	}
	return errors.Join(faults...)
}

// demo is one run.
type demo struct {
	*demoCommand
	session  *session
	dir      string
	progress *progress.Progress
	around   *surroundings.Surroundings
	handlers *fleet.Fleet
	client   *reach
	watch    *watch
	work     *workload
	result   summary
	kept     bool // the directory stays, for who wants to look into it

	answers, letters int64              // what must have come by now
	expected         map[bank.ID]string // reasons, by command
}

// Run prints the summary. What didn't hold is an error.
func (c *demoCommand) Run(s *session) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	path, err := fleet.Find(c.Handler)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(s.ctx, c.Timeout, fmt.Errorf("the demo took longer than %s (--timeout)", c.Timeout))
	defer cancel()
	d := &demo{demoCommand: c, session: s, progress: progress.New(s.stderr), expected: map[bank.ID]string{}}
	if c.Dir != "" {
		if err := d.makeDirectory(); err != nil {
			return err
		}
	}
	if err := d.run(ctx, path); err != nil {
		d.progress.Abandon()
		if d.kept {
			return fmt.Errorf("%w\n(everything is in %s)", err, d.dir)
		}
		return err
	}
	return nil
}

// makeDirectory makes --dir. What the demo checks holds for a bank that nobody used before.
func (d *demo) makeDirectory() (err error) {
	if d.dir, err = filepath.Abs(d.Dir); err != nil {
		return fmt.Errorf("making --dir: %w", err)
	}
	held, err := embedded.Holds(d.dir)
	if err != nil {
		return fmt.Errorf("looking into --dir: %w", err)
	}
	if held {
		return fmt.Errorf("there is a bank in %s already, and a demo needs a fresh one: remove it, or name another directory with --dir", d.Dir)
	}
	if err := os.MkdirAll(d.dir, 0o711); err != nil { // Postgres' user, another one under root, has to pass it
		return fmt.Errorf("making --dir: %w", err)
	}
	return nil
}

var (
	// errInterrupted is all that there is to say after Ctrl-C.
	errInterrupted   = errors.New("interrupted")
	errPostgresEnded = errors.New("the Postgres server ended by itself")
)

// why is the reason of err: when ctx has ended, that of ctx, and not what went wrong everywhere because of it.
func (d *demo) why(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case d.session.ctx.Err() != nil:
		return errInterrupted
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// run starts everything, sends everything, stops the handlers, judges and prints. Unless all was well or it was interrupted, the
// directory stays.
func (d *demo) run(ctx context.Context, handlerPath string) (err error) {
	logger := slog.New(slog.NewTextHandler(d.session.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d.progress.Step("starting Kafka, the registry and Postgres")
	if d.around, err = surroundings.Embedded(ctx, d.dir, logger); err != nil {
		return d.why(ctx, err)
	}
	d.dir = d.around.Bank.Dir()
	defer func() {
		if err != nil && !errors.Is(err, errInterrupted) {
			d.kept = true
			err = errors.Join(err, d.around.Bank.Keep())
		}
		err = errors.Join(err, d.around.Stop())
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-d.around.Bank.Postgres.Ended():
			cancel(errPostgresEnded)
		case <-ctx.Done():
		}
	}()
	bankFile := filepath.Join(d.dir, bankFileName)
	if err := writeBankFile(bankFile, bankEnvironment(d.around)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(bankFile)) }()
	// So soon a schema id is believed to be unknown, or the demo would take longer for one record than for all others.
	environment := append([]string{"UNKNOWN_SCHEMA_AFTER=2s"}, bankEnvironment(d.around)...)
	if d.handlers, err = fleet.Start(fleet.Command{Name: "command-handler", Path: handlerPath}, d.Handlers, d.dir, environment); err != nil {
		return err
	}
	stopped := false
	defer func() {
		switch {
		case stopped:
		case errors.Is(err, errPostgresEnded):
			d.handlers.Kill()
		default:
			err = errors.Join(err, d.handlers.Stop())
		}
	}()
	d.progress.Done("ready, over mutual TLS; %s started", progress.Counted(d.Handlers, "command-handler"))
	defer func() {
		if d.client != nil {
			d.client.close()
		}
	}()
	if err := d.converse(ctx, logger); err != nil {
		return d.why(ctx, err)
	}
	stopped = true
	if err := d.handlers.Stop(); err != nil {
		return err
	}
	if err := d.judge(ctx, logger); err != nil {
		return d.why(ctx, err)
	}
	if err := d.result.print(d.session.stdout, d.JSON); err != nil {
		return err
	}
	if !d.result.Held {
		return errors.New("something did not hold, see above")
	}
	return nil
}

// converse sends everything and follows what comes back.
func (d *demo) converse(ctx context.Context, logger *slog.Logger) error {
	watching, endWatching := context.WithCancel(ctx)
	defer endWatching()
	if err := d.reach(watching, logger); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.watch.run(watching)
	}()
	defer func() {
		endWatching()
		<-ended
	}()
	return d.sendAll(ctx)
}

func (d *demo) reach(ctx context.Context, logger *slog.Logger) (err error) {
	// Latency is measured here: nothing lingers.
	d.client, err = reachBank(d.around.Connection.Kafka, d.around.Connection.Registry, logger, kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	if d.watch, err = newWatch(ctx, d.client); err != nil {
		return err
	}
	if d.Seed == 0 {
		var seed [8]byte
		_, _ = rand.Read(seed[:]) // never fails
		d.Seed = binary.LittleEndian.Uint64(seed[:])
	}
	d.result.Seed = d.Seed
	d.work = &workload{random: mathrand.New(mathrand.NewPCG(d.Seed, 0)), codec: d.client.codec} // commands, not secrets
	return nil
}

// sendAll sends the four lots one after the other and waits each time until all of it is answered.
func (d *demo) sendAll(ctx context.Context) error {
	records, err := d.work.creations(ctx, d.Accounts)
	if err != nil {
		return err
	}
	if _, err := d.lot(ctx, "opening accounts", records, 0); err != nil {
		return err
	}
	d.learnAccounts(records)
	if records, err = d.work.deposits(ctx); err != nil {
		return err
	}
	if _, err := d.lot(ctx, "first deposits", records, 0); err != nil {
		return err
	}
	left := max(0, d.Transfers-len(records))
	if steady := min(left, int(float64(d.Rate)*d.Steady.Seconds())); steady > 0 {
		if records, err = d.work.transfers(ctx, steady); err != nil {
			return err
		}
		if _, err := d.lot(ctx, fmt.Sprintf("latency at %d records/s", d.Rate), records, d.Rate); err != nil {
			return err
		}
		left -= steady
	}
	d.result.takeLatency(d.Rate, d.watch)
	if left > 0 {
		if records, err = d.work.transfers(ctx, left); err != nil {
			return err
		}
		took, err := d.lot(ctx, "transfers as fast as they go", records, 0)
		if err != nil {
			return err
		}
		if took > 0 {
			d.result.Drain = &drain{Records: len(records), Seconds: took.Seconds(), PerSecond: float64(len(records)) / took.Seconds()}
		}
	}
	_, err = d.lot(ctx, "a schema id that no registry has", []sending{d.work.unknownSchema()}, 0)
	return err
}

// lot sends records and waits for what must come of them. It returns how long that took, from the first to the last.
func (d *demo) lot(ctx context.Context, title string, records []sending, rate int) (time.Duration, error) {
	d.progress.Step(title)
	begin := time.Now()
	answersBefore, lettersBefore := d.answers, d.letters
	d.count(records)
	sent := make(chan error, 1)
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { sent <- d.send(sending, records, rate) }()
	err := d.watch.until(ctx, d.handlers, d.progress, d.answers, d.letters, patience)
	if err != nil {
		cancel()
		if unsent := <-sent; !errors.Is(unsent, context.Canceled) { // canceled here: what stands in err is the reason
			err = errors.Join(err, unsent)
		}
		return 0, err
	}
	if err := <-sent; err != nil {
		return 0, err
	}
	took := d.watch.lastAt().Sub(begin)
	d.progress.Done("%s, %s, %s", progress.Counted(len(records), "record"), progress.Counted(d.answers-answersBefore, "answer"), progress.Counted(d.letters-lettersBefore, "dead letter"))
	return took, nil
}

func (d *demo) learnAccounts(records []sending) {
	d.watch.mu.Lock()
	defer d.watch.mu.Unlock()
	for _, s := range records {
		if a, ok := d.watch.accounts[s.id]; ok && !s.again {
			d.work.accounts = append(d.work.accounts, a)
		}
	}
}

// judge reads topics and database as an outsider and fills the summary.
func (d *demo) judge(ctx context.Context, logger *slog.Logger) error {
	d.progress.Step("reading topics and database, checking")
	evidence, err := audit.ReadTopics(ctx, d.around.Connection.Kafka, d.client.codec, audit.DefaultTopics(), d.progress.At)
	if err != nil {
		return err
	}
	url := d.around.Connection.Database.URL()
	if err := audit.ReadTables(ctx, url, evidence); err != nil {
		return err
	}
	books, err := readBooks(ctx, d.around.Connection.Database, logger)
	if err != nil {
		return err
	}
	d.result.judge(audit.Check(evidence, audit.Options{}), books, d.compare())
	d.progress.Done("%s records read", progress.Grouped(int64(len(evidence.Deliveries)+len(evidence.Answers)+len(evidence.Events)+len(evidence.Letters))))
	return nil
}

// compare holds the answers against what the sender knows that they must be.
func (d *demo) compare() []string {
	var surprises []string
	for id, expected := range d.expected {
		reason, answered := d.watch.reasons[id]
		switch {
		case !answered:
			surprises = append(surprises, fmt.Sprintf("command %s was not answered", id))
		case expected == anyReason && (reason == "" || reason == bank.ReasonInsufficientFunds), reason == expected:
		default:
			surprises = append(surprises, fmt.Sprintf("command %s was answered %q and should have been %q", id, reason, expected))
		}
	}
	return surprises
}
