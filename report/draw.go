package report

import (
	"math"
	"strings"
)

// surface is what pictures are drawn on: SVG or pixels. Positions are in units of the picture, from its upper left corner.
type surface interface {
	line(points []spot, p pen)
	box(x, y, width, height float64, p pen)
	mark(at spot, m marker, p pen)
	text(at spot, s string, w writing)
}

type spot struct{ x, y float64 }

type stroke int

const (
	curve  stroke = iota // of a series
	extent               // from the least to the most
	grid
	axis
)

type pen struct {
	stroke    stroke
	ink       int
	reference bool
}

type writing struct {
	size   float64
	anchor string // start, middle, end
	muted  bool
	bold   bool
}

// format is how large a picture is, and how its parts are arranged in it.
type format struct {
	width, height float64 // of a chart with axes, without what the title and the legend add
	size          float64 // of text
	ticks         int     // about how many fit across
	titled        bool    // carries its own title: it stands alone
}

var (
	wide   = format{width: 720, height: 400, size: 15, ticks: 8}
	narrow = format{width: 360, height: 300, size: 12, ticks: 4}
	alone  = format{width: 720, height: 380, size: 14, ticks: 8, titled: true}
)

const margin = 8

// widthOf is about how wide text is: most fonts without serifs have letters of half their size. It errs on the wide side.
func widthOf(s string, size float64) float64 { return 0.56 * size * float64(len([]rune(s))) }

// layout is the legend, and what is left below it.
type layout struct {
	chart  *Chart
	format format
	names  []placed
	title  []string
	bars   [][]string // what stands above each bar
	top    float64    // where the axes or bars begin
	height float64    // of the whole picture
}

type placed struct {
	at     spot
	series *Series
}

func arrange(c *Chart, f format) layout {
	l := layout{chart: c, format: f}
	y := float64(margin)
	if f.titled {
		for _, line := range wrap(c.Title, f.width-2*margin, f.size+3) {
			l.title = append(l.title, line)
			y += 1.4 * (f.size + 3)
		}
	}
	if len(c.Bars) > 0 {
		l.top = y
		for _, b := range c.Bars {
			text := b.Name + ": " + c.X.text(b.Value)
			if b.Note != "" {
				text += ", " + b.Note
			}
			l.bars = append(l.bars, wrap(text, f.width-2*margin, f.size))
			y += barHeight(f, len(l.bars[len(l.bars)-1]))
		}
		l.height = y + 4.5*f.size
		return l
	}
	// The legend goes from left to right, and on in the next line.
	x, row := float64(margin), 1.6*f.size
	for i := range c.Series {
		needs := 38 + widthOf(c.Series[i].Name, f.size) + 16
		if x > margin && x+needs > f.width {
			x, y = margin, y+row
		}
		l.names = append(l.names, placed{spot{x, y + row/2}, &c.Series[i]})
		x += needs
	}
	l.top = y + row + 1.9*f.size
	l.height = l.top + f.height
	return l
}

