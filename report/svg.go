package report

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// SVG is the chart as a file of its own, which follows the reader's colour scheme.
func (c *Chart) SVG() string { return c.svg(alone, "") }

// svg draws the chart; suffix tells the ids of two drawings in one page apart.
func (c *Chart) svg(f format, suffix string) string {
	l := arrange(c, f)
	var s svg
	id := c.ID + suffix
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-title %s-desc"`, units(f.width), units(l.height), id, id)
	if f.titled {
		fmt.Fprintf(&s, ` width="%s" height="%s"`, units(f.width), units(l.height))
	}
	fmt.Fprintf(&s, "><title id=\"%s-title\">%s</title><desc id=\"%s-desc\">%s</desc>\n", id, escaped(c.Title), id, escaped(c.Describe()))
	if f.titled {
		fmt.Fprintf(&s, "<style>%s</style>\n<rect class=\"ground\" width=\"100%%\" height=\"100%%\"/>\n", chartCSS())
	}
	l.draw(&s)
	s.WriteString("</svg>\n")
	return s.String()
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder takes everything
	return b.String()
}

// units writes a length; a tenth is finer than any screen shows.
func units(v float64) string { return strconv.FormatFloat(float64(int64(v*10+0.5))/10, 'f', -1, 64) }

type svg struct{ strings.Builder }

func (p pen) class() string {
	switch {
	case p.stroke == grid:
		return "thin grid"
	case p.stroke == axis:
		return "thin axis"
	case p.reference:
		return fmt.Sprintf("r%d", p.ink%len(referenceLooks))
	default:
		return fmt.Sprintf("s%d", colour(p.ink))
	}
}

func (s *svg) line(points []spot, p pen) {
	if len(points) < 2 {
		return
	}
	class, dash := p.class(), ""
	if p.stroke == extent {
		class = "range " + class
	}
	if p.stroke == curve {
		class = "line " + class
		if d := lookOf(p.ink, p.reference).dash; d != nil {
			dash = ` stroke-dasharray="` + strings.Trim(strings.ReplaceAll(fmt.Sprint(d), "  ", " "), "[]") + `"`
		}
	}
	fmt.Fprintf(s, `<path class="%s"%s d="M`, class, dash)
	for i, at := range points {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(units(at.x) + "," + units(at.y))
	}
	s.WriteString("\"/>\n")
}

func (s *svg) box(x, y, width, height float64, p pen) {
	fmt.Fprintf(s, "<rect class=\"f%d\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\"/>\n", colour(p.ink), units(x), units(y), units(width), units(height))
}

func (s *svg) mark(at spot, m marker, p pen) {
	if m == none {
		return
	}
	class := fmt.Sprintf("f%d", colour(p.ink))
	if p.reference {
		class = fmt.Sprintf("g%d", p.ink%len(referenceLooks))
	}
	if m == circle {
		fmt.Fprintf(s, "<circle class=\"%s\" cx=\"%s\" cy=\"%s\" r=\"3.2\"/>\n", class, units(at.x), units(at.y))
		return
	}
	fmt.Fprintf(s, `<path class="%s" d="`, class)
	for i, ring := range outline(at, m) {
		if i > 0 {
			s.WriteByte(' ')
		}
		for j, point := range ring {
			s.WriteString(map[bool]string{true: "M", false: "L"}[j == 0] + units(point.x) + "," + units(point.y))
		}
		s.WriteByte('Z')
	}
	s.WriteString("\"/>\n")
}

// outline is a marker's shape; a cross has two.
func outline(at spot, m marker) [][]spot {
	shape := func(around ...spot) []spot {
		for i := range around {
			around[i].x += at.x
			around[i].y += at.y
		}
		return around
	}
	switch m {
	case square:
		return [][]spot{shape(spot{-3, -3}, spot{3, -3}, spot{3, 3}, spot{-3, 3})}
	case triangle:
		return [][]spot{shape(spot{0, -4}, spot{3.8, 3}, spot{-3.8, 3})}
	case diamond:
		return [][]spot{shape(spot{0, -4.4}, spot{4.4, 0}, spot{0, 4.4}, spot{-4.4, 0})}
	default:
		return [][]spot{
			shape(spot{-3.6, -2.6}, spot{-2.6, -3.6}, spot{3.6, 2.6}, spot{2.6, 3.6}),
			shape(spot{-3.6, 2.6}, spot{-2.6, 3.6}, spot{3.6, -2.6}, spot{2.6, -3.6}),
		}
	}
}

func (s *svg) text(at spot, text string, w writing) {
	class := "t"
	if w.muted {
		class = "m"
	}
	weight := ""
	if w.bold {
		weight = ` font-weight="600"`
	}
	anchor := ""
	if w.anchor != "start" {
		anchor = ` text-anchor="` + w.anchor + `"`
	}
	fmt.Fprintf(s, "<text class=\"%s\" x=\"%s\" y=\"%s\" font-size=\"%s\"%s%s>%s</text>\n", class, units(at.x), units(at.y), units(w.size), anchor, weight, escaped(text))
}
