package report

import (
	"fmt"
	"strings"
)

// Lines are told apart three ways, of which each alone suffices: colour, dashes and markers. The colours are Okabe and Ito's
// set for all kinds of colour vision, darkened where they would be too faint on white and lightened for a dark ground: 3 to 1 at least
// against the ground, as WCAG 2 asks of graphics.
type look struct {
	light, dark string
	dash        []float64
	marker      marker
}

type marker int

const (
	circle marker = iota
	square
	triangle
	diamond
	cross
	none
)

var measuredLooks = []look{
	{"#0067a5", "#56b4e9", nil, circle},
	{"#c44e00", "#ff9a4d", []float64{9, 4}, square},
	{"#00795a", "#2fcf9f", []float64{2, 3}, triangle},
	{"#a03f78", "#eb9fc9", []float64{10, 3, 2, 3}, diamond},
	{"#6b5600", "#dcc85a", []float64{5, 2}, cross},
	{"#4a4a9c", "#a9a9f5", []float64{14, 3, 2, 3, 2, 3}, circle},
}

// What others published steps back, grey.
var referenceLooks = []look{
	{"#767676", "#9a9a9a", []float64{6, 3}, none},
	{"#767676", "#9a9a9a", []float64{1.5, 2.5}, none},
	{"#767676", "#9a9a9a", []float64{12, 4}, none},
	{"#767676", "#9a9a9a", []float64{10, 3, 2, 3}, none},
}

// lookOf has dashes and markers in turn, and colours too, which move on by one after each turn.
func lookOf(ink int, reference bool) look {
	if reference {
		return referenceLooks[ink%len(referenceLooks)]
	}
	l, coloured := measuredLooks[ink%len(measuredLooks)], measuredLooks[colour(ink)]
	l.light, l.dark = coloured.light, coloured.dark
	return l
}

// colour is which of the colours a line has.
func colour(ink int) int { return (ink + ink/len(measuredLooks)) % len(measuredLooks) }

// The other colours of a picture.
type shade struct{ ground, text, muted, grid string }

var (
	lightShade = shade{ground: "#ffffff", text: "#1a1a1a", muted: "#595959", grid: "#e2e2e2"}
	darkShade  = shade{ground: "#14171a", text: "#e8e8e8", muted: "#a8adb3", grid: "#33383d"}
)

// chartCSS styles a picture by classes, in the page as in a file of its own.
func chartCSS() string {
	var b strings.Builder
	b.WriteString(`.chart text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}` + "\n")
	b.WriteString(".chart .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:butt}.chart .range{stroke-width:1.2;fill:none}.chart .thin{stroke-width:1;fill:none}\n")
	colours := func(s shade, of func(look) string) {
		fmt.Fprintf(&b, ".chart .t{fill:%s}.chart .m{fill:%s}.chart .grid{stroke:%s}.chart .axis{stroke:%s}.chart .ground{fill:%s}\n", s.text, s.muted, s.grid, s.muted, s.ground)
		for i, l := range measuredLooks {
			fmt.Fprintf(&b, ".chart .s%d{stroke:%s}.chart .f%d{fill:%s}", i, of(l), i, of(l))
		}
		for i, l := range referenceLooks {
			fmt.Fprintf(&b, ".chart .r%d{stroke:%s}.chart .g%d{fill:%s;stroke:none}", i, of(l), i, of(l))
		}
		b.WriteByte('\n')
	}
	colours(lightShade, func(l look) string { return l.light })
	b.WriteString("@media screen and (prefers-color-scheme:dark){\n")
	colours(darkShade, func(l look) string { return l.dark })
	b.WriteString("}\n")
	return b.String()
}
