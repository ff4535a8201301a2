package report

import (
	"fmt"
	"io"
	"math"

	"git.sr.ht/~sbinet/gg"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
)

// pixelsPerUnit makes pictures sharp on the screens of phones and laptops.
const pixelsPerUnit = 2

// PNG writes the chart as pixels, on white, with the Go fonts.
func (c *Chart) PNG(to io.Writer) error {
	l := arrange(c, alone)
	p, err := newPixels(l.format.width, l.height)
	if err != nil {
		return fmt.Errorf("drawing %s: %w", c.ID, err)
	}
	l.draw(p)
	if err := p.EncodePNG(to); err != nil {
		return fmt.Errorf("writing %s: %w", c.ID, err)
	}
	return nil
}

type pixels struct {
	*gg.Context
	regular, bold *opentype.Font
	faces         map[writing]font.Face
}

func newPixels(width, height float64) (*pixels, error) {
	p := &pixels{Context: gg.NewContext(int(math.Ceil(width*pixelsPerUnit)), int(math.Ceil(height*pixelsPerUnit))), faces: map[writing]font.Face{}}
	var err error
	if p.regular, err = opentype.Parse(goregular.TTF); err != nil {
		return nil, err
	}
	if p.bold, err = opentype.Parse(gobold.TTF); err != nil {
		return nil, err
	}
	p.SetHexColor(lightShade.ground)
	p.Clear()
	p.Scale(pixelsPerUnit, pixelsPerUnit)
	return p, nil
}

func (p *pixels) use(with pen) {
	p.SetDash()
	switch with.stroke {
	case grid:
		p.SetHexColor(lightShade.grid)
		p.SetLineWidth(pixelsPerUnit)
	case axis:
		p.SetHexColor(lightShade.muted)
		p.SetLineWidth(pixelsPerUnit)
	default:
		look := lookOf(with.ink, with.reference)
		p.SetHexColor(look.light)
		p.SetLineWidth(1.2 * pixelsPerUnit)
		if with.stroke == curve {
			p.SetLineWidth(2 * pixelsPerUnit)
			var dash []float64
			for _, d := range look.dash {
				dash = append(dash, d*pixelsPerUnit)
			}
			p.SetDash(dash...)
		}
	}
}

func (p *pixels) line(points []spot, with pen) {
	if len(points) < 2 {
		return
	}
	p.use(with)
	p.SetLineCapButt()
	p.SetLineJoinRound()
	for i, at := range points {
		if i == 0 {
			p.MoveTo(at.x, at.y)
		} else {
			p.LineTo(at.x, at.y)
		}
	}
	p.Stroke()
}

func (p *pixels) box(x, y, width, height float64, with pen) {
	p.use(with)
	p.DrawRectangle(x, y, width, height)
	p.Fill()
}

func (p *pixels) mark(at spot, m marker, with pen) {
	p.use(with)
	switch m {
	case none:
	case circle:
		p.DrawCircle(at.x, at.y, 3.6)
		p.Fill()
	default:
		for _, ring := range outline(at, m) {
			for _, point := range ring {
				p.LineTo(point.x, point.y)
			}
			p.ClosePath()
			p.Fill()
		}
	}
}

func (p *pixels) text(at spot, s string, w writing) {
	shade := lightShade.text
	if w.muted {
		shade = lightShade.muted
	}
	p.SetHexColor(shade)
	face := writing{size: w.size, bold: w.bold}
	if p.faces[face] == nil {
		of := p.regular
		if w.bold {
			of = p.bold
		}
		// 72 dots an inch: sizes are in pixels. The error is for other options than these.
		p.faces[face], _ = opentype.NewFace(of, &opentype.FaceOptions{Size: w.size * pixelsPerUnit, DPI: 72, Hinting: font.HintingNone})
	}
	p.SetFontFace(p.faces[face])
	ax := map[string]float64{"start": 0, "middle": 0.5, "end": 1}[w.anchor]
	// Text is set in pixels: scaled with the rest it would be blurred.
	p.Push()
	p.Identity()
	p.DrawStringAnchored(s, at.x*pixelsPerUnit, at.y*pixelsPerUnit, ax, 0)
	p.Pop()
}
