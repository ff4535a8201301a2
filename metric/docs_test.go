package metric

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The table of metrics is what there is, in the same words and order.
func TestTheDocumentsListEveryMetric(t *testing.T) {
	t.Parallel()
	var rows strings.Builder
	for _, f := range slices.Concat(Families, Process) {
		labels := ""
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", f.Name, f.Kind, labels, f.Help)
	}
	const head = "| metric | type | labels | |\n|---|---|---|---|\n"
	_, after, found := strings.Cut(read(t, "operations.md"), head)
	table, _, _ := strings.Cut(after, "\n\n")
	if !found || table+"\n" != rows.String() {
		t.Errorf("docs/operations.md does not have this table:\n%s%s", head, rows.String())
	}
}

// Every alert has its section, and no section is about an alert that there is not.
func TestEveryAlertIsExplained(t *testing.T) {
	t.Parallel()
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Load([]byte(read(t, "prometheus/alerts.yml")), &rules, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	_, alerts, _ := strings.Cut(read(t, "operations.md"), "\n## Alerts\n")
	alerts, _, _ = strings.Cut(alerts, "\n## ")
	var explained, there []string
	for _, found := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(alerts, -1) {
		explained = append(explained, found[1])
	}
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			there = append(there, r.Alert)
			if r.Labels["severity"] != "page" && r.Labels["severity"] != "ticket" || r.Annotations["summary"] == "" || r.Expr == "" {
				t.Errorf("%s has severity %q and summary %q", r.Alert, r.Labels["severity"], r.Annotations["summary"])
			}
		}
	}
	slices.Sort(explained)
	slices.Sort(there)
	if len(there) == 0 || !slices.Equal(explained, there) {
		t.Errorf("explained are %q, there are %q", explained, there)
	}
}

// panels is what a dashboard has.
type panels struct {
	UID, Title    string
	SchemaVersion int
	Panels        []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ RefID, Expr, LegendFormat string }
	}
}

func dashboard(t *testing.T) (d panels) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "grafana/openbank.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The dashboard is one that Grafana can import: panels with ids of their own, a query each, and room for all of them.
func TestTheDashboardIsWhole(t *testing.T) {
	t.Parallel()
	dashboard := dashboard(t)
	if dashboard.UID == "" || dashboard.Title == "" || dashboard.SchemaVersion < 39 || len(dashboard.Panels) < 20 {
		t.Errorf("uid %q, title %q, schema version %d, %d panels", dashboard.UID, dashboard.Title, dashboard.SchemaVersion, len(dashboard.Panels))
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && (len(p.Targets) == 0 || p.Description == "") {
			t.Errorf("panel %d, %q: its id is there twice, or it has no title, description or query", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			if q.Expr == "" || q.RefID == "" {
				t.Errorf("%q has an empty query", p.Title)
			}
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, there := taken[[2]int{x, y}]; there || x >= 24 {
					t.Fatalf("%q lies over %q, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// What no handler has is asked of all of them together, and whether there is one by the job: another one's may be scraped too.
func TestNoQueryTakesOneHandlerForAll(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"grafana/openbank.json", "prometheus/alerts.yml"} {
		for line := range strings.Lines(read(t, name)) {
			if strings.Contains(line, "openbank_topic_partitions") && (strings.Contains(line, "$instance") || strings.Contains(line, "max by (topic)")) {
				t.Errorf("%s: of one instance, or of several jobs in one: %s", name, line)
			}
			if strings.Contains(line, "absent(") && !strings.Contains(line, `job="command-handler"`) {
				t.Errorf("%s: of any job: %s", name, line)
			}
		}
	}
}

// The stack's second handler is the first one but for its name, and found where Prometheus looks.
func TestTheSecondHandlerOfTheStackIsLikeTheFirst(t *testing.T) {
	t.Parallel()
	var stack struct{ Services map[string]map[string]any }
	if err := yaml.Load([]byte(read(t, "../docker-compose.yml")), &stack); err != nil {
		t.Fatal(err)
	}
	first, second := stack.Services["command-handler"], stack.Services["command-handler-2"]
	if got := fmt.Sprint(second["container_name"], second["profiles"], second["networks"]); got != "command-handler-2[second] map[default:map[aliases:[command-handler]]]" {
		t.Errorf("its name, profiles and networks are %s", got)
	}
	for _, own := range []string{"container_name", "profiles", "networks"} {
		delete(first, own)
		delete(second, own)
	}
	if len(first) < 5 || !reflect.DeepEqual(first, second) {
		t.Errorf("the first is %v, the second %v", first, second)
	}
	if !strings.Contains(read(t, "prometheus/prometheus.yml"), "names: [command-handler]") {
		t.Error("Prometheus looks elsewhere")
	}
}
