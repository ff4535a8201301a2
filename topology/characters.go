package topology

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

var byteOrderMark = []byte("\ufeff")

// utf16 says whether a text looks like UTF-16: by its byte order mark, or by the zeros that ASCII has in it.
func utf16(text []byte) bool {
	return bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}) ||
		len(text) >= 4 && (text[0] == 0) != (text[1] == 0) && (text[0] == 0) == (text[2] == 0) && (text[1] == 0) == (text[3] == 0)
}

// characters is the text without what may stand before a document, on the same lines. It is false, and told, when the text has
// what no YAML may have: the library says neither where nor what to do.
func (d *decoder) characters(text []byte) ([]byte, bool) {
	if utf16(text) {
		d.lines = nil
		d.add(place{1, 1}, "", "it is UTF-16", "save it as UTF-8")
		return nil, false
	}
	if bytes.HasPrefix(text, byteOrderMark) {
		text = text[len(byteOrderMark):]
		d.lines[0] = strings.TrimPrefix(d.lines[0], string(byteOrderMark))
	}
	here := place{1, 1}
	for rest := text; len(rest) > 0; here.column++ {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			d.add(here, fmt.Sprintf("byte 0x%02x", rest[0]), "it is not UTF-8", "save the file as UTF-8")
			return nil, false
		case unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r):
			d.add(here, fmt.Sprintf("U+%04X", r), "this is a control character, which YAML has none of", `take it out, or write it in double quotes, as "\x1b"`)
			return nil, false
		case r == '\n':
			here = place{here.line + 1, 0}
		}
		rest = rest[size:]
	}
	return withoutDirective(text), true
}

var yamlDirective = regexp.MustCompile(`\A(?:[ \t]*(?:#[^\n]*)?\r?\n)*(%)YAML[ \t]+1\.[0-9]+[ \t]*(?:#[^\n]*)?\r?\n`)

// withoutDirective makes a comment of %YAML 1.2, which the library refuses, and reads.
func withoutDirective(text []byte) []byte {
	found := yamlDirective.FindSubmatchIndex(text)
	if found == nil {
		return text
	}
	text = bytes.Clone(text)
	text[found[2]] = '#'
	return text
}

var unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)

// syntax tells of YAML that can't be parsed: the parser stops at the first fault.
func (d *decoder) syntax(err error) {
	var told *yaml.LoadError
	if !errors.As(err, &told) || told.Mark.Line == 0 {
		d.add(place{1, 1}, "", "it is not YAML", "mend this: "+err.Error())
		return
	}
	here := place{told.Mark.Line, max(told.Mark.Column, 1)}
	opened := place{told.ContextMark.Line, max(told.ContextMark.Column, 1)}
	if found := unknownAnchor.FindStringSubmatch(told.Message); found != nil {
		d.add(here, "*"+found[1], "there is no such anchor", "define it before, as &"+found[1])
		return
	}
	message := told.Message
	if told.ContextMsg != "" {
		message = told.ContextMsg + ": " + message
	}
	if opened.line > 0 && strings.TrimSpace(strings.Join(d.lines[min(here.line, len(d.lines))-1:], "")) == "" {
		here = opened // the end of the file says nothing of where it went wrong
		last := len(d.lines)
		for last > 1 && strings.TrimSpace(d.line(last)) == "" {
			last--
		}
		if here.line > last { // nor does what was to open there
			here = place{last, len([]rune(strings.TrimRight(d.line(last), " \t\r"))) + 1}
		}
	}
	d.add(here, "", "it is not YAML ("+message+")", d.syntaxMend(told.Message, told.Mark))
}

// syntaxMend is what mostly mends what the parser says.
func (d *decoder) syntaxMend(message string, mark yaml.Mark) string {
	line := []rune(d.line(mark.Line))
	character := ' '
	if at := mark.Column - 1; at >= 0 && at < len(line) {
		character = line[at]
	}
	indentation := string(line[:len(line)-len([]rune(strings.TrimLeft(string(line), " \t")))])
	switch {
	case strings.Contains(indentation, "\t") || character == '\t':
		return "indent with spaces, not tabs"
	case strings.HasPrefix(message, "did not find expected ',' or"):
		return "close the bracket, put a comma before this, or quotes around text with a colon and a space in it"
	case strings.HasPrefix(message, "did not find expected node content"):
		return "write what is missing here, or close the bracket"
	case strings.HasPrefix(message, "mapping values are not allowed"):
		return "put quotes around text with a colon and a space in it, or indent the key like those beside it"
	case strings.HasPrefix(message, "found character that cannot start any token"):
		return "put quotes around text that begins with " + string(character)
	case strings.HasPrefix(message, "did not find expected key"), strings.HasPrefix(message, "did not find expected '-'"):
		return "indent it like those beside it"
	case strings.HasPrefix(message, "found unexpected end of stream"):
		return "close the quotes"
	case strings.HasPrefix(message, "found incompatible YAML document"):
		return "write %YAML 1.2, or leave the line out"
	case strings.HasPrefix(message, "exceeded max depth"):
		return "a topology nests a few levels deep: take the brackets away"
	}
	return "mend the YAML"
}

func (d *decoder) line(number int) string {
	if number < 1 || number > len(d.lines) {
		return ""
	}
	return d.lines[number-1]
}
