package embedded

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

func TestOfTheBrokersOnlyWhatIsNewsIsLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := brokerLogger{slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))}
	l.Logf(kfake.LogLevelInfo, "a request")
	l.Logf(kfake.LogLevelWarn, "txn: EndTxn slow pid=%d epoch=%d elapsed=%dms batches=%d groups=%d", 1, 0, 6, 9, 1)
	l.Logf(kfake.LogLevelWarn, "txn: %s", "something else")
	l.Logf(kfake.LogLevelError, "persist to disk: %s", "full")
	const want = "level=WARN msg=\"Kafka: txn: something else\"\nlevel=ERROR msg=\"Kafka: persist to disk: full\"\n"
	if got := out.String(); got != want {
		t.Errorf("logged\n%swant\n%s", got, want)
	}
}
