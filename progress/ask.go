package progress

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// Ask asks a question, and returns the line that is answered, without white space around it. The error is ctx's, or that of reading: io.EOF for
// an end without a line.
func Ask(ctx context.Context, in io.Reader, out io.Writer, question string) (string, error) {
	type line struct {
		text string
		err  error
	}
	_, _ = fmt.Fprint(out, question)
	answer := make(chan line, 1)
	go func() { // a terminal can't be told to stop waiting
		text, err := bufio.NewReader(in).ReadString('\n')
		answer <- line{strings.TrimSpace(text), err}
	}()
	select {
	case said := <-answer:
		return said.text, said.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
