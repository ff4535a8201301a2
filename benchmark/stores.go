package benchmark

import (
	"context"
	"errors"
	"fmt"
	"time"

	"openbank/floor"
	"openbank/result"
	"openbank/tpcb"
)

// stores prepares the database's yardsticks, each a turn, and returns what removes them.
func (b *Bench) stores(ctx context.Context) (turns []turn, closeAll func() error, err error) {
	var closers []func(context.Context) error
	closeAll = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var faults []error
		for _, c := range closers {
			faults = append(faults, c(ctx))
		}
		return errors.Join(faults...)
	}
	if len(b.Stores) == 0 {
		return nil, closeAll, nil
	}
	url, binaries := b.World.DatabaseURL(), ""
	if b.World.Own != nil { // a database of their own, which no turn removes
		url, binaries = b.World.Own.Postgres.URL(""), b.World.Own.Postgres.Binaries()
	}
	if url == "" {
		return nil, closeAll, errors.New("the yardsticks of the database need DATABASE_URL")
	}
	for _, name := range b.Stores {
		switch name {
		case TPCB:
			b.Progress.Step("preparing TPC-B")
			t, err := tpcb.Prepare(ctx, tpcb.Config{URL: url, Binaries: binaries, Scale: b.Scale, Clients: b.Clients})
			if err != nil {
				return nil, closeAll, errors.Join(err, closeAll())
			}
			b.Progress.Done("done")
			closers = append(closers, t.Close)
			turns = append(turns, b.store("TPC-B", t.How(), func(ctx context.Context) (float64, *result.Latency, error) {
				rate, err := t.Run(ctx, b.StoreTime)
				return rate, nil, err
			}))
		case Writes:
			w, err := floor.PrepareWrites(ctx, url, b.MaxBatch)
			if err != nil {
				return nil, closeAll, errors.Join(err, closeAll())
			}
			closers = append(closers, w.Close)
			turns = append(turns, b.store("bare writes", fmt.Sprintf("UPDATE and INSERT for %d transfers a transaction, made up by the server", b.MaxBatch), func(ctx context.Context) (float64, *result.Latency, error) {
				rate, err := w.Run(ctx, b.StoreTime)
				return rate, nil, err
			}))
		case Fsync:
			turns = append(turns, b.store("fsync", "8 KiB written and kept, in "+b.FsyncDir, func(ctx context.Context) (float64, *result.Latency, error) {
				took, err := floor.Fsync(ctx, b.FsyncDir, b.StoreTime)
				if err != nil {
					return 0, nil, err
				}
				return float64(took.TotalCount()) / b.StoreTime.Seconds(), took, nil
			}))
		default:
			return nil, closeAll, fmt.Errorf("%q is none of the yardsticks %s, %s and %s", name, TPCB, Writes, Fsync)
		}
	}
	return turns, closeAll, nil
}

// store is a turn of a yardstick.
func (b *Bench) store(name, how string, run func(ctx context.Context) (rate float64, took *result.Latency, err error)) turn {
	return turn{name, func(ctx context.Context) error {
		if err := b.World.checkpoint(ctx); err != nil {
			return err
		}
		start := time.Now()
		rate, took, err := run(ctx)
		if err != nil {
			return err
		}
		s := b.subject(result.Subject{Name: name, Kind: "store", Command: how})
		s.Rounds = append(s.Rounds, result.Round{Started: start, Duration: time.Since(start), Rate: rate, Latency: took})
		b.Progress.Done("%s/s", result.Number(rate))
		return nil
	}}
}