func wrap(s string, width, size float64) []string {
	var lines []string
	for _, word := range strings.Fields(s) {
		if n := len(lines); n > 0 && widthOf(lines[n-1]+" "+word, size) <= width {
			lines[n-1] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// draw puts the whole picture on a surface.
func (l *layout) draw(s surface) {
	for i, line := range l.title {
		size := l.format.size + 3
		s.text(spot{margin, margin + size + 1.4*size*float64(i)}, line, writing{size: size, anchor: "start", bold: true})
	}
	if len(l.chart.Bars) > 0 {
		l.drawBars(s)
		return
	}
	for _, n := range l.names {
		p := pen{curve, n.series.ink, n.series.Reference}
		s.line([]spot{n.at, {n.at.x + 30, n.at.y}}, p)
		s.mark(spot{n.at.x + 15, n.at.y}, lookOf(p.ink, p.reference).marker, p)
		s.text(spot{n.at.x + 37, n.at.y + 0.35*l.format.size}, n.series.Name, writing{size: l.format.size, anchor: "start"})
	}
	l.drawLines(s)
}

func (l *layout) drawLines(s surface) {
	c, f := l.chart, l.format
	var xs, ys []float64
	for _, series := range c.Series {
		for _, p := range series.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
			if p.Low != p.High {
				ys = append(ys, p.Low, p.High)
			}
		}
	}
	bottom := l.height - 3.4*f.size
	y := newScale(ys, c.Y, 6, bottom, l.top)
	left := 0.0
	for _, v := range y.ticks {
		left = math.Max(left, widthOf(c.Y.text(v), f.size))
	}
	left += margin + 6
	x := newScale(xs, c.X, f.ticks, left, f.width-margin-14)

	label := writing{size: f.size, anchor: "end", muted: true}
	for _, v := range y.ticks {
		s.line([]spot{{left, y.at(v)}, {f.width - margin, y.at(v)}}, pen{stroke: grid})
		s.text(spot{left - 6, y.at(v) + 0.35*f.size}, c.Y.text(v), label)
	}
	s.line([]spot{{left, bottom}, {f.width - margin, bottom}}, pen{stroke: axis})
	label.anchor = "middle"
	free := -math.MaxFloat64
	for _, v := range x.ticks {
		s.line([]spot{{x.at(v), bottom}, {x.at(v), bottom + 4}}, pen{stroke: axis})
		if half := widthOf(c.X.text(v), f.size) / 2; x.at(v)-half >= free && x.at(v)+half <= f.width {
			s.text(spot{x.at(v), bottom + 5 + f.size}, c.X.text(v), label)
			free = x.at(v) + half + 4
		}
	}
	s.text(spot{margin, l.top - 0.8*f.size}, c.Y.Label, writing{size: f.size, anchor: "start", muted: true})
	s.text(spot{f.width - margin, bottom + 8 + 2.1*f.size}, c.X.Label, writing{size: f.size, anchor: "end", muted: true})

	// References first: what was measured lies above them.
	for _, references := range []bool{true, false} {
		for i := range c.Series {
			if c.Series[i].Reference == references {
				drawSeries(s, &c.Series[i], x, y)
			}
		}
	}
}

// markersPerLine is about how many markers tell a line from others without hiding it.
const markersPerLine = 14

func drawSeries(s surface, series *Series, x, y scale) {
	p := pen{curve, series.ink, series.Reference}
	var spots []spot
	for _, point := range series.Points {
		if x.log && point.X <= 0 || y.log && point.Y <= 0 {
			continue
		}
		at := spot{x.at(point.X), y.at(point.Y)}
		spots = append(spots, at)
		if point.Low != point.High {
			r := pen{extent, series.ink, series.Reference}
			s.line([]spot{{at.x, y.at(point.Low)}, {at.x, y.at(point.High)}}, r)
			for _, v := range []float64{point.Low, point.High} {
				s.line([]spot{{at.x - 4, y.at(v)}, {at.x + 4, y.at(v)}}, r)
			}
		}
	}
	s.line(spots, p)
	m := lookOf(p.ink, p.reference).marker
	if len(spots) == 1 && m == none {
		m = circle
	}
	every := max(1, len(spots)/markersPerLine)
	// Lines that lie on one another don't have their markers at the same places.
	for i := min(series.ink, every-1); i < len(spots); i += every {
		s.mark(spots[i], m, p)
	}
}

// barHeight is that of a bar with so many lines of text above it.
func barHeight(f format, lines int) float64 { return (2 + 1.3*float64(lines)) * f.size }

// drawBars has each name above its bar, so that names of any length fit a phone.
func (l *layout) drawBars(s surface) {
	c, f := l.chart, l.format
	values := []float64{0}
	bottom := l.top + 0.5*f.size
	for i, b := range c.Bars {
		values = append(values, b.Value, b.High)
		bottom += barHeight(f, len(l.bars[i]))
	}
	x := newScale(values, c.X, f.ticks-1, margin, f.width-margin-20)
	label := writing{size: f.size, anchor: "middle", muted: true}
	for i, v := range x.ticks {
		if i == 0 {
			label.anchor = "start"
		}
		s.line([]spot{{x.at(v), l.top + 0.4*f.size}, {x.at(v), bottom}}, pen{stroke: grid})
		s.text(spot{x.at(v), bottom + 4 + f.size}, c.X.text(v), label)
		label.anchor = "middle"
	}
	s.line([]spot{{margin, bottom}, {f.width - margin, bottom}}, pen{stroke: axis})
	s.text(spot{f.width - margin, bottom + 8 + 2.2*f.size}, c.X.Label, writing{size: f.size, anchor: "end", muted: true})
	top := l.top
	for i, b := range c.Bars {
		for j, line := range l.bars[i] {
			s.text(spot{margin, top + 1.3*f.size*float64(j+1)}, line, writing{size: f.size, anchor: "start"})
		}
		top += barHeight(f, len(l.bars[i]))
		middle := top - 0.95*f.size
		s.box(margin, middle-0.55*f.size, x.at(b.Value)-margin, 1.1*f.size, pen{curve, b.ink, false})
		if b.Low != b.High {
			r := pen{stroke: axis}
			s.line([]spot{{x.at(b.Low), middle}, {x.at(b.High), middle}}, r)
			for _, v := range []float64{b.Low, b.High} {
				s.line([]spot{{x.at(v), middle - 0.4*f.size}, {x.at(v), middle + 0.4*f.size}}, r)
			}
		}
	}
}
