//go:build realkafka && linux

package realkafka

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServersShareTheClassesThatWereLoadedOnce(t *testing.T) {
	t.Parallel()
	registry, err := StartRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = registry.Close() }()
	for name, pid := range map[string]int{
		"kafka":    start(t, Config{Brief: true}).PIDs()[0],
		"registry": registry.PID(),
	} {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
		if err != nil {
			t.Fatal(err)
		}
		shared := false
		for line := range strings.Lines(string(maps)) {
			file := filepath.Base(strings.TrimSpace(line))
			shared = shared || strings.HasPrefix(file, "classes-") && filepath.Ext(file) == ".jsa"
		}
		if !shared {
			t.Errorf("%s maps no archive of its release's classes", name)
		}
	}
}
