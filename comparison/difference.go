package comparison

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"openbank/result"
)

// Difference is something besides the figures in which the runs differ.
type Difference struct {
	What string `json:"what"`
	A    string `json:"a"`
	B    string `json:"b"`
	// Refused says that figures do not compare because of it, unless the caller allows it.
	Refused bool `json:"refused"`
	machine bool
}

func (d Difference) String() string {
	said := func(s string) string {
		if s == "" {
			return "not set"
		}
		return s
	}
	return fmt.Sprintf("%s: %s → %s", d.What, said(d.A), said(d.B))
}

func differences(a, b *result.Run, pairs [][2]*result.Subject) []Difference {
	found := []Difference{}
	note := func(d Difference) {
		if d.A != d.B {
			found = append(found, d)
		}
	}
	gib := func(bytes int64) string { return fmt.Sprintf("%d GiB", (bytes+1<<29)>>30) }
	note(Difference{What: "CPU", A: a.Machine.CPU, B: b.Machine.CPU, Refused: true, machine: true})
	note(Difference{What: "cores", A: fmt.Sprint(a.Machine.Cores), B: fmt.Sprint(b.Machine.Cores), Refused: true, machine: true})
	note(Difference{What: "memory", A: gib(a.Machine.Memory), B: gib(b.Machine.Memory)})
	note(Difference{What: "system", A: a.Machine.System, B: b.Machine.System})
	for _, p := range pairs {
		// Who names two subjects of other names means them as they are.
		note(Difference{What: "delivery of " + p[0].Name, A: p[0].Delivery, B: p[1].Delivery, Refused: p[0].Name == p[1].Name})
		note(Difference{What: "version of " + p[0].Name, A: p[0].Version, B: p[1].Version})
	}
	for _, m := range []struct {
		of   string
		a, b map[string]string
	}{
		{"version of ", a.Versions, b.Versions},
		{"Postgres: ", a.Postgres, b.Postgres},
		{"configuration: ", a.Configuration, b.Configuration},
	} {
		keys := map[string]string{}
		maps.Copy(keys, m.a)
		maps.Copy(keys, m.b)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			note(Difference{What: m.of + key, A: m.a[key], B: m.b[key]})
		}
	}
	return found
}

func refuse(found []Difference, o Options) error {
	if o.AllowDifferences {
		return nil
	}
	var why []string
	for _, d := range found {
		if d.Refused && (!d.machine || o.Against == "") {
			why = append(why, d.String())
		}
	}
	if len(why) > 0 {
		return fmt.Errorf("the figures don't compare, since the runs differ in more than what was measured: %s", strings.Join(why, "; "))
	}
	return nil
}
