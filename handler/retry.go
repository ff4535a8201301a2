package handler

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 2 * time.Second
)

// fatalError is one that waiting does not mend.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// ordinary is an error that comes and goes by itself, such as what a rebalance makes of a transaction. It is not worth a
// log line, and tried again soon.
type ordinary struct{ error }

func (e ordinary) Unwrap() error { return e.error }

const ordinaryBackoff = 20 * time.Millisecond

// until calls f until it returns nil, with a backoff that doubles from 100 ms to 2 s. Each new error text is logged once,
// not once a try, as what is waited for. A fatalError ends the waiting at once; when ctx is done first, its error is returned.
func until(ctx context.Context, log *slog.Logger, what string, f func() error) error {
	said := ""
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := f()
		if err == nil {
			if said != "" {
				log.Info(what + ": done waiting")
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var fatal fatalError
		if errors.As(err, &fatal) {
			return fatal.error
		}
		var common ordinary
		if errors.As(err, &common) {
			log.Debug(what+": again", "reason", err)
			backoff = ordinaryBackoff
		} else if text := err.Error(); text != said {
			said = text
			log.Warn(what+": waiting", "reason", text)
		}
		if !pause(ctx, backoff) {
			return context.Cause(ctx)
		}
	}
}
