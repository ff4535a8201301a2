package topology

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable is a text without what a terminal takes for an order: control characters, those that turn the direction of writing
// and bytes that are not UTF-8 are written as Go writes them in a string, \x1b or \u202e. Lines and tabs stay. JSON stays JSON.
func Printable(text string) string {
	return printable(text, "\n\t")
}

// oneLine is Printable for what must not begin a line of its own, such as a name.
func oneLine(text string) string { return printable(text, "") }

func printable(text, except string) string {
	if strings.IndexFunc(text, func(r rune) bool { return isOrder(r) || r == utf8.RuneError }) < 0 {
		return text
	}
	var safe strings.Builder
	for rest := text; len(rest) > 0; {
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&safe, `\x%02x`, rest[0])
		case !isOrder(r) || strings.ContainsRune(except, r):
			safe.WriteRune(r)
		case r == '\n':
			safe.WriteString(`\n`)
		case r == '\t':
			safe.WriteString(`\t`)
		case r == '\r':
			safe.WriteString(`\r`)
		case r < ' ':
			fmt.Fprintf(&safe, `\x%02x`, r)
		default:
			fmt.Fprintf(&safe, `\u%04x`, r)
		}
		rest = rest[size:]
	}
	return safe.String()
}

// isOrder says whether a terminal may do something else with a character than to show it.
func isOrder(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// shorten cuts a text that nobody would read to its end.
func shorten(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most]) + "…"
}
