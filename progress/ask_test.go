package progress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAQuestionIsAnsweredOrGivenUp(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if answer, err := Ask(t.Context(), strings.NewReader(" yes \r\nmore\n"), &out, "Sure? "); answer != "yes" || err != nil || out.String() != "Sure? " {
		t.Errorf("%q, %v after %q", answer, err, out.String())
	}
	if answer, err := Ask(t.Context(), strings.NewReader("ye"), io.Discard, ""); answer != "ye" || !errors.Is(err, io.EOF) {
		t.Errorf("an end without a line: %q, %v", answer, err)
	}
	nobody, hangUp := io.Pipe()
	defer func() { _ = hangUp.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if answer, err := Ask(ctx, nobody, io.Discard, ""); answer != "" || !errors.Is(err, context.Canceled) {
		t.Errorf("nobody there: %q, %v", answer, err)
	}
}
