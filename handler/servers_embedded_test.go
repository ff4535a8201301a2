//go:build !realkafka

package handler_test

import (
	"context"

	"openbank/embedded"
)

var buildFlags = []string{"-race"}

// servers are a bank's surroundings.
type servers = embedded.Bank

func startServers(ctx context.Context, config embedded.Config) (*servers, error) {
	return embedded.Start(ctx, config)
}
