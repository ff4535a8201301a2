package topology

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Styles of a terminal.
const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	bold   = "\x1b[1m"
	plain  = "\x1b[0m"
)

type printer struct {
	w      io.Writer
	colour bool
	err    error
}

// line writes a line in a style, whatever names and messages have in them; after a failure it does nothing.
func (p *printer) line(style, format string, args ...any) {
	if p.err != nil {
		return
	}
	text := printable(fmt.Sprintf(format, args...), "\t")
	if p.colour && style != "" {
		text = style + text + plain
	}
	_, p.err = fmt.Fprintln(p.w, text)
}

// Print writes the plan for people: + made, ~ changed, - deleted, ! not possible.
func (p *Plan) Print(w io.Writer, colour bool) error {
	out := &printer{w: w, colour: colour}
	last := ""
	for _, change := range p.Changes {
		last = out.change(change, last)
	}
	if len(p.Changes) > 0 {
		out.line("", "")
	}
	for _, unchecked := range p.Unchecked {
		out.line(yellow, "Not compared: %s", unchecked)
	}
	for _, note := range p.Notes {
		out.line("", "Note: %s", note)
	}
	p.Unlisted.print(out)
	out.line(bold, "%s", p.Summary())
	return out.err
}

// Summary is the plan in one line.
func (p *Plan) Summary() string {
	if p.Empty() {
		return fmt.Sprintf("Nothing to do: all %s are as they must be.", p.subjectMatter())
	}
	text := fmt.Sprintf("Plan: %d to create, %d to change, %d to delete", p.Count(Create), p.Count(Update), p.Count(Delete))
	if n := p.Blocked(); n > 0 {
		text += fmt.Sprintf("; %d not possible", n)
	}
	return fmt.Sprintf("%s; %d as they must be.", text, p.Existing)
}

func (p *Plan) subjectMatter() string {
	parts := []string{"topics"}
	if p.topology != nil && p.topology.asksRegistry() {
		parts = append(parts, "subjects")
	}
	if p.topology != nil && p.topology.ManagesACLs {
		parts = append(parts, "ACLs")
	}
	if len(parts) > 1 {
		parts = []string{strings.Join(parts[:len(parts)-1], ", "), parts[len(parts)-1]}
	}
	return fmt.Sprintf("%d %s", p.Existing, strings.Join(parts, " and "))
}

var marks = map[Action]struct{ sign, style string }{Create: {"+", green}, Update: {"~", yellow}, Delete: {"-", red}}

// change writes one change. Those of one topic or subject that follow each other share a heading.
func (p *printer) change(change Change, last string) string {
	mark := marks[change.Action]
	if change.Blocked != "" {
		mark.sign, mark.style = "!", red
	}
	heading := mark.sign + " " + change.heading()
	if heading != last {
		p.line(mark.style+bold, "%s", heading)
	}
	width := 0
	for _, field := range change.Fields {
		width = max(width, len(field.Name))
	}
	for _, field := range change.Fields {
		p.line(mark.style, "    %-*s  %s", width, field.Name, field.arrow(change.Action))
	}
	if change.Before != "" && change.Schema != nil {
		for _, line := range schemaDiff(change.Before, change.Schema.Text) {
			style := ""
			switch line[0] {
			case '+':
				style = green
			case '-':
				style = red
			}
			p.line(style, "      %s", line)
		}
	}
	for _, warning := range change.Warnings {
		p.lines(yellow, "    warning: ", warning)
	}
	if change.Blocked != "" {
		p.lines(red, "    not possible: ", change.Blocked)
	}
	return heading
}

// lines writes what a registry or broker may say in several, indented.
func (p *printer) lines(style, prefix, text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		p.line(style, "%s%s", prefix, strings.TrimRight(line, "\r\n"))
		prefix = "      "
	}
}

func (c Change) heading() string {
	switch c.Kind {
	case KindRegistry:
		return "registry"
	case KindCompatibility, KindSchema:
		return "subject " + c.Name
	case KindACL:
		return "ACL " + c.Name
	default:
		return "topic " + c.Name
	}
}

func (f Field) arrow(action Action) string {
	switch {
	case action == Create && f.From == "":
		return f.To
	case f.To == "":
		return f.From + " -> the default"
	case f.From == "":
		return "none -> " + f.To
	}
	return f.From + " -> " + f.To
}

func (u Unlisted) print(out *printer) {
	if n := len(u.Topics); n > 0 {
		out.line("", "Not listed, left (--allow-delete topics): %s", some(u.Topics))
	}
	if n := len(u.Subjects); n > 0 {
		out.line("", "Not listed, left (--allow-delete subjects): %s", some(u.Subjects))
	}
	if n := len(u.ACLs); n > 0 {
		out.line("", "Not listed, left (--allow-delete acls): %s", count(n, "ACL"))
	}
	if n := len(u.Config); n > 0 {
		topics := slices.Sorted(maps.Keys(u.Config))
		out.line("", "Configured besides what is named, left (--prune-config): %s", some(topics))
	}
}

// some names a few of many.
func some(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// WriteJSON writes the plan for programs. Errors: w's.
func (p *Plan) WriteJSON(w io.Writer) error {
	return WriteJSON(w, p.Summed())
}

// Summed is the plan with its numbers, for JSON. docs/topology.md describes it.
func (p *Plan) Summed() any {
	return struct {
		*Plan
		Summary map[string]int `json:"summary"`
	}{p, map[string]int{"create": p.Count(Create), "update": p.Count(Update), "delete": p.Count(Delete), "blocked": p.Blocked(), "existing": p.Existing}}
}

// WriteJSON writes a value laid out and without what a terminal obeys, which JSON may have in strings. Errors: w's.
func WriteJSON(w io.Writer, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := io.WriteString(w, Printable(text.String()))
	return err
}

// schemaDiff are the lines in which two schemas differ, with a few around them; JSON is laid out alike first.
func schemaDiff(before, after string) []string {
	a, b := strings.Split(layOut(before), "\n"), strings.Split(layOut(after), "\n")
	const most = 2_000 // lines; the table below has the product of both
	if len(a) > most || len(b) > most {
		return []string{"  (too long to compare)"}
	}
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var lines []string
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			lines = append(lines, "  "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, "- "+a[i])
			i++
		default:
			lines = append(lines, "+ "+b[j])
			j++
		}
	}
	return around(lines)
}

// around leaves out lines that are far from any change.
func around(lines []string) []string {
	const context = 2
	keep := make([]bool, len(lines))
	for i, line := range lines {
		if line[0] != ' ' {
			for j := max(0, i-context); j < min(len(lines), i+context+1); j++ {
				keep[j] = true
			}
		}
	}
	var kept []string
	for i, line := range lines {
		switch {
		case keep[i]:
			kept = append(kept, line)
		case i > 0 && keep[i-1]:
			kept = append(kept, "  …")
		}
	}
	return kept
}

func layOut(text string) string {
	var indented bytes.Buffer
	if json.Indent(&indented, []byte(text), "", "  ") != nil {
		return strings.TrimSpace(text)
	}
	return strings.TrimSpace(indented.String())
}
