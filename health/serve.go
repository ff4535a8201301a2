package health

import (
	"fmt"
	"net/http"
)

// ServeReady answers 200, or 503 with a line for each thing that is missing.
func (b *Board) ServeReady(w http.ResponseWriter, _ *http.Request) { answer(w, "ready", b.Missing()) }

// ServeLive answers 200, or 503 with a line for each stage that only a restart can help.
func (b *Board) ServeLive(w http.ResponseWriter, _ *http.Request) { answer(w, "live", b.Stuck()) }

func answer(w http.ResponseWriter, what string, wrong []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if len(wrong) == 0 {
		fmt.Fprintln(w, what)
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintf(w, "not %s\n", what)
	for _, line := range wrong {
		fmt.Fprintln(w, line)
	}
}
