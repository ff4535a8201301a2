package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// place is where something stands in a file, both counted from 1. The zero value is the file as a whole.
type place struct{ line, column int }

// Fault is one thing that is wrong with a file.
type Fault struct {
	File         string
	Line, Column int    // from 1; 0 when it is the file as a whole
	Text         string // what is written there
	Wrong        string // what is wrong with it
	Mend         string // what would be right
	source       string // the whole line
}

func (f *Fault) Error() string {
	var text strings.Builder
	text.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&text, ":%d:%d", f.Line, f.Column)
	}
	text.WriteString(": ")
	if f.Text != "" {
		fmt.Fprintf(&text, "%s: ", shorten(oneLine(f.Text), mostShown))
	}
	text.WriteString(oneLine(f.Wrong))
	if f.Mend != "" {
		fmt.Fprintf(&text, ": %s", oneLine(f.Mend))
	}
	if f.source != "" {
		before, line := f.excerpt()
		fmt.Fprintf(&text, "\n%5d | %s\n      | %s^", f.Line, line, strings.Repeat(" ", before))
	}
	return text.String()
}

// mostShown is how many characters of a text are shown, and of a line on either side of a fault.
const mostShown = 100

// excerpt is the line, or what is around the fault when it is long, and how many characters of it are before the fault.
func (f *Fault) excerpt() (before int, line string) {
	runes := []rune(f.source)
	at := min(max(f.Column-1, 0), len(runes))
	first, last := max(0, at-mostShown), min(len(runes), at+mostShown)
	left, right := oneLine(string(runes[first:at])), oneLine(string(runes[at:last]))
	if first > 0 {
		left = "…" + left
	}
	if last < len(runes) {
		right += "…"
	}
	return len([]rune(left)), left + right
}

// mostFaults is how many of a file are shown at once.
const mostFaults = 100

// FileError is all that is wrong with a topology, in the order of its lines.
type FileError struct{ Faults []*Fault }

func (e *FileError) Error() string {
	lines := make([]string, 0, min(len(e.Faults), mostFaults)+1)
	for i, fault := range e.Faults {
		if i == mostFaults {
			lines = append(lines, fmt.Sprintf("and %d more", len(e.Faults)-i))
			break
		}
		lines = append(lines, fault.Error())
	}
	return strings.Join(lines, "\n")
}

// faults gathers what is wrong with one file.
type faults struct {
	file  string
	lines []string
	found []*Fault
}

func (f *faults) add(at place, text, wrong, mend string) {
	fault := &Fault{File: f.file, Line: at.line, Column: at.column, Text: text, Wrong: wrong, Mend: mend}
	if at.line > 0 && at.line <= len(f.lines) {
		fault.source = strings.TrimRight(f.lines[at.line-1], "\r")
	}
	f.found = append(f.found, fault)
}

func (f *faults) err() error {
	if len(f.found) == 0 {
		return nil
	}
	slices.SortStableFunc(f.found, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &FileError{f.found}
}

// closest is the one of the words that a misspelt one is most like, or "" when it is like none of them.
func closest(word string, words []string) string {
	most := min(max(2, len(word)/3), len(word)/2) // of a short word anything could be made
	best, distance := "", most+1
	for _, candidate := range words {
		if d := editDistance(strings.ToLower(word), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// didYouMean is the mend of a misspelt word.
func didYouMean(word string, words []string) string {
	if like := closest(word, words); like != "" {
		return "did you mean " + like + "?"
	}
	return "write one of " + strings.Join(words, ", ")
}

// editDistance is Levenshtein's, over bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
